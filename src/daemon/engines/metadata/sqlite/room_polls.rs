//! Polls and their votes. Totals are kept beside the votes, in the same transactions.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{audit, streams};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::room_polls::{PollVotes, add_up, choice, closed};
use crate::daemon::engines::metadata::{NewAudit, NewPoll, PollVote, rows};
use crate::protocol::stream::Stream;
use crate::protocol::{RoomPoll, StreamId, UserId};

/// Has no row for a poll that was swept.
const CLOSES_AT: &str = "SELECT closes_at FROM polls WHERE poll_id = ? AND has_votes";

const CHOICE: &str = "SELECT choice FROM poll_votes WHERE poll_id = ? AND user_id = ?";

const TO_SWEEP: &str = "SELECT poll_id FROM polls WHERE has_votes AND closes_at <= ?
    ORDER BY closes_at LIMIT 1";
const SWEEP: &str = "DELETE FROM poll_votes WHERE poll_id = ?1 AND user_id IN (
        SELECT user_id FROM poll_votes WHERE poll_id = ?1 LIMIT ?2)";
/// Ends a poll at time 0 with its first votes that are removed, so that no vote counts any more: a
/// user that was forgotten would count twice. The poll is found first until it has no votes left.
const SWEPT: &str = "UPDATE polls SET closes_at = 0, has_votes = ? WHERE poll_id = ?";

pub(super) async fn open(
    file: &SqliteFile,
    stream_id: StreamId,
    new: NewPoll,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut transaction = file.begin().await?;
    let mut stream = streams::known(&mut transaction, stream_id).await?;
    let poll_id = audit::append(&mut transaction, &audit).await?;
    let poll = new.open(&stream, poll_id, &audit)?;
    put(&mut transaction, stream_id, &poll).await?;
    transaction.commit().await?;
    stream.poll = Some(poll.into());
    Ok((poll_id, stream))
}

pub(super) async fn close(
    file: &SqliteFile,
    stream_id: StreamId,
    audit: NewAudit,
) -> Result<(u64, Stream), StoreError> {
    let mut transaction = file.begin().await?;
    let mut stream = streams::known(&mut transaction, stream_id).await?;
    let poll = closed(&stream, &audit)?;
    put(&mut transaction, stream_id, &poll).await?;
    let audit_id = audit::append(&mut transaction, &audit).await?;
    transaction.commit().await?;
    stream.poll = Some(poll.into());
    Ok((audit_id, stream))
}

/// Stores a poll, which is the latest of its stream. Closing one makes it end earlier, never later:
/// its votes may be swept already.
async fn put(
    connection: &mut SqliteConnection,
    stream_id: StreamId,
    poll: &RoomPoll,
) -> Result<(), StoreError> {
    let text = rows::poll_text(poll)?;
    sqlx::query(
        "INSERT INTO polls (poll_id, stream_id, closes_at, poll) VALUES (?, ?, ?, ?)
         ON CONFLICT (poll_id) DO UPDATE
         SET closes_at = min(closes_at, excluded.closes_at), poll = excluded.poll",
    )
    .bind(integer(poll.poll_id))
    .bind(integer(stream_id.0))
    .bind(integer(poll.closes_at))
    .bind(&text)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE streams SET poll = ? WHERE stream_id = ?")
        .bind(&text)
        .bind(integer(stream_id.0))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn count(
    file: &SqliteFile,
    poll_id: u64,
    votes: &[PollVote],
) -> Result<Vec<Option<u8>>, StoreError> {
    let mut reader = file.readers().acquire().await?;
    let closes_at = end_of(&mut reader, poll_id).await?;
    // A poll never ends later than it does now, so these votes stay late. They write nothing.
    if votes.iter().all(|vote| vote.at_ms >= closes_at) {
        let mut counted = Vec::with_capacity(votes.len());
        for vote in votes {
            counted.push(stored_choice(&mut reader, poll_id, vote.user_id).await?);
        }
        return Ok(counted);
    }
    drop(reader);
    let mut transaction = file.begin().await?;
    // Read again: the poll may have been closed or swept meanwhile.
    let closes_at = end_of(&mut transaction, poll_id).await?;
    let mut counted = Vec::with_capacity(votes.len());
    let mut new = Vec::new();
    for vote in votes {
        if vote.at_ms < closes_at {
            let inserted = sqlx::query(
                "INSERT INTO poll_votes (poll_id, user_id, choice) VALUES (?, ?, ?)
                 ON CONFLICT DO NOTHING",
            )
            .bind(integer(poll_id))
            .bind(integer(vote.user_id.0))
            .bind(i64::from(vote.option))
            .execute(&mut *transaction)
            .await?;
            if inserted.rows_affected() > 0 {
                new.push((usize::from(vote.option), 1));
                counted.push(Some(vote.option));
                continue;
            }
        }
        counted.push(stored_choice(&mut transaction, poll_id, vote.user_id).await?);
    }
    let new = add_up(new);
    for (option, votes) in (0_i64..).zip(new).filter(|(_, votes)| *votes > 0) {
        sqlx::query(
            "INSERT INTO poll_totals (poll_id, choice, votes) VALUES (?, ?, ?)
             ON CONFLICT (poll_id, choice) DO UPDATE SET votes = votes + excluded.votes",
        )
        .bind(integer(poll_id))
        .bind(option)
        .bind(integer(votes))
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(counted)
}

/// Returns the time before which votes of a poll count; 0 if none counts.
async fn end_of(connection: &mut SqliteConnection, poll_id: u64) -> Result<u64, StoreError> {
    let poll = sqlx::query(CLOSES_AT).bind(integer(poll_id)).fetch_optional(connection).await?;
    poll.map_or(Ok(0), |row| row.natural("closes_at"))
}

/// Returns the option that counts for a user, if the user is known to have voted.
async fn stored_choice(
    connection: &mut SqliteConnection,
    poll_id: u64,
    user_id: UserId,
) -> Result<Option<u8>, StoreError> {
    let vote = sqlx::query(CHOICE)
        .bind(integer(poll_id))
        .bind(integer(user_id.0))
        .fetch_optional(connection)
        .await?;
    vote.as_ref().map(choice).transpose()
}

pub(super) async fn votes_of(
    file: &SqliteFile,
    polls: &[u64],
) -> Result<Vec<PollVotes>, StoreError> {
    if polls.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = QueryBuilder::<Sqlite>::new(
        "SELECT poll_id, choice, votes FROM poll_totals WHERE poll_id IN (",
    );
    let mut ids = select.separated(", ");
    for poll_id in polls {
        ids.push_bind(integer(*poll_id));
    }
    select.push(") ORDER BY poll_id, choice");
    rows::poll_votes(&select.build().fetch_all(file.readers()).await?)
}

pub(super) async fn latest(
    file: &SqliteFile,
    stream_id: StreamId,
    limit: usize,
) -> Result<Vec<RoomPoll>, StoreError> {
    let rows =
        sqlx::query("SELECT poll FROM polls WHERE stream_id = ? ORDER BY poll_id DESC LIMIT ?")
            .bind(integer(stream_id.0))
            .bind(integer(limit as u64))
            .fetch_all(file.readers())
            .await?;
    rows.iter().map(rows::poll).collect()
}

/// Removes votes of a poll that closed at or before a time. Returns whether there may be more.
pub(super) async fn sweep(
    file: &SqliteFile,
    closed_ms: u64,
    limit: usize,
) -> Result<bool, StoreError> {
    let poll =
        sqlx::query(TO_SWEEP).bind(integer(closed_ms)).fetch_optional(file.readers()).await?;
    let Some(poll) = poll else { return Ok(false) };
    let poll_id = integer(poll.natural("poll_id")?);
    let mut transaction = file.begin().await?;
    let swept = sqlx::query(SWEEP)
        .bind(poll_id)
        .bind(integer(limit as u64))
        .execute(&mut *transaction)
        .await?;
    let has_votes = swept.rows_affected() >= limit as u64;
    sqlx::query(SWEPT).bind(has_votes).bind(poll_id).execute(&mut *transaction).await?;
    transaction.commit().await?;
    // There may be another poll.
    Ok(true)
}
