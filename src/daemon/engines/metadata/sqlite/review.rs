//! Comments that a person should look at, and what was decided.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{audit, events};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::review::{
    AuthorStanding, Checked, DecidedReview, HeldReviews, HeldScope, MAX_ALIKE, NewClaim, NewReason,
    NewReview, NewVerdict, ReviewChange, ReviewRefusal, StoredReview, WITHDRAWN, reopened_reason,
};
use crate::daemon::engines::metadata::{EventOfReview, NewAudit, PendingEvent, rows};
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, StreamId};

/// Rows of one statement.
const ROWS: usize = 64;

pub(super) async fn queue(file: &SqliteFile, new: &[NewReview]) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut transaction = file.begin().await?;
    for part in new.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO reviews
             (sort_key, stream_id, user_id, name, message, reason, flagged_at, held, text_key,
              shadowed, evidence, badges, parent_key, waits_since) ",
        );
        let mut evidence = Vec::with_capacity(part.len());
        for NewReview { item, .. } in part {
            evidence.push(rows::evidence_text(&item.evidence)?);
        }
        insert.push_values(part.iter().zip(evidence), |mut row, (new, evidence)| {
            let NewReview { item, text_key } = new;
            row.push_bind(item.comment_id.sort_key().to_vec())
                .push_bind(integer(item.stream_id.0))
                .push_bind(integer(item.user_id.0))
                .push_bind(&item.name)
                .push_bind(&item.message)
                .push_bind(&item.reason)
                .push_bind(integer(item.flagged_at))
                .push_bind(item.held)
                .push_bind(*text_key)
                .push_bind(item.shadowed)
                .push_bind(evidence)
                .push_bind(item.badges.bits())
                .push_bind(item.parent_id.map(|parent_id| parent_id.sort_key().to_vec()))
                .push_bind(integer(item.flagged_at));
        });
        insert
            .push(
                " ON CONFLICT (sort_key) DO UPDATE SET
                    stream_id = excluded.stream_id, user_id = excluded.user_id,
                    name = excluded.name, message = excluded.message, reason = excluded.reason,
                    held = excluded.held, flagged_at = excluded.flagged_at,
                    text_key = excluded.text_key, shadowed = excluded.shadowed,
                    evidence = excluded.evidence, badges = excluded.badges,
                    parent_key = excluded.parent_key,
                    waits_since = excluded.waits_since
                  WHERE reviews.reason = ",
            )
            .push_bind(WITHDRAWN);
        insert.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// The query of waiting items, with a further condition.
macro_rules! waiting {
    ($condition:literal) => {
        concat!(
            "SELECT item.*, (SELECT count(*) FROM (SELECT 1 FROM reviews AS other
                WHERE other.decision IS NULL AND other.text_key = item.text_key LIMIT ?1))
                AS same
             FROM reviews AS item WHERE item.decision IS NULL ",
            $condition,
            " ORDER BY item.flagged_at, item.sort_key LIMIT ?2"
        )
    };
}

/// Returns the oldest items of a stream, or of all.
pub(super) async fn waiting(
    file: &SqliteFile,
    stream_id: Option<StreamId>,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let query = match stream_id {
        Some(_) => sqlx::query(waiting!("AND item.stream_id = ?3")),
        None => sqlx::query(waiting!("")),
    };
    // The item itself is counted too.
    let mut query = query.bind(integer(MAX_ALIKE + 1)).bind(integer(limit as u64));
    if let Some(stream_id) = stream_id {
        query = query.bind(integer(stream_id.0));
    }
    let rows = query.fetch_all(file.readers()).await?;
    rows.iter().map(rows::waiting_review).collect()
}

pub(super) async fn count(file: &SqliteFile) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL")
        .fetch_one(file.readers())
        .await?;
    row.natural("waiting")
}

pub(super) async fn held_count(file: &SqliteFile, scope: HeldScope) -> Result<u64, StoreError> {
    let HeldScope { user_id, stream_id, since_ms } = scope;
    let query = match stream_id {
        // Apart, so that the index of the streams serves.
        Some(_) => sqlx::query(
            "SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL AND held = 1
             AND sort_key >= ?1 AND (?2 IS NULL OR user_id = ?2) AND stream_id = ?3",
        ),
        None => sqlx::query(
            "SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL AND held = 1
             AND sort_key >= ?1 AND (?2 IS NULL OR user_id = ?2)",
        ),
    };
    let mut query = query
        .bind(rows::sort_key_since(since_ms).to_vec())
        .bind(user_id.map(|user_id| integer(user_id.0)));
    if let Some(stream_id) = stream_id {
        query = query.bind(integer(stream_id.0));
    }
    query.fetch_one(file.readers()).await?.natural("waiting")
}

/// Reads an item in the transaction that changes it.
async fn stored(
    connection: &mut SqliteConnection,
    comment_id: CommentId,
) -> Result<Option<StoredReview>, StoreError> {
    let row = sqlx::query("SELECT * FROM reviews WHERE sort_key = ? AND reason <> ?")
        .bind(comment_id.sort_key().to_vec())
        .bind(WITHDRAWN)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::stored_review).transpose()
}

/// Reads the sanctions and shadows of an item's author in the transaction that decides about it.
async fn standing(
    connection: &mut SqliteConnection,
    item: &ReviewItem,
    now_ms: u64,
) -> Result<AuthorStanding, StoreError> {
    let row = sqlx::query(
        "SELECT
            EXISTS (SELECT 1 FROM sanctions WHERE user_id = ?1 AND stream_id IN (?3, ?4)
                AND (expires_at IS NULL OR expires_at > ?2)) AS sanctions,
            EXISTS (SELECT 1 FROM shadows WHERE user_id = ?1 AND stream_id IN (?3, ?4)
                AND (expires_at IS NULL OR expires_at > ?2)) AS shadows",
    )
    .bind(integer(item.user_id.0))
    .bind(integer(now_ms))
    .bind(rows::scope_column(Some(item.stream_id)))
    .bind(rows::scope_column(None))
    .fetch_one(connection)
    .await?;
    Ok(AuthorStanding {
        is_sanctioned: row.natural("sanctions")? > 0,
        is_shadowed: row.natural("shadows")? > 0,
    })
}

pub(super) async fn claim(file: &SqliteFile, claim: NewClaim<'_>) -> Checked<ReviewItem> {
    let NewClaim { comment_id, by, now_ms, expires_at } = claim;
    let mut transaction = file.begin().await?;
    let Some(found) = stored(&mut transaction, comment_id).await? else {
        return Ok(Err(ReviewRefusal::NotQueued));
    };
    if let Err(refusal) = found.check(by, now_ms) {
        return Ok(Err(refusal));
    }
    let row = sqlx::query(
        "UPDATE reviews SET claimed_by = ?, claim_expires_at = ? WHERE sort_key = ? RETURNING *",
    )
    .bind(expires_at.map(|_| by))
    .bind(expires_at.map(integer))
    .bind(comment_id.sort_key().to_vec())
    .fetch_one(&mut *transaction)
    .await?;
    let item = rows::review_item(&row)?;
    transaction.commit().await?;
    Ok(Ok(item))
}

pub(super) async fn decide(
    file: &SqliteFile,
    new: NewVerdict<'_>,
    event: EventOfReview<'_>,
    audit: &NewAudit,
) -> Checked<(u64, ReviewItem)> {
    let NewVerdict { comment_id, decision, reason, .. } = new;
    let mut transaction = file.begin().await?;
    let Some(mut found) = stored(&mut transaction, comment_id).await? else {
        return Ok(Err(ReviewRefusal::NotQueued));
    };
    if let Err(refusal) = found.check_verdict(&new, &audit.actor, audit.at) {
        return Ok(Err(refusal));
    }
    if new.as_author {
        let author = standing(&mut transaction, &found.item, audit.at).await?;
        if let Err(refusal) = found.check_author(author) {
            return Ok(Err(refusal));
        }
    }
    sqlx::query(
        "UPDATE reviews SET decision = ?, decided_at = ?, decided_by = ?, decided_reason = ?
         WHERE sort_key = ?",
    )
    .bind(decision.as_str())
    .bind(integer(audit.at))
    .bind(&audit.actor)
    .bind(reason)
    .bind(comment_id.sort_key().to_vec())
    .execute(&mut *transaction)
    .await?;
    let entry = audit.clone().of_author(&found.item);
    let audit_id = audit::append(&mut transaction, &entry).await?;
    if let Some(event) = event(&found.item) {
        events::insert(&mut transaction, audit_id, &event, audit.at).await?;
    }
    transaction.commit().await?;
    Ok(Ok((audit_id, found.item)))
}

pub(super) async fn reopen(
    file: &SqliteFile,
    comment_id: CommentId,
    event: Option<&PendingEvent>,
    audit: &NewAudit,
) -> Checked<u64> {
    let mut transaction = file.begin().await?;
    let Some(found) = stored(&mut transaction, comment_id).await? else {
        return Ok(Err(ReviewRefusal::NotQueued));
    };
    if found.verdict.is_none() {
        return Ok(Err(ReviewRefusal::NotDecided));
    }
    sqlx::query(
        "UPDATE reviews SET decision = NULL, decided_at = NULL, decided_by = NULL,
            decided_reason = NULL, claimed_by = NULL, claim_expires_at = NULL, waits_since = ?,
            reason = ?
         WHERE sort_key = ?",
    )
    .bind(integer(audit.at))
    .bind(reopened_reason(&found.item))
    .bind(comment_id.sort_key().to_vec())
    .execute(&mut *transaction)
    .await?;
    let audit_id = audit::append(&mut transaction, audit).await?;
    if let Some(event) = event {
        events::insert(&mut transaction, audit_id, event, audit.at).await?;
    }
    transaction.commit().await?;
    Ok(Ok(audit_id))
}

/// Stores an event for the log with its entry, and what the entry does to an item.
pub(super) async fn record(
    file: &SqliteFile,
    event: &PendingEvent,
    change: Option<ReviewChange>,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    if let Some(change) = change {
        change_item(&mut transaction, change, audit).await?;
    }
    let number = audit::append(&mut transaction, audit).await?;
    events::insert(&mut transaction, number, event, audit.at).await?;
    transaction.commit().await?;
    Ok(number)
}

/// Withdraws an item or puts it back, in the transaction of the entry that says why. One that does
/// not wait, or was not withdrawn, stays as it is.
async fn change_item(
    connection: &mut SqliteConnection,
    change: ReviewChange,
    audit: &NewAudit,
) -> Result<(), StoreError> {
    match change {
        ReviewChange::Withdraw(comment_id) => withdraw(connection, comment_id, audit).await,
        ReviewChange::PutBack(comment_id) => put_back(connection, comment_id).await,
    }
}

async fn withdraw(
    connection: &mut SqliteConnection,
    comment_id: CommentId,
    audit: &NewAudit,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reviews
         (sort_key, stream_id, user_id, name, message, reason, flagged_at, held, waits_since,
          decision, decided_at, decided_by, decided_reason)
         VALUES (?1, 0, 0, '', '', ?2, ?3, 0, ?3, ?4, ?3, ?5, ?2)
         ON CONFLICT (sort_key) DO UPDATE SET
            decision = excluded.decision, decided_at = excluded.decided_at,
            decided_by = excluded.decided_by, decided_reason = excluded.decided_reason
         WHERE reviews.decision IS NULL AND reviews.held = 0",
    )
    .bind(comment_id.sort_key().to_vec())
    .bind(WITHDRAWN)
    .bind(integer(audit.at))
    .bind(Decision::Reject.as_str())
    .bind(&audit.actor)
    .execute(connection)
    .await?;
    Ok(())
}

async fn put_back(
    connection: &mut SqliteConnection,
    comment_id: CommentId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM reviews WHERE sort_key = ? AND reason = ?")
        .bind(comment_id.sort_key().to_vec())
        .bind(WITHDRAWN)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE reviews SET decision = NULL, decided_at = NULL, decided_by = NULL,
            decided_reason = NULL, claimed_by = NULL, claim_expires_at = NULL
         WHERE sort_key = ? AND decided_reason = ?",
    )
    .bind(comment_id.sort_key().to_vec())
    .bind(WITHDRAWN)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn decided_one(
    file: &SqliteFile,
    comment_id: CommentId,
) -> Result<Option<DecidedReview>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM reviews WHERE sort_key = ? AND decision IS NOT NULL AND reason <> ?",
    )
    .bind(comment_id.sort_key().to_vec())
    .bind(WITHDRAWN)
    .fetch_optional(file.readers())
    .await?;
    row.as_ref().map(rows::decided_review).transpose()
}

pub(super) async fn decided(
    file: &SqliteFile,
    before_ms: Option<u64>,
    limit: usize,
) -> Result<Vec<DecidedReview>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM reviews WHERE decision IS NOT NULL AND decided_at < ?
            AND decided_reason IS NOT ?
         ORDER BY decided_at DESC, sort_key DESC LIMIT ?",
    )
    .bind(integer(before_ms.unwrap_or(u64::MAX)))
    .bind(WITHDRAWN)
    .bind(integer(limit as u64))
    .fetch_all(file.readers())
    .await?;
    rows.iter().map(rows::decided_review).collect()
}

pub(super) async fn held(
    file: &SqliteFile,
    which: HeldReviews,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let limit = integer(limit as u64);
    let query = match which {
        // The reason is written out, so that the index of these items serves.
        HeldReviews::Unchecked { after } => sqlx::query(
            "SELECT * FROM reviews WHERE decision IS NULL AND reason = 'unchecked' AND held = 1
             AND sort_key > ? ORDER BY sort_key LIMIT ?",
        )
        .bind(rows::sort_key_after(after).to_vec())
        .bind(limit),
        HeldReviews::WaitingSince(at) => sqlx::query(
            "SELECT * FROM reviews WHERE decision IS NULL AND held = 1 AND waits_since < ?
             ORDER BY waits_since, sort_key LIMIT ?",
        )
        .bind(integer(at))
        .bind(limit),
    };
    let rows = query.fetch_all(file.readers()).await?;
    rows.iter().map(rows::review_item).collect()
}

pub(super) async fn set_reason(file: &SqliteFile, new: NewReason<'_>) -> Result<bool, StoreError> {
    let NewReason { comment_id, expected, reason, evidence } = new;
    let evidence = rows::evidence_text(evidence)?;
    let mut transaction = file.begin().await?;
    let done = sqlx::query(
        "UPDATE reviews SET reason = ?, evidence = COALESCE(?, evidence)
         WHERE sort_key = ? AND decision IS NULL AND reason = ?",
    )
    .bind(reason)
    .bind(evidence)
    .bind(comment_id.sort_key().to_vec())
    .bind(expected)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected() > 0)
}
