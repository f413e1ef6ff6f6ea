//! Views of `lc top` that operators share.

use sqlx::postgres::PgConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::text::storable;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::metadata::{NewAudit, rows};
use crate::protocol::admin::{MAX_SAVED_VIEWS, SavedView};

/// Held from counting the views until a new one is committed, by every node that saves one.
const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('lcd saved views ' || current_schema(), 0))";

const PUT: &str = "INSERT INTO saved_views (name, settings, saved_by, saved_at)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, saved_by = excluded.saved_by,
        saved_at = excluded.saved_at";

pub(super) async fn save(
    connection: &mut PgConnection,
    view: &SavedView,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    sqlx::query(LOCK).execute(&mut *connection).await?;
    let others = sqlx::query("SELECT count(*) AS others FROM saved_views WHERE name <> $1")
        .bind(storable(&view.name))
        .fetch_one(&mut *connection)
        .await?;
    if others.natural("others")? >= MAX_SAVED_VIEWS as u64 {
        return Err(StoreError::Full("saved view"));
    }
    sqlx::query(PUT)
        .bind(storable(&view.name))
        .bind(rows::settings_text(&view.settings)?)
        .bind(storable(&view.saved_by))
        .bind(integer(view.saved_at))
        .execute(&mut *connection)
        .await?;
    audit::append(connection, audit).await
}

pub(super) async fn forget(
    connection: &mut PgConnection,
    name: &str,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let removed = sqlx::query("DELETE FROM saved_views WHERE name = $1")
        .bind(storable(name))
        .execute(&mut *connection)
        .await?;
    if removed.rows_affected() == 0 {
        return Err(StoreError::NotFound("saved view"));
    }
    audit::append(connection, audit).await
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<SavedView>, StoreError> {
    let rows = sqlx::query("SELECT * FROM saved_views").fetch_all(connection).await?;
    rows::saved_views(&rows)
}
