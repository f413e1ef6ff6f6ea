//! Metadata in PostgreSQL: the engine for many nodes.
//!
//! Always holds: whatever returned `Ok` is on disk; a change and its audit entry share a
//! transaction. Whichever nodes change things at once, each change sees those before it: stream ids
//! are assigned under a lock, and a row is locked while it is changed. No two transactions
//! deadlock: each takes the rows it waits for before any other, and several rows in the order of
//! their keys. Each submodule owns the tables it is named after, as `migrations/postgres/metadata`
//! has them.
//!
//! When the server is away: [`StoreError::Unavailable`] within `postgres.timeout`, and nothing
//! changed. The exception is a server lost during a commit: it may have committed without being
//! able to answer.

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
#[cfg(test)]
mod tests;
mod users;
mod views;

use async_trait::async_trait;

use super::review::flatten;
use super::{
    ChangedTerms, DecidedReview, EventOfReview, HeldReviews, HeldScope, KnownUser, MetadataStore,
    NewAudit, NewClaim, NewReason, NewReview, NewVerdict, PendingEvent, PutSanctions, ReviewChange,
    ReviewError, Subject, UserPointChange, UserRecord,
};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::{
    PostgresPool, PostgresServer, PostgresSetupError, statement, transaction,
};
use crate::protocol::admin::{
    AuditEntry, Grant, ReviewItem, Sanction, SanctionKind, SavedView, Shadow,
};
use crate::protocol::room::{RoomPatch, RoomTerm, TermsPatch};
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{CommentId, StreamId, UserId};

/// The engine. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct PostgresMetadata {
    pool: PostgresPool,
}

impl PostgresMetadata {
    /// Opens the store after running the migrations it lacks.
    pub async fn open(server: &PostgresServer) -> Result<Self, PostgresSetupError> {
        server.migrate("metadata", sqlx::migrate!("migrations/postgres/metadata")).await?;
        Ok(Self { pool: server.pool().clone() })
    }
}

#[async_trait]
impl MetadataStore for PostgresMetadata {
    async fn create_stream(
        &self,
        new: NewStream,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| streams::create(connection, new, audit)))
            .await
    }

    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| streams::update(
                connection, stream_id, patch, &audit
            )))
            .await
    }

    async fn start_due_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<Option<(u64, Stream)>, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| streams::start_due(
                connection, stream_id, &audit
            )))
            .await
    }

    async fn delete_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| streams::delete(
                connection, stream_id, &audit
            )))
            .await
    }

    async fn update_room(
        &self,
        stream_id: StreamId,
        patch: RoomPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| streams::update_room(
                connection, stream_id, patch, audit
            )))
            .await
    }

    async fn change_terms(
        &self,
        stream_id: StreamId,
        patch: &TermsPatch,
        audit: NewAudit,
    ) -> Result<ChangedTerms, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| room_terms::change(
                connection, stream_id, patch, audit
            )))
            .await
    }

    async fn room_terms(
        &self,
        rooms: &[StreamId],
    ) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| room_terms::of_rooms(connection, rooms)))
            .await
    }

    async fn terms_versions(&self) -> Result<Vec<(StreamId, u64)>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| room_terms::versions(connection)))
            .await
    }

    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| streams::by_id(connection, stream_id)))
            .await
    }

    async fn streams(&self) -> Result<Vec<Stream>, StoreError> {
        self.pool.bounded(statement!(self.pool, |connection| streams::all(connection))).await
    }

    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, FixedRate)>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| streams::throttle_overrides(connection)))
            .await
    }

    async fn set_throttle_override(
        &self,
        stream_id: StreamId,
        fixed: Option<FixedRate>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| {
                streams::set_throttle_override(connection, stream_id, fixed, &audit)
            }))
            .await
    }

    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError> {
        if users.is_empty() {
            return Ok(());
        }
        self.pool
            .bounded(statement!(self.pool, |connection| users::remember(connection, users)))
            .await
    }

    async fn user(&self, user_id: UserId) -> Result<Option<UserRecord>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| users::by_id(connection, user_id)))
            .await
    }

    async fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError> {
        self.pool.bounded(statement!(self.pool, |connection| users::named(connection, name))).await
    }

    async fn id_of_subject(&self, subject: &Subject, now_ms: u64) -> Result<UserId, StoreError> {
        subjects::id_of(&self.pool, subject, now_ms).await
    }

    async fn put_sanctions(
        &self,
        sanctions: &[Sanction],
        audit: NewAudit,
    ) -> Result<PutSanctions, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| sanctions::put(
                connection, sanctions, audit
            )))
            .await
    }

    async fn lift(
        &self,
        user_id: UserId,
        kinds: &[SanctionKind],
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| sanctions::lift(
                connection, user_id, kinds, streams, audit
            )))
            .await
    }

    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| sanctions::in_force(connection, now_ms)))
            .await
    }

    async fn put_shadows(&self, shadows: &[Shadow], audit: NewAudit) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| shadows::put(
                connection, shadows, &audit
            )))
            .await
    }

    async fn lift_shadows(
        &self,
        user_id: UserId,
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| shadows::lift(
                connection, user_id, streams, &audit
            )))
            .await
    }

    async fn shadows(&self, now_ms: u64) -> Result<Vec<Shadow>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| shadows::in_force(connection, now_ms)))
            .await
    }

    async fn put_grant(&self, grant: &Grant, audit: NewAudit) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| grants::put(connection, grant, audit)))
            .await
    }

    async fn revoke_grant(
        &self,
        user_id: UserId,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| grants::revoke(
                connection, user_id, stream_id, audit
            )))
            .await
    }

    async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        self.pool.bounded(statement!(self.pool, |connection| grants::all(connection))).await
    }

    async fn count_points(
        &self,
        changes: &[UserPointChange],
        half_life_ms: u64,
    ) -> Result<(), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| reputations::count(
                connection,
                changes,
                half_life_ms
            )))
            .await
    }

    async fn known_users(&self, users: &[UserId]) -> Result<Vec<KnownUser>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| reputations::known(connection, users)))
            .await
    }

    async fn queue_reviews(&self, new: &[NewReview]) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        self.pool.bounded(statement!(self.pool, |connection| review::queue(connection, new))).await
    }

    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| review::waiting(connection, None, limit)))
            .await
    }

    async fn review_queue_of(
        &self,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        let only = Some(stream_id);
        self.pool
            .bounded(statement!(self.pool, |connection| review::waiting(connection, only, limit)))
            .await
    }

    async fn review_count(&self) -> Result<u64, StoreError> {
        self.pool.bounded(statement!(self.pool, |connection| review::count(connection))).await
    }

    async fn held_count(&self, scope: HeldScope) -> Result<u64, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| review::held_count(connection, scope)))
            .await
    }

    async fn claim_review(&self, claim: NewClaim<'_>) -> Result<ReviewItem, ReviewError> {
        let claimed = transaction!(self.pool, |connection| review::claim(connection, claim));
        flatten(self.pool.bounded(claimed).await)
    }

    async fn decide_review(
        &self,
        new: NewVerdict<'_>,
        event: EventOfReview<'_>,
        audit: NewAudit,
    ) -> Result<(u64, ReviewItem), ReviewError> {
        let decided =
            transaction!(self.pool, |connection| review::decide(connection, new, event, &audit));
        flatten(self.pool.bounded(decided).await)
    }

    async fn reopen_review(
        &self,
        comment_id: CommentId,
        event: Option<PendingEvent>,
        audit: NewAudit,
    ) -> Result<u64, ReviewError> {
        let event = event.as_ref();
        let reopened = transaction!(self.pool, |connection| review::reopen(
            connection, comment_id, event, &audit
        ));
        flatten(self.pool.bounded(reopened).await)
    }

    async fn decided_review(
        &self,
        comment_id: CommentId,
    ) -> Result<Option<DecidedReview>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| review::decided_one(
                connection, comment_id
            )))
            .await
    }

    async fn is_event_pending(&self, number: u64) -> Result<bool, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| events::is_pending(connection, number)))
            .await
    }

    async fn decided_reviews(
        &self,
        before_ms: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DecidedReview>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| review::decided(
                connection, before_ms, limit
            )))
            .await
    }

    async fn held_reviews(
        &self,
        which: HeldReviews,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| review::held(connection, which, limit)))
            .await
    }

    async fn set_review_reason(&self, new: NewReason<'_>) -> Result<bool, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| review::set_reason(connection, new)))
            .await
    }

    async fn has_pending_event(&self, stream_id: StreamId) -> Result<bool, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| events::has_pending(connection, stream_id)))
            .await
    }

    async fn save_view(&self, view: SavedView, audit: NewAudit) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| views::save(connection, &view, &audit)))
            .await
    }

    async fn forget_view(&self, name: &str, audit: NewAudit) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| views::forget(connection, name, &audit)))
            .await
    }

    async fn saved_views(&self) -> Result<Vec<SavedView>, StoreError> {
        self.pool.bounded(statement!(self.pool, |connection| views::all(connection))).await
    }

    async fn audit_with_event(
        &self,
        event: PendingEvent,
        review: Option<ReviewChange>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| review::record(
                connection, &event, review, &audit
            )))
            .await
    }

    async fn claim_events(
        &self,
        now_ms: u64,
        pause_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, PendingEvent)>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| events::claim(
                connection, now_ms, pause_ms, limit
            )))
            .await
    }

    async fn event_published(&self, number: u64) -> Result<(), StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| events::remove(connection, number)))
            .await
    }

    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| audit::append(connection, &audit)))
            .await
    }

    async fn audit_entry(&self, audit_id: u64) -> Result<Option<AuditEntry>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| audit::entry(connection, audit_id)))
            .await
    }

    async fn audit_about(&self, target: &str, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| audit::about(connection, target, limit)))
            .await
    }

    async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| audit::newest(connection, limit)))
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pool.bounded(statement!(self.pool, |connection| streams::ping(connection))).await
    }
}
