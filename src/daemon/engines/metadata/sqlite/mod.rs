//! Metadata in a SQLite file: the engine for a single machine.
//!
//! Always holds: whatever returned `Ok` is on disk; a change and its audit entry share a
//! transaction. Each submodule owns the tables it is named after.

mod audit;
mod events;
mod grants;
mod messages;
mod reputations;
mod review;
mod room_life;
mod room_polls;
mod room_terms;
mod sanctions;
mod shadows;
mod streams;
mod subjects;
mod users;
mod views;

use std::path::Path;

use async_trait::async_trait;
use sqlx::migrate::Migrator;

use super::review::flatten;
use super::{
    ChangedTerms, DecidedReview, EventOfReview, HeldReviews, HeldScope, KnownUser, MetadataStore,
    NewAudit, NewClaim, NewReason, NewReview, NewVerdict, PendingEvent, PutSanctions, ReviewChange,
    ReviewError, Subject, UserPointChange, UserRecord,
};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::protocol::admin::{
    AuditEntry, Grant, ReviewItem, Sanction, SanctionKind, SavedView, Shadow,
};
use crate::protocol::room::{RoomPatch, RoomTerm, TermsPatch};
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{CommentId, StreamId, UserId};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/metadata");

const WITHOUT_FILE: &str = "A start without the file begins without bans, streams and audit log";

/// The engine. Cloning shares the file.
#[derive(Debug, Clone)]
pub struct SqliteMetadata {
    file: SqliteFile,
}

impl SqliteMetadata {
    /// Opens the file, creates it if it is absent, and runs the migrations it lacks.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { file: SqliteFile::open(path, &MIGRATIONS, WITHOUT_FILE).await? })
    }

    /// Checks that it could be opened. Creates nothing.
    pub async fn check(path: &Path) -> Result<String, StoreError> {
        SqliteFile::check(path, &MIGRATIONS).await
    }

    /// Returns the open file.
    pub(crate) fn file(&self) -> &SqliteFile {
        &self.file
    }
}

#[async_trait]
impl MetadataStore for SqliteMetadata {
    async fn create_stream(
        &self,
        new: NewStream,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        streams::create(&self.file, new, audit).await
    }

    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        streams::update(&self.file, stream_id, patch, &audit).await
    }

    async fn start_due_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<Option<(u64, Stream)>, StoreError> {
        streams::start_due(&self.file, stream_id, &audit).await
    }

    async fn delete_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        streams::delete(&self.file, stream_id, &audit).await
    }

    async fn update_room(
        &self,
        stream_id: StreamId,
        patch: RoomPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        streams::update_room(&self.file, stream_id, patch, audit).await
    }

    async fn change_terms(
        &self,
        stream_id: StreamId,
        patch: &TermsPatch,
        audit: NewAudit,
    ) -> Result<ChangedTerms, StoreError> {
        room_terms::change(&self.file, stream_id, patch, audit).await
    }

    async fn room_terms(
        &self,
        rooms: &[StreamId],
    ) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
        room_terms::of_rooms(&self.file, rooms).await
    }

    async fn terms_versions(&self) -> Result<Vec<(StreamId, u64)>, StoreError> {
        room_terms::versions(&self.file).await
    }

    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError> {
        streams::by_id(&self.file, stream_id).await
    }

    async fn streams(&self) -> Result<Vec<Stream>, StoreError> {
        streams::all(&self.file).await
    }

    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, FixedRate)>, StoreError> {
        streams::throttle_overrides(&self.file).await
    }

    async fn set_throttle_override(
        &self,
        stream_id: StreamId,
        fixed: Option<FixedRate>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        streams::set_throttle_override(&self.file, stream_id, fixed, &audit).await
    }

    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError> {
        users::remember(&self.file, users).await
    }

    async fn user(&self, user_id: UserId) -> Result<Option<UserRecord>, StoreError> {
        users::by_id(&self.file, user_id).await
    }

    async fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError> {
        users::named(&self.file, name).await
    }

    async fn id_of_subject(&self, subject: &Subject, now_ms: u64) -> Result<UserId, StoreError> {
        subjects::id_of(&self.file, subject, now_ms).await
    }

    async fn put_sanctions(
        &self,
        sanctions: &[Sanction],
        audit: NewAudit,
    ) -> Result<PutSanctions, StoreError> {
        sanctions::put(&self.file, sanctions, audit).await
    }

    async fn lift(
        &self,
        user_id: UserId,
        kinds: &[SanctionKind],
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        sanctions::lift(&self.file, user_id, kinds, streams, audit).await
    }

    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
        sanctions::in_force(&self.file, now_ms).await
    }

    async fn put_shadows(&self, shadows: &[Shadow], audit: NewAudit) -> Result<u64, StoreError> {
        shadows::put(&self.file, shadows, &audit).await
    }

    async fn lift_shadows(
        &self,
        user_id: UserId,
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        shadows::lift(&self.file, user_id, streams, &audit).await
    }

    async fn shadows(&self, now_ms: u64) -> Result<Vec<Shadow>, StoreError> {
        shadows::in_force(&self.file, now_ms).await
    }

    async fn put_grant(&self, grant: &Grant, audit: NewAudit) -> Result<u64, StoreError> {
        grants::put(&self.file, grant, audit).await
    }

    async fn revoke_grant(
        &self,
        user_id: UserId,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        grants::revoke(&self.file, user_id, stream_id, audit).await
    }

    async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        grants::all(&self.file).await
    }

    async fn count_points(
        &self,
        changes: &[UserPointChange],
        half_life_ms: u64,
    ) -> Result<(), StoreError> {
        reputations::count(&self.file, changes, half_life_ms).await
    }

    async fn known_users(&self, users: &[UserId]) -> Result<Vec<KnownUser>, StoreError> {
        reputations::known(&self.file, users).await
    }

    async fn queue_reviews(&self, new: &[NewReview]) -> Result<(), StoreError> {
        review::queue(&self.file, new).await
    }

    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError> {
        review::waiting(&self.file, None, limit).await
    }

    async fn review_queue_of(
        &self,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        review::waiting(&self.file, Some(stream_id), limit).await
    }

    async fn review_count(&self) -> Result<u64, StoreError> {
        review::count(&self.file).await
    }

    async fn held_count(&self, scope: HeldScope) -> Result<u64, StoreError> {
        review::held_count(&self.file, scope).await
    }

    async fn claim_review(&self, claim: NewClaim<'_>) -> Result<ReviewItem, ReviewError> {
        flatten(review::claim(&self.file, claim).await)
    }

    async fn decide_review(
        &self,
        new: NewVerdict<'_>,
        event: EventOfReview<'_>,
        audit: NewAudit,
    ) -> Result<(u64, ReviewItem), ReviewError> {
        flatten(review::decide(&self.file, new, event, &audit).await)
    }

    async fn reopen_review(
        &self,
        comment_id: CommentId,
        event: Option<PendingEvent>,
        audit: NewAudit,
    ) -> Result<u64, ReviewError> {
        flatten(review::reopen(&self.file, comment_id, event.as_ref(), &audit).await)
    }

    async fn decided_review(
        &self,
        comment_id: CommentId,
    ) -> Result<Option<DecidedReview>, StoreError> {
        review::decided_one(&self.file, comment_id).await
    }

    async fn is_event_pending(&self, number: u64) -> Result<bool, StoreError> {
        events::is_pending(&self.file, number).await
    }

    async fn decided_reviews(
        &self,
        before_ms: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DecidedReview>, StoreError> {
        review::decided(&self.file, before_ms, limit).await
    }

    async fn held_reviews(
        &self,
        which: HeldReviews,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        review::held(&self.file, which, limit).await
    }

    async fn set_review_reason(&self, new: NewReason<'_>) -> Result<bool, StoreError> {
        review::set_reason(&self.file, new).await
    }

    async fn has_pending_event(&self, stream_id: StreamId) -> Result<bool, StoreError> {
        events::has_pending(&self.file, stream_id).await
    }

    async fn save_view(&self, view: SavedView, audit: NewAudit) -> Result<u64, StoreError> {
        views::save(&self.file, &view, &audit).await
    }

    async fn forget_view(&self, name: &str, audit: NewAudit) -> Result<u64, StoreError> {
        views::forget(&self.file, name, &audit).await
    }

    async fn saved_views(&self) -> Result<Vec<SavedView>, StoreError> {
        views::all(&self.file).await
    }

    async fn audit_with_event(
        &self,
        event: PendingEvent,
        review: Option<ReviewChange>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        review::record(&self.file, &event, review, &audit).await
    }

    async fn claim_events(
        &self,
        now_ms: u64,
        pause_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, PendingEvent)>, StoreError> {
        events::claim(&self.file, now_ms, pause_ms, limit).await
    }

    async fn event_published(&self, number: u64) -> Result<(), StoreError> {
        events::remove(&self.file, number).await
    }

    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError> {
        audit::record(&self.file, &audit).await
    }

    async fn audit_entry(&self, audit_id: u64) -> Result<Option<AuditEntry>, StoreError> {
        audit::entry(&self.file, audit_id).await
    }

    async fn audit_about(&self, target: &str, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        audit::about(&self.file, target, limit).await
    }

    async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        audit::newest(&self.file, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.file.ping().await
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::audit as audit_log;
    use super::*;
    use crate::daemon::engines::metadata::conformance::{self, audit};
    use crate::protocol::throttle::SampleRate;

    async fn open() -> (SqliteMetadata, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (SqliteMetadata::open(&dir.path().join("metadata.db")).await.unwrap(), dir)
    }

    conformance::metadata_suite!(open());

    fn ban() -> Sanction {
        Sanction {
            user_id: UserId(42),
            kind: SanctionKind::Ban,
            stream_id: None,
            name: None,
            reason: Some("spam".to_owned()),
            created_by: "ann".to_owned(),
            created_at: 5,
            expires_at: None,
        }
    }

    #[tokio::test]
    async fn everything_survives_reopening() {
        let (store, dir) = open().await;
        let create = audit(1, "create_stream");
        let (_, stream) = store.create_stream(NewStream::default(), create).await.unwrap();
        let rate = SampleRate::from_share(0.5).unwrap();
        let half = FixedRate { rate, until_ms: Some(9_000) };
        let throttle = audit(3, "throttle");
        store.set_throttle_override(stream.stream_id, Some(half), throttle).await.unwrap();
        store.sanction(ban(), audit(5, "ban")).await.unwrap();
        let user = UserRecord {
            user_id: UserId(42),
            name: "bob".into(),
            seen_at: 4,
            account_created: Some(3),
        };
        store.remember_users(std::slice::from_ref(&user)).await.unwrap();
        // Not closed: the file is as a killed process leaves it.
        let again = SqliteMetadata::open(&dir.path().join("metadata.db")).await.unwrap();
        assert_eq!(again.streams().await.unwrap(), std::slice::from_ref(&stream));
        assert_eq!(again.throttle_overrides().await.unwrap(), [(stream.stream_id, half)]);
        assert_eq!(again.sanctions(6).await.unwrap(), [ban()]);
        assert_eq!(again.users_named("bob").await.unwrap(), [user]);
        assert_eq!(again.audit_log(10).await.unwrap(), store.audit_log(10).await.unwrap());
        again.ping().await.unwrap();
    }

    #[tokio::test]
    async fn half_of_several_sanctions_is_never_stored() {
        let (store, _dir) = open().await;
        execute(
            &store,
            "CREATE TRIGGER refuse BEFORE INSERT ON sanctions WHEN NEW.kind = 'timeout'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .await;
        let timeout = Sanction { kind: SanctionKind::Timeout, ..ban() };
        let both = [ban(), timeout];
        store.put_sanctions(&both, audit(5, "undo")).await.unwrap_err();
        assert!(store.sanctions(6).await.unwrap().is_empty());
        assert!(store.audit_log(9).await.unwrap().is_empty());
        execute(&store, "DROP TRIGGER refuse").await;
        store.put_sanctions(&both, audit(5, "undo")).await.unwrap();
        assert_eq!(store.sanctions(6).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn entries_about_a_target_are_found_by_index() {
        let (store, _dir) = open().await;
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", audit_log::ABOUT));
        let rows = sqlx::query(explain).bind("user 42").bind(10).fetch_all(store.file.readers());
        let steps: Vec<String> =
            rows.await.unwrap().iter().map(|row| sqlx::Row::get(row, "detail")).collect();
        assert_eq!(steps, ["SEARCH audit USING INDEX audit_target (target=?)"]);
    }

    /// Branches of the schema that were made side by side come in any order.
    #[tokio::test]
    async fn missing_migrations_run_after_newer_ones() {
        let (store, dir) = open().await;
        for sql in [
            "DROP TABLE subjects",
            "DROP TABLE grants",
            "DELETE FROM _sqlx_migrations WHERE version IN (15, 17)",
        ] {
            execute(&store, sql).await;
        }
        let again = SqliteMetadata::open(&dir.path().join("metadata.db")).await.unwrap();
        again.id_of_subject(&conformance::subject("", "one"), 1).await.unwrap();
        assert!(again.grants().await.unwrap().is_empty());
    }

    async fn execute(store: &SqliteMetadata, sql: &'static str) {
        let mut transaction = store.file.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn an_id_of_another_subject_is_not_given_again() {
        let (store, _dir) = open().await;
        let one = conformance::subject("", "one");
        let other = conformance::subject("", "other");
        store.id_of_subject(&one, 1).await.unwrap();
        let candidates: Vec<_> = other.candidates().collect();
        let mut transaction = store.file.begin().await.unwrap();
        sqlx::query("UPDATE subjects SET user_id = ?")
            .bind(candidates[0].0 as i64)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(store.id_of_subject(&other, 2).await.unwrap(), candidates[1]);
        assert_eq!(store.id_of_subject(&one, 2).await.unwrap(), candidates[0]);
    }

    #[tokio::test]
    async fn no_change_is_stored_without_its_audit_entry() {
        let (store, _dir) = open().await;
        let before = conformance::prepare_changes(&store).await;
        execute(&store, "ALTER TABLE audit RENAME TO gone").await;
        conformance::assert_changes_fail(&store).await;
        execute(&store, "ALTER TABLE gone RENAME TO audit").await;
        assert_eq!(conformance::contents(&store).await, before);
    }

    #[tokio::test]
    async fn no_audit_entry_is_stored_without_its_event() {
        let (store, _dir) = open().await;
        let before = conformance::prepare_changes(&store).await;
        execute(&store, "ALTER TABLE pending_events RENAME TO gone").await;
        conformance::assert_changes_with_events_fail(&store).await;
        execute(&store, "ALTER TABLE gone RENAME TO pending_events").await;
        assert_eq!(conformance::contents(&store).await, before);
    }

    #[tokio::test]
    async fn a_batch_is_queued_whole_or_not_at_all() {
        let (store, _dir) = open().await;
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON reviews
            WHEN NEW.message = 'comment 170' BEGIN SELECT RAISE(ABORT, 'refused'); END";
        assert!(refuse.contains(conformance::REFUSED));
        execute(&store, refuse).await;
        conformance::assert_a_refused_batch_stores_nothing(&store).await;
    }

    #[tokio::test]
    async fn late_votes_wait_for_no_writer() {
        let (store, _dir) = open().await;
        let poll = conformance::poll_with_votes(&store).await;
        let writing = store.file.begin().await.unwrap();
        conformance::assert_late_votes_are_answered(&store, poll).await;
        drop(writing);
    }

    #[tokio::test]
    async fn concurrent_changes_all_happen() {
        let (store, _dir) = open().await;
        let create = |_| store.create_stream(NewStream::default(), audit(1, "create_stream"));
        let created = futures_util::future::join_all((0..50).map(create)).await;
        let mut ids: Vec<_> = created.into_iter().map(|made| made.unwrap().1.stream_id.0).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=50).collect::<Vec<_>>());
    }
}
