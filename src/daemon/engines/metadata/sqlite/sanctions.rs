//! Bans and timeouts. The table holds what is in force, and for a while what has run out: every
//! change sweeps that away.

use sqlx::SqliteConnection;

use super::audit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::integer;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::metadata::rows::{self, scope_column};
use crate::daemon::engines::metadata::{NewAudit, PutSanctions, SWEEP_AFTER_MS};
use crate::protocol::admin::{Sanction, SanctionKind};
use crate::protocol::{StreamId, UserId};

pub(super) async fn put(
    file: &SqliteFile,
    sanctions: &[Sanction],
    audit: NewAudit,
) -> Result<PutSanctions, StoreError> {
    let mut transaction = file.begin().await?;
    sweep(&mut transaction, audit.at).await?;
    let mut replaced = Vec::new();
    for sanction in sanctions {
        let kind = sanction.kind;
        let user_id = sanction.user_id;
        let stream_id = sanction.stream_id;
        replaced.extend(take(&mut transaction, user_id, kind, stream_id, audit.at).await?);
        sqlx::query(
            "INSERT OR REPLACE INTO sanctions
             (user_id, kind, stream_id, name, reason, created_by, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(integer(user_id.0))
        .bind(kind.as_str())
        .bind(scope_column(stream_id))
        .bind(&sanction.name)
        .bind(&sanction.reason)
        .bind(&sanction.created_by)
        .bind(integer(sanction.created_at))
        .bind(sanction.expires_at.map(integer))
        .execute(&mut *transaction)
        .await?;
    }
    let audit = audit.replacing_sanctions(&replaced);
    let audit_id = audit::append(&mut transaction, &audit).await?;
    transaction.commit().await?;
    Ok(PutSanctions { audit_id, replaced })
}

pub(super) async fn lift(
    file: &SqliteFile,
    user_id: UserId,
    kinds: &[SanctionKind],
    streams: &[Option<StreamId>],
    audit: NewAudit,
) -> Result<u64, StoreError> {
    let mut transaction = file.begin().await?;
    sweep(&mut transaction, audit.at).await?;
    let mut lifted = Vec::new();
    for (kind, stream_id) in each_of(kinds, streams) {
        lifted.extend(take(&mut transaction, user_id, kind, stream_id, audit.at).await?);
    }
    if lifted.is_empty() {
        return Err(StoreError::NotFound("sanction in force on this user"));
    }
    let audit_id = audit::append(&mut transaction, &audit.lifting(lifted)).await?;
    transaction.commit().await?;
    Ok(audit_id)
}

/// Deletes a sanction that is in force at `now_ms`, and returns it.
async fn take(
    connection: &mut SqliteConnection,
    user_id: UserId,
    kind: SanctionKind,
    stream_id: Option<StreamId>,
    now_ms: u64,
) -> Result<Option<Sanction>, StoreError> {
    let row = sqlx::query(
        "DELETE FROM sanctions WHERE user_id = ? AND kind = ? AND stream_id = ?
         AND (expires_at IS NULL OR expires_at > ?) RETURNING *",
    )
    .bind(integer(user_id.0))
    .bind(kind.as_str())
    .bind(scope_column(stream_id))
    .bind(integer(now_ms))
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(rows::sanction).transpose()
}

pub(super) async fn in_force(file: &SqliteFile, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM sanctions WHERE expires_at IS NULL OR expires_at > ?
         ORDER BY created_at DESC, user_id DESC, kind, stream_id",
    )
    .bind(integer(now_ms))
    .fetch_all(file.readers())
    .await?;
    rows.iter().map(rows::sanction).collect()
}

/// Returns each kind on each stream.
fn each_of(
    kinds: &[SanctionKind],
    streams: &[Option<StreamId>],
) -> Vec<(SanctionKind, Option<StreamId>)> {
    let on_each = |kind: &SanctionKind| {
        let kind = *kind;
        streams.iter().map(move |stream_id| (kind, *stream_id))
    };
    kinds.iter().flat_map(on_each).collect()
}

async fn sweep(connection: &mut SqliteConnection, now_ms: u64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sanctions WHERE expires_at <= ?")
        .bind(integer(now_ms.saturating_sub(SWEEP_AFTER_MS)))
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::Migrator;

    use super::*;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::engines::metadata::sqlite::{MIGRATIONS, SqliteMetadata};

    #[tokio::test]
    async fn sanctions_from_before_hold_on_all_streams() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metadata.db");
        let earlier: Vec<_> = MIGRATIONS.iter().filter(|it| it.version < 19).cloned().collect();
        let earlier = Migrator { migrations: earlier.into(), ..Migrator::DEFAULT };
        let file = SqliteFile::open(&path, &earlier, "").await.unwrap();
        let mut transaction = file.begin().await.unwrap();
        let stored = "INSERT INTO sanctions VALUES (42, 'ban', 'ann', 'spam', 'op', 5, NULL)";
        sqlx::query(stored).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        drop(file);
        let store = SqliteMetadata::open(&path).await.unwrap();
        let ban = Sanction {
            user_id: UserId(42),
            kind: SanctionKind::Ban,
            stream_id: None,
            name: Some("ann".to_owned()),
            reason: Some("spam".to_owned()),
            created_by: "op".to_owned(),
            created_at: 5,
            expires_at: None,
        };
        assert_eq!(store.sanctions(6).await.unwrap(), [ban]);
    }
}
