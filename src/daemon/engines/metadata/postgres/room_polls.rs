//! Polls and their votes. Totals are kept beside the votes, in the same transactions.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;

use super::{audit, streams};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::room_polls::{PollVotes, add_up, choice, closed};
use crate::daemon::engines::metadata::{NewAudit, NewPoll, PollVote, rows};
use crate::protocol::stream::Stream;
use crate::protocol::{RoomPoll, StreamId};

/// Locks a poll, shared with other counts, and not with what closes or sweeps it. Has no row for a
/// poll that was swept.
const CLOSES_AT: &str = "SELECT closes_at FROM polls WHERE poll_id = $1 AND has_votes FOR SHARE";

const COUNT: &str = "INSERT INTO poll_votes (poll_id, user_id, choice)
    SELECT $1::bigint, * FROM unnest($2::bigint[], $3::bigint[])
    ON CONFLICT DO NOTHING RETURNING user_id";

const CHOICES: &str =
    "SELECT user_id, choice FROM poll_votes WHERE poll_id = $1 AND user_id = ANY($2)";

const ADD: &str = "INSERT INTO poll_totals AS t (poll_id, choice, votes)
    SELECT $1::bigint, * FROM unnest($2::bigint[], $3::bigint[])
    ON CONFLICT (poll_id, choice) DO UPDATE SET votes = t.votes + excluded.votes";

/// Locks the first of the polls whose votes are kept no longer. One that another node is sweeping
/// is left to it.
const TO_SWEEP: &str = "SELECT poll_id FROM polls WHERE has_votes AND closes_at <= $1
    ORDER BY closes_at LIMIT 1 FOR UPDATE SKIP LOCKED";
const SWEEP: &str = "DELETE FROM poll_votes WHERE poll_id = $1 AND user_id IN (
        SELECT user_id FROM poll_votes WHERE poll_id = $1 LIMIT $2)";
/// Ends a poll at time 0 with its first votes that are removed, so that no vote counts any more: a
/// user that was forgotten would count twice. The poll is found first until it has no votes left.
const SWEPT: &str = "UPDATE polls SET closes_at = 0, has_votes = $1 WHERE poll_id = $2";

pub(super) async fn open(
    connection: &mut PgConnection,
    stream_id: StreamId,
    new: NewPoll,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut stream = streams::locked(connection, stream_id).await?;
    let poll_id = audit::append(connection, &audit).await?;
    let poll = new.open(&stream, poll_id, &audit)?;
    put(connection, stream_id, &poll).await?;
    stream.poll = Some(poll.into());
    Ok((poll_id, stream))
}

pub(super) async fn close(
    connection: &mut PgConnection,
    stream_id: StreamId,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut stream = streams::locked(connection, stream_id).await?;
    let poll = closed(&stream, &audit)?;
    put(connection, stream_id, &poll).await?;
    stream.poll = Some(poll.into());
    Ok((audit::append(connection, &audit).await?, stream))
}

/// Stores a poll, which is the latest of its stream. Closing one makes it end earlier, never later:
/// its votes may be swept already.
async fn put(
    connection: &mut PgConnection,
    stream_id: StreamId,
    poll: &RoomPoll,
) -> Result<(), StoreError> {
    let text = rows::poll_text(poll)?;
    sqlx::query(
        "INSERT INTO polls (poll_id, stream_id, closes_at, poll) VALUES ($1, $2, $3, $4)
         ON CONFLICT (poll_id) DO UPDATE
         SET closes_at = least(polls.closes_at, excluded.closes_at), poll = excluded.poll",
    )
    .bind(integer(poll.poll_id))
    .bind(integer(stream_id.0))
    .bind(integer(poll.closes_at))
    .bind(&text)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE streams SET poll = $1 WHERE stream_id = $2")
        .bind(&text)
        .bind(integer(stream_id.0))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn count(
    connection: &mut PgConnection,
    poll_id: u64,
    votes: &[PollVote],
) -> Result<Vec<Option<u8>>, StoreError> {
    let poll =
        sqlx::query(CLOSES_AT).bind(integer(poll_id)).fetch_optional(&mut *connection).await?;
    let closes_at = poll.map_or(Ok(0), |row| row.natural("closes_at"))?;
    let in_time: Vec<_> = votes.iter().filter(|vote| vote.at_ms < closes_at).collect();
    let new = insert(connection, poll_id, in_time).await?;
    // Also of late votes, which may repeat one that counts.
    let rows = sqlx::query(CHOICES)
        .bind(integer(poll_id))
        .bind(votes.iter().map(|vote| integer(vote.user_id.0)).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    let mut choices = BTreeMap::new();
    for row in &rows {
        choices.insert(row.natural("user_id")?, choice(row)?);
    }
    let counted = votes.iter().map(|vote| choices.get(&vote.user_id.0).copied()).collect();
    let totals = new.iter().filter_map(|user| choices.get(user));
    let totals = add_up(totals.map(|option| (usize::from(*option), 1)));
    let totals: Vec<_> = (0_i64..).zip(totals).filter(|(_, votes)| *votes > 0).collect();
    if totals.is_empty() {
        return Ok(counted);
    }
    sqlx::query(ADD)
        .bind(integer(poll_id))
        .bind(totals.iter().map(|(option, _)| *option).collect::<Vec<_>>())
        .bind(totals.iter().map(|(_, votes)| integer(*votes)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(counted)
}

/// Inserts the first vote of each user that has none yet. Returns the ids of these users. Writes
/// nothing without votes.
async fn insert(
    connection: &mut PgConnection,
    poll_id: u64,
    mut votes: Vec<&PollVote>,
) -> Result<BTreeSet<u64>, StoreError> {
    if votes.is_empty() {
        return Ok(BTreeSet::new());
    }
    // In the order of users, in which every node takes the rows, so that no two wait for each
    // other. The first vote of a user in the list stays the first.
    votes.sort_by_key(|vote| vote.user_id);
    let rows = sqlx::query(COUNT)
        .bind(integer(poll_id))
        .bind(votes.iter().map(|vote| integer(vote.user_id.0)).collect::<Vec<_>>())
        .bind(votes.iter().map(|vote| i64::from(vote.option)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| row.natural("user_id")).collect()
}

pub(super) async fn votes_of(
    connection: &mut PgConnection,
    polls: &[u64],
) -> Result<Vec<PollVotes>, StoreError> {
    let rows = sqlx::query(
        "SELECT poll_id, choice, votes FROM poll_totals WHERE poll_id = ANY($1)
         ORDER BY poll_id, choice",
    )
    .bind(polls.iter().map(|poll_id| integer(*poll_id)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows::poll_votes(&rows)
}

pub(super) async fn latest(
    connection: &mut PgConnection,
    stream_id: StreamId,
    limit: usize,
) -> Result<Vec<RoomPoll>, StoreError> {
    let rows =
        sqlx::query("SELECT poll FROM polls WHERE stream_id = $1 ORDER BY poll_id DESC LIMIT $2")
            .bind(integer(stream_id.0))
            .bind(integer(limit as u64))
            .fetch_all(connection)
            .await?;
    rows.iter().map(rows::poll).collect()
}

/// Removes votes of a poll that closed at or before a time. Returns whether there may be more.
pub(super) async fn sweep(
    connection: &mut PgConnection,
    closed_ms: u64,
    limit: usize,
) -> Result<bool, StoreError> {
    let poll =
        sqlx::query(TO_SWEEP).bind(integer(closed_ms)).fetch_optional(&mut *connection).await?;
    let Some(poll) = poll else { return Ok(false) };
    let poll_id = integer(poll.natural("poll_id")?);
    let swept = sqlx::query(SWEEP)
        .bind(poll_id)
        .bind(integer(limit as u64))
        .execute(&mut *connection)
        .await?;
    let has_votes = swept.rows_affected() >= limit as u64;
    sqlx::query(SWEPT).bind(has_votes).bind(poll_id).execute(connection).await?;
    // There may be another poll.
    Ok(true)
}
