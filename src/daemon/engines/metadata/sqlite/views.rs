//! Views of `lc top` that operators share.

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns as _, integer};
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::{NewAudit, rows};
use crate::protocol::admin::{MAX_SAVED_VIEWS, SavedView};

const PUT: &str = "INSERT INTO saved_views (name, settings, saved_by, saved_at)
    VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, saved_by = excluded.saved_by,
        saved_at = excluded.saved_at";

pub(super) async fn save(
    file: &SqliteFile,
    view: &SavedView,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    let others = sqlx::query("SELECT count(*) AS others FROM saved_views WHERE name <> ?")
        .bind(&view.name)
        .fetch_one(&mut *transaction)
        .await?;
    if others.natural("others")? >= MAX_SAVED_VIEWS as u64 {
        return Err(StoreError::Full("saved view"));
    }
    sqlx::query(PUT)
        .bind(&view.name)
        .bind(rows::settings_text(&view.settings)?)
        .bind(&view.saved_by)
        .bind(integer(view.saved_at))
        .execute(&mut *transaction)
        .await?;
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn forget(
    file: &SqliteFile,
    name: &str,
    audit: &NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    let removed = sqlx::query("DELETE FROM saved_views WHERE name = ?")
        .bind(name)
        .execute(&mut *transaction)
        .await?;
    if removed.rows_affected() == 0 {
        return Err(StoreError::NotFound("saved view"));
    }
    let audit_id = audit::append(&mut transaction, audit).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

pub(super) async fn all(file: &SqliteFile) -> Result<Vec<SavedView>, StoreError> {
    let rows = sqlx::query("SELECT * FROM saved_views").fetch_all(file.readers()).await?;
    rows::saved_views(&rows)
}
