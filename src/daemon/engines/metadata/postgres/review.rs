//! Comments that a person should look at, and what was decided.

use sqlx::postgres::PgConnection;

use super::{audit, events};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::review::{
    AuthorStanding, Checked, DecidedReview, HeldReviews, HeldScope, MAX_ALIKE, NewClaim, NewReason,
    NewReview, NewVerdict, ReviewChange, ReviewRefusal, StoredReview, WITHDRAWN, reopened_reason,
};
use crate::daemon::engines::metadata::{EventOfReview, NewAudit, PendingEvent, rows};
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, StreamId};

const QUEUE: &str = "INSERT INTO reviews
    (sort_key, stream_id, user_id, name, message, reason, flagged_at, held, text_key, shadowed,
     evidence, badges, parent_key, waits_since)
    SELECT *, flagged_at FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[],
        $5::text[], $6::text[], $7::bigint[], $8::boolean[], $9::bigint[], $10::boolean[],
        $11::text[], $12::bigint[], $13::bytea[])
        AS new (sort_key, stream_id, user_id, name, message, reason, flagged_at, held, text_key,
            shadowed, evidence, badges, parent_key)
    ON CONFLICT (sort_key) DO UPDATE SET
        stream_id = excluded.stream_id, user_id = excluded.user_id, name = excluded.name,
        message = excluded.message, reason = excluded.reason, held = excluded.held,
        flagged_at = excluded.flagged_at, text_key = excluded.text_key,
        shadowed = excluded.shadowed, evidence = excluded.evidence, badges = excluded.badges,
        parent_key = excluded.parent_key, waits_since = excluded.waits_since
    WHERE reviews.reason = $14";

pub(super) async fn queue(
    connection: &mut PgConnection,
    new: &[NewReview],
) -> Result<(), StoreError> {
    // In the order of ids, in which every node takes the rows, so that no two wait for each other.
    // The first item of a comment stays the first.
    let mut new: Vec<_> = new.iter().collect();
    new.sort_by_key(|new| new.item.comment_id.sort_key());
    new.dedup_by_key(|new| new.item.comment_id);
    let items = || new.iter().map(|new| &new.item);
    let evidence = items().map(|item| rows::evidence_text(&item.evidence));
    let evidence: Vec<_> = evidence.collect::<Result<_, _>>()?;
    sqlx::query(QUEUE)
        .bind(items().map(|item| item.comment_id.sort_key().to_vec()).collect::<Vec<_>>())
        .bind(items().map(|item| integer(item.stream_id.0)).collect::<Vec<_>>())
        .bind(items().map(|item| integer(item.user_id.0)).collect::<Vec<_>>())
        .bind(items().map(|item| storable(&item.name)).collect::<Vec<_>>())
        .bind(items().map(|item| storable(&item.message)).collect::<Vec<_>>())
        .bind(items().map(|item| storable(&item.reason)).collect::<Vec<_>>())
        .bind(items().map(|item| integer(item.flagged_at)).collect::<Vec<_>>())
        .bind(items().map(|item| item.held).collect::<Vec<_>>())
        .bind(new.iter().map(|new| new.text_key).collect::<Vec<_>>())
        .bind(items().map(|item| item.shadowed).collect::<Vec<_>>())
        .bind(evidence.iter().map(|text| text.as_deref().map(storable)).collect::<Vec<_>>())
        .bind(items().map(|item| i64::from(item.badges.bits())).collect::<Vec<_>>())
        .bind(items().map(|item| item.parent_id.map(CommentId::sort_key)).collect::<Vec<_>>())
        .bind(WITHDRAWN)
        .execute(connection)
        .await?;
    Ok(())
}

/// The query of waiting items, with a further condition.
macro_rules! waiting {
    ($condition:literal) => {
        concat!(
            "SELECT item.*, (SELECT count(*) FROM (SELECT 1 FROM reviews AS other
                WHERE other.decision IS NULL AND other.text_key = item.text_key LIMIT $1) AS found)
                AS same
             FROM reviews AS item WHERE item.decision IS NULL ",
            $condition,
            " ORDER BY item.flagged_at, item.sort_key LIMIT $2"
        )
    };
}

/// Returns the oldest items of a stream, or of all.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    stream_id: Option<StreamId>,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let query = match stream_id {
        Some(_) => sqlx::query(waiting!("AND item.stream_id = $3")),
        None => sqlx::query(waiting!("")),
    };
    // The item itself is counted too.
    let mut query = query.bind(integer(MAX_ALIKE + 1)).bind(integer(limit as u64));
    if let Some(stream_id) = stream_id {
        query = query.bind(integer(stream_id.0));
    }
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(rows::waiting_review).collect()
}

pub(super) async fn count(connection: &mut PgConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL")
        .fetch_one(connection)
        .await?;
    row.natural("waiting")
}

pub(super) async fn held_count(
    connection: &mut PgConnection,
    scope: HeldScope,
) -> Result<u64, StoreError> {
    let HeldScope { user_id, stream_id, since_ms } = scope;
    let query = match stream_id {
        // Apart, so that the index of the streams serves.
        Some(_) => sqlx::query(
            "SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL AND held
             AND sort_key >= $1 AND ($2::BIGINT IS NULL OR user_id = $2) AND stream_id = $3",
        ),
        None => sqlx::query(
            "SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL AND held
             AND sort_key >= $1 AND ($2::BIGINT IS NULL OR user_id = $2)",
        ),
    };
    let mut query =
        query.bind(rows::sort_key_since(since_ms)).bind(user_id.map(|user_id| integer(user_id.0)));
    if let Some(stream_id) = stream_id {
        query = query.bind(integer(stream_id.0));
    }
    query.fetch_one(connection).await?.natural("waiting")
}

/// Reads an item and locks it until the end of the transaction that changes it.
async fn stored(
    connection: &mut PgConnection,
    comment_id: CommentId,
) -> Result<Option<StoredReview>, StoreError> {
    let row = sqlx::query("SELECT * FROM reviews WHERE sort_key = $1 AND reason <> $2 FOR UPDATE")
        .bind(comment_id.sort_key())
        .bind(WITHDRAWN)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::stored_review).transpose()
}

/// Reads the sanctions and shadows of an item's author in the transaction that decides about it. It
/// waits for nobody: a ban that is being stored at this moment comes after the decision.
async fn standing(
    connection: &mut PgConnection,
    item: &ReviewItem,
    now_ms: u64,
) -> Result<AuthorStanding, StoreError> {
    let row = sqlx::query(
        "SELECT
            EXISTS (SELECT 1 FROM sanctions WHERE user_id = $1 AND stream_id IN ($3, $4)
                AND (expires_at IS NULL OR expires_at > $2)) AS sanctions,
            EXISTS (SELECT 1 FROM shadows WHERE user_id = $1 AND stream_id IN ($3, $4)
                AND (expires_at IS NULL OR expires_at > $2)) AS shadows",
    )
    .bind(integer(item.user_id.0))
    .bind(integer(now_ms))
    .bind(rows::scope_column(Some(item.stream_id)))
    .bind(rows::scope_column(None))
    .fetch_one(connection)
    .await?;
    Ok(AuthorStanding { is_sanctioned: row.flag("sanctions")?, is_shadowed: row.flag("shadows")? })
}

pub(super) async fn claim(
    connection: &mut PgConnection,
    claim: NewClaim<'_>,
) -> Checked<ReviewItem> {
    let NewClaim { comment_id, by, now_ms, expires_at } = claim;
    let Some(found) = stored(&mut *connection, comment_id).await? else {
        return Ok(Err(ReviewRefusal::NotQueued));
    };
    // The actor as it is stored.
    let by = storable(by);
    if let Err(refusal) = found.check(&by, now_ms) {
        return Ok(Err(refusal));
    }
    let row = sqlx::query(
        "UPDATE reviews SET claimed_by = $1, claim_expires_at = $2 WHERE sort_key = $3
         RETURNING *",
    )
    .bind(expires_at.map(|_| by))
    .bind(expires_at.map(integer))
    .bind(comment_id.sort_key())
    .fetch_one(connection)
    .await?;
    Ok(Ok(rows::review_item(&row)?))
}

pub(super) async fn decide(
    connection: &mut PgConnection,
    new: NewVerdict<'_>,
    event: EventOfReview<'_>,
    audit: &NewAudit,
) -> Checked<(u64, ReviewItem)> {
    let NewVerdict { comment_id, decision, reason, .. } = new;
    let Some(mut found) = stored(&mut *connection, comment_id).await? else {
        return Ok(Err(ReviewRefusal::NotQueued));
    };
    let actor = storable(&audit.actor);
    if let Err(refusal) = found.check_verdict(&new, &actor, audit.at) {
        return Ok(Err(refusal));
    }
    if new.as_author {
        let author = standing(&mut *connection, &found.item, audit.at).await?;
        if let Err(refusal) = found.check_author(author) {
            return Ok(Err(refusal));
        }
    }
    sqlx::query(
        "UPDATE reviews SET decision = $1, decided_at = $2, decided_by = $3, decided_reason = $4
         WHERE sort_key = $5",
    )
    .bind(decision.as_str())
    .bind(integer(audit.at))
    .bind(actor)
    .bind(reason.map(storable))
    .bind(comment_id.sort_key())
    .execute(&mut *connection)
    .await?;
    let entry = audit.clone().of_author(&found.item);
    let audit_id = audit::append(&mut *connection, &entry).await?;
    if let Some(event) = event(&found.item) {
        events::insert(connection, audit_id, &event, audit.at).await?;
    }
    Ok(Ok((audit_id, found.item)))
}

pub(super) async fn reopen(
    connection: &mut PgConnection,
    comment_id: CommentId,
    event: Option<&PendingEvent>,
    audit: &NewAudit,
) -> Checked<u64> {
    let Some(found) = stored(&mut *connection, comment_id).await? else {
        return Ok(Err(ReviewRefusal::NotQueued));
    };
    if found.verdict.is_none() {
        return Ok(Err(ReviewRefusal::NotDecided));
    }
    sqlx::query(
        "UPDATE reviews SET decision = NULL, decided_at = NULL, decided_by = NULL,
            decided_reason = NULL, claimed_by = NULL, claim_expires_at = NULL, waits_since = $1,
            reason = $2
         WHERE sort_key = $3",
    )
    .bind(integer(audit.at))
    .bind(storable(reopened_reason(&found.item)))
    .bind(comment_id.sort_key())
    .execute(&mut *connection)
    .await?;
    let audit_id = audit::append(&mut *connection, audit).await?;
    if let Some(event) = event {
        events::insert(connection, audit_id, event, audit.at).await?;
    }
    Ok(Ok(audit_id))
}

/// Stores an event for the log with its entry, and what the entry does to an item.
pub(super) async fn record(
    connection: &mut PgConnection,
    event: &PendingEvent,
    change: Option<ReviewChange>,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    // The row that another transaction may have locked comes first.
    if let Some(change) = change {
        change_item(&mut *connection, change, audit).await?;
    }
    let number = audit::append(&mut *connection, audit).await?;
    events::insert(connection, number, event, audit.at).await?;
    Ok(number)
}

/// Withdraws an item or puts it back, in the transaction of the entry that says why. One that does
/// not wait, or was not withdrawn, stays as it is.
async fn change_item(
    connection: &mut PgConnection,
    change: ReviewChange,
    audit: &NewAudit,
) -> Result<(), StoreError> {
    match change {
        ReviewChange::Withdraw(comment_id) => withdraw(connection, comment_id, audit).await,
        ReviewChange::PutBack(comment_id) => put_back(connection, comment_id).await,
    }
}

async fn withdraw(
    connection: &mut PgConnection,
    comment_id: CommentId,
    audit: &NewAudit,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reviews
         (sort_key, stream_id, user_id, name, message, reason, flagged_at, held, waits_since,
          decision, decided_at, decided_by, decided_reason)
         VALUES ($1, 0, 0, '', '', $2, $3, FALSE, $3, $4, $3, $5, $2)
         ON CONFLICT (sort_key) DO UPDATE SET
            decision = excluded.decision, decided_at = excluded.decided_at,
            decided_by = excluded.decided_by, decided_reason = excluded.decided_reason
         WHERE reviews.decision IS NULL AND NOT reviews.held",
    )
    .bind(comment_id.sort_key())
    .bind(WITHDRAWN)
    .bind(integer(audit.at))
    .bind(Decision::Reject.as_str())
    .bind(storable(&audit.actor))
    .execute(connection)
    .await?;
    Ok(())
}

async fn put_back(connection: &mut PgConnection, comment_id: CommentId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM reviews WHERE sort_key = $1 AND reason = $2")
        .bind(comment_id.sort_key())
        .bind(WITHDRAWN)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE reviews SET decision = NULL, decided_at = NULL, decided_by = NULL,
            decided_reason = NULL, claimed_by = NULL, claim_expires_at = NULL
         WHERE sort_key = $1 AND decided_reason = $2",
    )
    .bind(comment_id.sort_key())
    .bind(WITHDRAWN)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn decided_one(
    connection: &mut PgConnection,
    comment_id: CommentId,
) -> Result<Option<DecidedReview>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM reviews WHERE sort_key = $1 AND decision IS NOT NULL AND reason <> $2",
    )
    .bind(comment_id.sort_key())
    .bind(WITHDRAWN)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(rows::decided_review).transpose()
}

pub(super) async fn decided(
    connection: &mut PgConnection,
    before_ms: Option<u64>,
    limit: usize,
) -> Result<Vec<DecidedReview>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM reviews WHERE decision IS NOT NULL AND decided_at < $1
            AND decided_reason IS DISTINCT FROM $2
         ORDER BY decided_at DESC, sort_key DESC LIMIT $3",
    )
    .bind(integer(before_ms.unwrap_or(u64::MAX)))
    .bind(WITHDRAWN)
    .bind(integer(limit as u64))
    .fetch_all(connection)
    .await?;
    rows.iter().map(rows::decided_review).collect()
}

pub(super) async fn held(
    connection: &mut PgConnection,
    which: HeldReviews,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let limit = integer(limit as u64);
    let query = match which {
        // The reason is written out, so that the index of these items serves.
        HeldReviews::Unchecked { after } => sqlx::query(
            "SELECT * FROM reviews WHERE decision IS NULL AND reason = 'unchecked' AND held
             AND sort_key > $1 ORDER BY sort_key LIMIT $2",
        )
        .bind(rows::sort_key_after(after))
        .bind(limit),
        HeldReviews::WaitingSince(at) => sqlx::query(
            "SELECT * FROM reviews WHERE decision IS NULL AND held AND waits_since < $1
             ORDER BY waits_since, sort_key LIMIT $2",
        )
        .bind(integer(at))
        .bind(limit),
    };
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(rows::review_item).collect()
}

pub(super) async fn set_reason(
    connection: &mut PgConnection,
    new: NewReason<'_>,
) -> Result<bool, StoreError> {
    let NewReason { comment_id, expected, reason, evidence } = new;
    let evidence = rows::evidence_text(evidence)?;
    let done = sqlx::query(
        "UPDATE reviews SET reason = $1, evidence = COALESCE($2, evidence)
         WHERE sort_key = $3 AND decision IS NULL AND reason = $4",
    )
    .bind(storable(reason))
    .bind(evidence.as_deref().map(storable))
    .bind(comment_id.sort_key())
    .bind(storable(expected))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}
