//! Comments that a person should look at, and what was decided.

use super::{audit, events};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{EventOfReview, NewAudit, rows};
use crate::protocol::CommentId;
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Decision;

pub(super) async fn queue(file: &SqliteFile, item: &ReviewItem) -> Result<(), StoreError> {
    let mut transaction = file.begin().await?;
    sqlx::query(
        "INSERT INTO reviews
         (sort_key, stream_id, user_id, name, message, reason, flagged_at, held)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(item.comment_id.sort_key().to_vec())
    .bind(integer(item.stream_id.0))
    .bind(integer(item.user_id.0))
    .bind(&item.name)
    .bind(&item.message)
    .bind(&item.reason)
    .bind(integer(item.flagged_at))
    .bind(item.held)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

pub(super) async fn waiting(
    file: &SqliteFile,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM reviews WHERE decision IS NULL ORDER BY flagged_at, sort_key LIMIT ?",
    )
    .bind(integer(limit as u64))
    .fetch_all(file.readers())
    .await?;
    rows.iter().map(rows::review_item).collect()
}

pub(super) async fn count(file: &SqliteFile) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL")
        .fetch_one(file.readers())
        .await?;
    row.natural("waiting")
}

pub(super) async fn decide(
    file: &SqliteFile,
    comment_id: CommentId,
    decision: Decision,
    event: EventOfReview<'_>,
    audit: &NewAudit,
) -> Result<(u64, ReviewItem), StoreError> {
    let mut transaction = file.begin().await?;
    let row = sqlx::query(
        "UPDATE reviews SET decision = ?, decided_at = ?, decided_by = ?
         WHERE sort_key = ? AND decision IS NULL RETURNING *",
    )
    .bind(decision.as_str())
    .bind(integer(audit.at))
    .bind(&audit.actor)
    .bind(comment_id.sort_key().to_vec())
    .fetch_optional(&mut *transaction)
    .await?;
    let item = rows::review_item(&row.ok_or(StoreError::NotFound("comment in the review queue"))?)?;
    let audit_id = audit::append(&mut transaction, audit).await?;
    if let Some(event) = event(&item) {
        events::insert(&mut transaction, audit_id, &event, audit.at).await?;
    }
    transaction.commit().await?;
    Ok((audit_id, item))
}
