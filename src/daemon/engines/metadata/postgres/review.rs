//! Comments that a person should look at, and what was decided.

use sqlx::postgres::PgConnection;

use super::{audit, events};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::{EventOfReview, NewAudit, rows};
use crate::protocol::CommentId;
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::Decision;

pub(super) async fn queue(
    connection: &mut PgConnection,
    item: &ReviewItem,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reviews
         (sort_key, stream_id, user_id, name, message, reason, flagged_at, held)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(item.comment_id.sort_key())
    .bind(integer(item.stream_id.0))
    .bind(integer(item.user_id.0))
    .bind(storable(&item.name))
    .bind(storable(&item.message))
    .bind(storable(&item.reason))
    .bind(integer(item.flagged_at))
    .bind(item.held)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn waiting(
    connection: &mut PgConnection,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM reviews WHERE decision IS NULL ORDER BY flagged_at, sort_key LIMIT $1",
    )
    .bind(integer(limit as u64))
    .fetch_all(connection)
    .await?;
    rows.iter().map(rows::review_item).collect()
}

pub(super) async fn count(connection: &mut PgConnection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS waiting FROM reviews WHERE decision IS NULL")
        .fetch_one(connection)
        .await?;
    row.natural("waiting")
}

pub(super) async fn decide(
    connection: &mut PgConnection,
    comment_id: CommentId,
    decision: Decision,
    event: EventOfReview<'_>,
    audit: &NewAudit,
) -> Result<(u64, ReviewItem), StoreError> {
    let row = sqlx::query(
        "UPDATE reviews SET decision = $1, decided_at = $2, decided_by = $3
         WHERE sort_key = $4 AND decision IS NULL RETURNING *",
    )
    .bind(decision.as_str())
    .bind(integer(audit.at))
    .bind(storable(&audit.actor))
    .bind(comment_id.sort_key())
    .fetch_optional(&mut *connection)
    .await?;
    let item = rows::review_item(&row.ok_or(StoreError::NotFound("comment in the review queue"))?)?;
    let audit_id = audit::append(&mut *connection, audit).await?;
    if let Some(event) = event(&item) {
        events::insert(connection, audit_id, &event, audit.at).await?;
    }
    Ok((audit_id, item))
}
