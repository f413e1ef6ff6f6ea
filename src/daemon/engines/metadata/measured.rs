//! The metadata store with a meter in front.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    ChangedTerms, DecidedReview, EventOfReview, HeldReviews, HeldScope, KeptIds, KnownUser,
    MetadataStore, NewAudit, NewClaim, NewMessage, NewPoll, NewReason, NewReview, NewVerdict,
    PendingEvent, PollVote, PollVotes, PutSanctions, ReviewChange, ReviewError, RoomLife,
    SharedMetadataStore, Subject, UserPointChange, UserRecord,
};
use crate::daemon::base::telemetry::StoreMeter;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::measured::{measured, measured_by};
use crate::protocol::admin::{
    AuditEntry, Grant, ReviewItem, Sanction, SanctionKind, SavedView, Shadow,
};
use crate::protocol::room::{RoomPatch, RoomTerm, TermsPatch};
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{CommentId, KeptMessage, PinnedComment, RoomPoll, StreamId, UserId};

/// Measures the calls to a store.
#[derive(Debug)]
pub struct MeasuredMetadata {
    store: SharedMetadataStore,
    meter: Arc<StoreMeter>,
}

impl MeasuredMetadata {
    pub fn new(store: SharedMetadataStore, meter: Arc<StoreMeter>) -> Self {
        Self { store, meter }
    }
}

#[async_trait]
impl RoomLife for MeasuredMetadata {
    async fn set_pinned(
        &self,
        stream_id: StreamId,
        pinned: Option<Arc<PinnedComment>>,
        only: Option<Arc<PinnedComment>>,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        measured(&self.meter, self.store.set_pinned(stream_id, pinned, only, audit)).await
    }

    async fn open_poll(
        &self,
        stream_id: StreamId,
        new: NewPoll,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        measured(&self.meter, self.store.open_poll(stream_id, new, audit)).await
    }

    async fn close_poll(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        measured(&self.meter, self.store.close_poll(stream_id, audit)).await
    }

    async fn count_votes(
        &self,
        poll_id: u64,
        votes: &[PollVote],
    ) -> Result<Vec<Option<u8>>, StoreError> {
        measured(&self.meter, self.store.count_votes(poll_id, votes)).await
    }

    async fn poll_votes(&self, polls: &[u64]) -> Result<Vec<PollVotes>, StoreError> {
        measured(&self.meter, self.store.poll_votes(polls)).await
    }

    async fn polls(&self, stream_id: StreamId, limit: usize) -> Result<Vec<RoomPoll>, StoreError> {
        measured(&self.meter, self.store.polls(stream_id, limit)).await
    }

    async fn keep_message(
        &self,
        user_id: UserId,
        new: NewMessage,
        audit: Option<NewAudit>,
    ) -> Result<KeptIds, StoreError> {
        measured(&self.meter, self.store.keep_message(user_id, new, audit)).await
    }

    async fn kept_messages(
        &self,
        user_id: UserId,
        now_ms: u64,
    ) -> Result<Vec<KeptMessage>, StoreError> {
        measured(&self.meter, self.store.kept_messages(user_id, now_ms)).await
    }

    async fn acknowledge_messages(&self, user_id: UserId, up_to: u64) -> Result<(), StoreError> {
        measured(&self.meter, self.store.acknowledge_messages(user_id, up_to)).await
    }

    async fn sweep(&self, now_ms: u64, limit: usize) -> Result<bool, StoreError> {
        measured(&self.meter, self.store.sweep(now_ms, limit)).await
    }
}

#[async_trait]
impl MetadataStore for MeasuredMetadata {
    async fn create_stream(
        &self,
        new: NewStream,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        measured(&self.meter, self.store.create_stream(new, audit)).await
    }

    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        measured(&self.meter, self.store.update_stream(stream_id, patch, audit)).await
    }

    async fn start_due_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<Option<(u64, Stream)>, StoreError> {
        measured(&self.meter, self.store.start_due_stream(stream_id, audit)).await
    }

    async fn delete_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        measured(&self.meter, self.store.delete_stream(stream_id, audit)).await
    }

    async fn update_room(
        &self,
        stream_id: StreamId,
        patch: RoomPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        measured(&self.meter, self.store.update_room(stream_id, patch, audit)).await
    }

    async fn change_terms(
        &self,
        stream_id: StreamId,
        patch: &TermsPatch,
        audit: NewAudit,
    ) -> Result<ChangedTerms, StoreError> {
        measured(&self.meter, self.store.change_terms(stream_id, patch, audit)).await
    }

    async fn room_terms(
        &self,
        rooms: &[StreamId],
    ) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
        measured(&self.meter, self.store.room_terms(rooms)).await
    }

    async fn terms_versions(&self) -> Result<Vec<(StreamId, u64)>, StoreError> {
        measured(&self.meter, self.store.terms_versions()).await
    }

    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError> {
        measured(&self.meter, self.store.stream(stream_id)).await
    }

    async fn streams(&self) -> Result<Vec<Stream>, StoreError> {
        measured(&self.meter, self.store.streams()).await
    }

    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, FixedRate)>, StoreError> {
        measured(&self.meter, self.store.throttle_overrides()).await
    }

    async fn set_throttle_override(
        &self,
        stream_id: StreamId,
        fixed: Option<FixedRate>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.set_throttle_override(stream_id, fixed, audit)).await
    }

    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError> {
        measured(&self.meter, self.store.remember_users(users)).await
    }

    async fn user(&self, user_id: UserId) -> Result<Option<UserRecord>, StoreError> {
        measured(&self.meter, self.store.user(user_id)).await
    }

    async fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError> {
        measured(&self.meter, self.store.users_named(name)).await
    }

    async fn id_of_subject(&self, subject: &Subject, now_ms: u64) -> Result<UserId, StoreError> {
        measured(&self.meter, self.store.id_of_subject(subject, now_ms)).await
    }

    async fn put_sanctions(
        &self,
        sanctions: &[Sanction],
        audit: NewAudit,
    ) -> Result<PutSanctions, StoreError> {
        measured(&self.meter, self.store.put_sanctions(sanctions, audit)).await
    }

    async fn lift(
        &self,
        user_id: UserId,
        kinds: &[SanctionKind],
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.lift(user_id, kinds, streams, audit)).await
    }

    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
        measured(&self.meter, self.store.sanctions(now_ms)).await
    }

    async fn put_shadows(&self, shadows: &[Shadow], audit: NewAudit) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.put_shadows(shadows, audit)).await
    }

    async fn lift_shadows(
        &self,
        user_id: UserId,
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.lift_shadows(user_id, streams, audit)).await
    }

    async fn shadows(&self, now_ms: u64) -> Result<Vec<Shadow>, StoreError> {
        measured(&self.meter, self.store.shadows(now_ms)).await
    }

    async fn put_grant(&self, grant: &Grant, audit: NewAudit) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.put_grant(grant, audit)).await
    }

    async fn revoke_grant(
        &self,
        user_id: UserId,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.revoke_grant(user_id, stream_id, audit)).await
    }

    async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        measured(&self.meter, self.store.grants()).await
    }

    async fn count_points(
        &self,
        changes: &[UserPointChange],
        half_life_ms: u64,
    ) -> Result<(), StoreError> {
        measured(&self.meter, self.store.count_points(changes, half_life_ms)).await
    }

    async fn known_users(&self, users: &[UserId]) -> Result<Vec<KnownUser>, StoreError> {
        measured(&self.meter, self.store.known_users(users)).await
    }

    async fn queue_reviews(&self, new: &[NewReview]) -> Result<(), StoreError> {
        measured(&self.meter, self.store.queue_reviews(new)).await
    }

    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError> {
        measured(&self.meter, self.store.review_queue(limit)).await
    }

    async fn review_queue_of(
        &self,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        measured(&self.meter, self.store.review_queue_of(stream_id, limit)).await
    }

    async fn review_count(&self) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.review_count()).await
    }

    async fn held_count(&self, scope: HeldScope) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.held_count(scope)).await
    }

    async fn decide_review(
        &self,
        new: NewVerdict<'_>,
        event: EventOfReview<'_>,
        audit: NewAudit,
    ) -> Result<(u64, ReviewItem), ReviewError> {
        let call = self.store.decide_review(new, event, audit);
        measured_by(&self.meter, ReviewError::is_failure, call).await
    }

    async fn reopen_review(
        &self,
        comment_id: CommentId,
        event: Option<PendingEvent>,
        audit: NewAudit,
    ) -> Result<u64, ReviewError> {
        let call = self.store.reopen_review(comment_id, event, audit);
        measured_by(&self.meter, ReviewError::is_failure, call).await
    }

    async fn decided_review(
        &self,
        comment_id: CommentId,
    ) -> Result<Option<DecidedReview>, StoreError> {
        measured(&self.meter, self.store.decided_review(comment_id)).await
    }

    async fn is_event_pending(&self, number: u64) -> Result<bool, StoreError> {
        measured(&self.meter, self.store.is_event_pending(number)).await
    }

    async fn claim_review(&self, claim: NewClaim<'_>) -> Result<ReviewItem, ReviewError> {
        let call = self.store.claim_review(claim);
        measured_by(&self.meter, ReviewError::is_failure, call).await
    }

    async fn decided_reviews(
        &self,
        before_ms: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DecidedReview>, StoreError> {
        measured(&self.meter, self.store.decided_reviews(before_ms, limit)).await
    }

    async fn held_reviews(
        &self,
        which: HeldReviews,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        measured(&self.meter, self.store.held_reviews(which, limit)).await
    }

    async fn set_review_reason(&self, new: NewReason<'_>) -> Result<bool, StoreError> {
        measured(&self.meter, self.store.set_review_reason(new)).await
    }

    async fn has_pending_event(&self, stream_id: StreamId) -> Result<bool, StoreError> {
        measured(&self.meter, self.store.has_pending_event(stream_id)).await
    }

    async fn save_view(&self, view: SavedView, audit: NewAudit) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.save_view(view, audit)).await
    }

    async fn forget_view(&self, name: &str, audit: NewAudit) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.forget_view(name, audit)).await
    }

    async fn saved_views(&self) -> Result<Vec<SavedView>, StoreError> {
        measured(&self.meter, self.store.saved_views()).await
    }

    async fn audit_with_event(
        &self,
        event: PendingEvent,
        review: Option<ReviewChange>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.audit_with_event(event, review, audit)).await
    }

    async fn claim_events(
        &self,
        now_ms: u64,
        pause_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, PendingEvent)>, StoreError> {
        measured(&self.meter, self.store.claim_events(now_ms, pause_ms, limit)).await
    }

    async fn event_published(&self, number: u64) -> Result<(), StoreError> {
        measured(&self.meter, self.store.event_published(number)).await
    }

    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError> {
        measured(&self.meter, self.store.audit(audit)).await
    }

    async fn audit_entry(&self, audit_id: u64) -> Result<Option<AuditEntry>, StoreError> {
        measured(&self.meter, self.store.audit_entry(audit_id)).await
    }

    async fn audit_about(&self, target: &str, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        measured(&self.meter, self.store.audit_about(target, limit)).await
    }

    async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        measured(&self.meter, self.store.audit_log(limit)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;

    #[tokio::test]
    async fn failures_are_counted_and_checks_are_not() {
        let inner = Arc::new(InMemoryMetadata::default());
        let meter = Arc::<StoreMeter>::default();
        let store = MeasuredMetadata::new(inner.clone(), meter.clone());
        store.streams().await.unwrap();
        store.event_published(1).await.unwrap();
        inner.set_down(true);
        store.streams().await.unwrap_err();
        store.ping().await.unwrap_err();
        assert_eq!((meter.latency().count(), meter.failed()), (2, 1));
    }
}
