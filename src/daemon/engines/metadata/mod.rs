//! The metadata store: streams, users and their ids, sanctions, shadows, grants, reputations, the
//! review queue, saved views, the audit log.
//!
//! In: changes by operators, the API and moderation. Out: the same data, by id or in lists.
//! Engines: [`sqlite`] for one machine, [`postgres`] for many nodes.
//!
//! Always holds: each method is one transaction; whatever returned `Ok` is durable. A change by an
//! operator and its audit entry are stored together or not at all. That includes changes that take
//! effect in the event log, such as a deletion: their event is stored with the audit entry, and
//! stays until the log has it.
//!
//! When full: [`crate::daemon::engines::StoreError::Unavailable`], and nothing changed.

#[cfg(test)]
pub(crate) mod conformance;
#[cfg(any(test, fuzzing))]
pub(crate) mod in_memory;
pub mod measured;
mod points;
#[cfg(feature = "engines")]
pub mod postgres;
mod review;
mod room_life;
mod room_polls;
mod rows;
pub mod sqlite;
mod subjects;

use std::cmp::Reverse;
use std::sync::Arc;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;
use crate::protocol::admin::{
    AuditEntry, Grant, ReviewItem, Sanction, SanctionKind, SavedView, Shadow,
};
use crate::protocol::room::{MAX_ROOM_TERMS, RoomPatch, RoomTerm, TermsPatch};
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{CommentId, StreamId, UserId};
pub use points::{AuditPoints, KnownUser, MAX_LOOKED_UP, PointCause, UserPointChange};
pub use review::{
    DecidedReview, HeldReviews, HeldScope, MAX_ALIKE, NewClaim, NewReason, NewReview, NewVerdict,
    ReviewChange, ReviewError, ReviewRefusal, ReviewVerdict,
};
pub use subjects::{FIRST_SUBJECT_ID, InvalidSubject, Subject};

pub use room_life::{KeptIds, NewMessage, RoomLife};
pub use room_polls::{NewPoll, PollVote, PollVotes};

/// An entry for the audit log, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub actor: String,
    pub action: &'static str,
    /// The changed object, such as `user 42`; see [`Self::of_stream`] for streams.
    pub target: String,
    pub detail: serde_json::Value,
    /// Points that the change costs a user, or gives back. Stored with the entry; no part of it.
    pub points: Option<AuditPoints>,
}

/// The field of an audit entry's detail that has what the change replaced.
pub const BEFORE: &str = "before";
/// The field of the audit entry of a sanction or a given role with what that replaced: of several
/// sanctions a list.
pub const REPLACES: &str = "replaces";
/// The field of the audit entry of an unban with the list of sanctions that it lifted.
pub const LIFTED: &str = "lifted";
/// The field of the audit entry of a revoked role with the role.
pub const REVOKED: &str = "revoked";

impl NewAudit {
    /// Returns the same entry, about this stream.
    pub fn of_stream(mut self, stream_id: StreamId) -> Self {
        self.target = format!("stream {stream_id}");
        self
    }

    /// Returns the same entry, with a change of a user's points.
    pub(crate) fn with_points(self, points: AuditPoints) -> Self {
        Self { points: Some(points), ..self }
    }

    /// Returns the same entry. Its points, if it has any, are those of the author of an item.
    fn of_author(self, item: &ReviewItem) -> Self {
        Self { points: self.points.and_then(|points| points.of_author(item)), ..self }
    }

    /// Returns the change of points of the entry that was stored under this number.
    fn point_change(&self, audit_id: u64) -> Option<(UserPointChange, u64)> {
        let points = self.points.as_ref()?;
        Some((points.change(audit_id, self.at)?, points.half_life_ms))
    }

    /// Returns the same entry, with what the change replaces in the field [`BEFORE`] of its detail.
    pub(crate) fn with_before(self, before: &impl serde::Serialize) -> Self {
        self.with_field(BEFORE, before)
    }

    /// Returns the same entry, with the sanctions that its sanctions replace. Such a sanction
    /// corrects another, so it costs no points of its own.
    fn replacing_sanctions(mut self, replaced: &[Sanction]) -> Self {
        if !replaced.is_empty() {
            self.points.take_if(|points| points.cause == PointCause::ThisEntry);
        }
        match replaced {
            [] => self,
            [one] => self.with_field(REPLACES, one),
            several => self.with_field(REPLACES, &several),
        }
    }

    /// Returns the same entry, with the sanctions that the change lifts, newest first.
    fn lifting(self, mut lifted: Vec<Sanction>) -> Self {
        lifted.sort_by_key(|it| (Reverse(it.created_at), it.kind.as_str(), it.stream_id));
        self.with_field(LIFTED, &lifted)
    }

    /// Returns the same entry, with the role that the change replaces.
    fn replacing_grant(self, replaced: Option<&Grant>) -> Self {
        match replaced {
            Some(replaced) => self.with_field(REPLACES, replaced),
            None => self,
        }
    }

    fn with_field(mut self, name: &str, value: &impl serde::Serialize) -> Self {
        if let Some(fields) = self.detail.as_object_mut() {
            // Serializing structs of texts and numbers cannot fail.
            let value = serde_json::to_value(value).unwrap_or_default();
            fields.insert(name.to_owned(), value);
        }
        self
    }
}

/// Sanctions that were put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutSanctions {
    pub audit_id: u64,
    /// Those that were in force until then.
    pub replaced: Vec<Sanction>,
}

/// The terms of a room after a change, ordered, and its audit entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedTerms {
    pub audit_id: u64,
    pub terms: Vec<RoomTerm>,
}

/// A change of the terms of a room.
struct TermsChange {
    /// Those of the changed terms that the room had.
    before: Vec<RoomTerm>,
    /// All terms of the room.
    after: Vec<RoomTerm>,
}

/// Applies a patch to the terms of one room. [`StoreError::NotATerm`] if one to remove is none of
/// them, [`StoreError::Full`] if that makes too many.
fn terms_after(
    stored: Vec<(StreamId, RoomTerm)>,
    patch: &TermsPatch,
) -> Result<TermsChange, StoreError> {
    let stored: Vec<_> = stored.into_iter().map(|(_, term)| term).collect();
    let is_known = |removed: &str| stored.iter().any(|known| known.term == removed);
    if let Some(unknown) = patch.remove.iter().find(|removed| !is_known(removed)) {
        return Err(StoreError::NotATerm(unknown.clone()));
    }
    let after = patch.applied_to(&stored);
    if after.len() > MAX_ROOM_TERMS {
        return Err(StoreError::Full("blocked term: a room has at most 500"));
    }
    let before = stored.into_iter().filter(|known| patch.names(&known.term)).collect();
    Ok(TermsChange { before, after })
}

/// An event for the comment topic of the log, as a change decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEvent {
    /// The key of the record.
    pub stream_id: StreamId,
    pub payload: Vec<u8>,
}

/// Returns the event of a decided review item, if the decision has one.
pub type EventOfReview<'a> = &'a (dyn Fn(&ReviewItem) -> Option<PendingEvent> + Send + Sync);

/// Sanctions that ran out less than this before a change stay in the table: the clock of the node
/// that makes the change may be ahead, and the sanction in force on all others. The same holds for
/// the votes of a poll that has closed.
pub(crate) const SWEEP_AFTER_MS: u64 = 24 * 3_600_000;

/// A user as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub user_id: UserId,
    pub name: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub seen_at: u64,
    /// When the account was created, in milliseconds since the Unix epoch; `None` if the token does
    /// not say.
    pub account_created: Option<u64>,
}

/// The most users that [`MetadataStore::users_named`] returns: enough to see that a name is not
/// unique.
pub const MAX_USERS_NAMED: usize = 100;

/// The contract.
#[async_trait]
pub trait MetadataStore: RoomLife {
    // streams
    /// Creates a stream at the audit entry's time and returns the entry's number. Without a
    /// requested id the stream gets the one above the highest in use. [`StoreError::Exists`] if the
    /// requested id is taken. The entry is stored [about the stream](NewAudit::of_stream), because
    /// only the store knows an id it assigned.
    async fn create_stream(
        &self,
        new: NewStream,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Changes the fields that the patch names, at the audit entry's time, and returns the entry's
    /// number. [`StoreError::NotFound`] for an unknown stream.
    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Starts a stream that is due: scheduled, with a start time that is not after the audit
    /// entry's. `None` if it is not, as when another node has started it; nothing is recorded then.
    async fn start_due_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<Option<(u64, Stream)>, StoreError>;
    /// Deletes a stream, and returns the entry's number and the stream as it was.
    /// [`StoreError::NotFound`] for an unknown stream. Its id is never given again, because
    /// comments are kept under it: creating a stream of that id is [`StoreError::Exists`].
    async fn delete_stream(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Changes the settings of a room that the patch names, and returns the entry's number. The
    /// entry is stored with the [settings before](BEFORE), which only the store knows for certain.
    /// [`StoreError::NotFound`] for an unknown stream.
    async fn update_room(
        &self,
        stream_id: StreamId,
        patch: RoomPatch,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Adds and removes blocked terms of a room. The entry is stored with those of the named terms
    /// that the room had [before](BEFORE). [`StoreError::NotFound`] for an unknown stream,
    /// [`StoreError::NotATerm`] for a term to remove that the room does not have, also if somebody
    /// else removes it at this moment, [`StoreError::Full`] if the room would have more than
    /// [`MAX_ROOM_TERMS`].
    async fn change_terms(
        &self,
        stream_id: StreamId,
        patch: &TermsPatch,
        audit: NewAudit,
    ) -> Result<ChangedTerms, StoreError>;
    /// Returns the blocked terms of these rooms, ordered by stream and term.
    async fn room_terms(&self, rooms: &[StreamId])
    -> Result<Vec<(StreamId, RoomTerm)>, StoreError>;
    /// Returns the rooms whose terms were ever changed, ordered by stream, each with a number that
    /// grows with every change of its terms.
    async fn terms_versions(&self) -> Result<Vec<(StreamId, u64)>, StoreError>;
    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError>;
    /// Returns all streams, ordered by id.
    async fn streams(&self) -> Result<Vec<Stream>, StoreError>;
    /// Returns the rates that operators fixed, ordered by stream, also those that have ended.
    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, FixedRate)>, StoreError>;
    /// Fixes the rate of a stream; `None` lets the throttle decide again. [`StoreError::NotFound`]
    /// for an unknown stream.
    async fn set_throttle_override(
        &self,
        stream_id: StreamId,
        fixed: Option<FixedRate>,
        audit: NewAudit,
    ) -> Result<u64, StoreError>;

    // users
    /// Records the names of users. The newest name of a user wins. A creation of the account that
    /// was known once stays known.
    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError>;
    async fn user(&self, user_id: UserId) -> Result<Option<UserRecord>, StoreError>;
    /// Returns the users of exactly that name, the last seen first, at most [`MAX_USERS_NAMED`].
    /// Names are not unique.
    async fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError>;

    /// Returns the id of a subject, which gets one by the first call and keeps it for ever. First
    /// calls at one time, on whichever nodes, return the same id. No two subjects have the same.
    /// [`StoreError::Full`] if every id that the subject may get belongs to another.
    async fn id_of_subject(&self, subject: &Subject, now_ms: u64) -> Result<UserId, StoreError>;

    // sanctions
    /// Puts sanctions in force, each replacing one on the same user of the same kind on the same
    /// stream, or on all. The entry is stored with those that they [replace](REPLACES), which only
    /// the store knows for certain; if there are any, it costs no points of its own.
    async fn put_sanctions(
        &self,
        sanctions: &[Sanction],
        audit: NewAudit,
    ) -> Result<PutSanctions, StoreError>;
    /// Puts one in force, as [`Self::put_sanctions`] does, and returns the audit entry's number.
    async fn sanction(&self, sanction: Sanction, audit: NewAudit) -> Result<u64, StoreError> {
        Ok(self.put_sanctions(&[sanction], audit).await?.audit_id)
    }
    /// Lifts a user's sanctions of these kinds on these streams; `None` are those on all streams.
    /// The entry is stored with those that are [lifted](LIFTED).
    /// [`StoreError::NotFound`] if none of them was in force at the audit entry's time.
    async fn lift(
        &self,
        user_id: UserId,
        kinds: &[SanctionKind],
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError>;
    /// Returns the sanctions in force at `now_ms`, newest first.
    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError>;

    // shadows
    /// Puts shadows in force, each replacing that of the same user on the same stream, or on all,
    /// and returns the audit entry's number.
    async fn put_shadows(&self, shadows: &[Shadow], audit: NewAudit) -> Result<u64, StoreError>;
    /// Lifts a user's shadows on these streams; `None` is the one on all streams.
    /// [`StoreError::NotFound`] if none of them was in force at the audit entry's time.
    async fn lift_shadows(
        &self,
        user_id: UserId,
        streams: &[Option<StreamId>],
        audit: NewAudit,
    ) -> Result<u64, StoreError>;
    /// Returns the shadows in force at `now_ms`, newest first.
    async fn shadows(&self, now_ms: u64) -> Result<Vec<Shadow>, StoreError>;

    // grants
    /// Gives a user a role on a stream, replacing the one given before, with which the entry is
    /// [stored](REPLACES). Returns the entry's number.
    async fn put_grant(&self, grant: &Grant, audit: NewAudit) -> Result<u64, StoreError>;
    /// Takes the role that a user was given on a stream, with which the entry is
    /// [stored](REVOKED). [`StoreError::NotFound`] without one.
    async fn revoke_grant(
        &self,
        user_id: UserId,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<u64, StoreError>;
    /// Returns all roles that were given, the newest first.
    async fn grants(&self) -> Result<Vec<Grant>, StoreError>;

    // reputations
    /// Carries out changes of points, in their order. A cause that was counted before changes
    /// nothing, so that a call may be repeated. Removes what hardly anything is left of.
    async fn count_points(
        &self,
        changes: &[UserPointChange],
        half_life_ms: u64,
    ) -> Result<(), StoreError>;
    /// Returns what is known of users, in any order, without those of whom nothing is. At most
    /// [`MAX_LOOKED_UP`] are asked for.
    async fn known_users(&self, users: &[UserId]) -> Result<Vec<KnownUser>, StoreError>;

    // moderation
    /// Queues comments for review, all of them or, after an error, none. Queueing a comment again
    /// changes nothing, and one that was [withdrawn](ReviewChange::Withdraw) before does not wait;
    /// of several items of one comment the first counts. Without items nothing happens.
    async fn queue_reviews(&self, new: &[NewReview]) -> Result<(), StoreError>;
    /// Queues one comment, as [`Self::queue_reviews`] does.
    async fn queue_review(&self, item: ReviewItem, text_key: i64) -> Result<(), StoreError> {
        self.queue_reviews(&[NewReview { item, text_key }]).await
    }
    /// Returns undecided items, oldest first, with their latest claims, also those that have run
    /// out, and with the number of other undecided items of the same text, at most [`MAX_ALIKE`].
    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError>;
    /// Returns undecided items of one stream like [`Self::review_queue`]. Those of the same text
    /// are counted on all streams.
    async fn review_queue_of(
        &self,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError>;
    async fn review_count(&self) -> Result<u64, StoreError>;
    /// Returns the number of held, undecided items.
    async fn held_count(&self, scope: HeldScope) -> Result<u64, StoreError>;
    /// Claims an undecided item for an actor, renews its claim, or ends it.
    /// [`ReviewRefusal`] if the item is not in the queue or somebody else has claimed it.
    async fn claim_review(&self, claim: NewClaim<'_>) -> Result<ReviewItem, ReviewError>;
    /// Records the decision, removes the item from the queue and stores its event as pending.
    /// [`ReviewRefusal`] if the item is not in the queue, has another reason or stream than the
    /// expected one, somebody other than the audit entry's actor has claimed it, or its author
    /// [may not publish](NewVerdict::as_author). Of two decisions at once, one is refused.
    async fn decide_review(
        &self,
        new: NewVerdict<'_>,
        event: EventOfReview<'_>,
        audit: NewAudit,
    ) -> Result<(u64, ReviewItem), ReviewError>;
    /// Takes back the decision on an item, which waits for review again, unclaimed, and stores an
    /// event as pending. Returns the audit entry's number. [`ReviewRefusal`] if the item is not
    /// decided.
    async fn reopen_review(
        &self,
        comment_id: CommentId,
        event: Option<PendingEvent>,
        audit: NewAudit,
    ) -> Result<u64, ReviewError>;
    /// Returns an item if it is decided.
    async fn decided_review(
        &self,
        comment_id: CommentId,
    ) -> Result<Option<DecidedReview>, StoreError>;
    /// Returns at most `limit` items that were decided before a time, or the latest, newest first,
    /// without those that were [withdrawn](ReviewChange::Withdraw).
    async fn decided_reviews(
        &self,
        before_ms: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DecidedReview>, StoreError>;

    /// Returns at most `limit` held, undecided items. Items of the same text are not counted.
    async fn held_reviews(
        &self,
        which: HeldReviews,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError>;
    /// Gives an undecided item another reason. Returns false if it is decided, is not queued or has
    /// another reason than the expected one.
    async fn set_review_reason(&self, new: NewReason<'_>) -> Result<bool, StoreError>;

    // views
    /// Keeps a view, in place of one of the same name, and returns the audit entry's number.
    /// [`StoreError::Full`] if there are
    /// [`MAX_SAVED_VIEWS`](crate::protocol::admin::MAX_SAVED_VIEWS) others.
    async fn save_view(&self, view: SavedView, audit: NewAudit) -> Result<u64, StoreError>;
    /// Removes a view; [`StoreError::NotFound`] if there is none of that name.
    async fn forget_view(&self, name: &str, audit: NewAudit) -> Result<u64, StoreError>;
    /// Returns all views, ordered by name.
    async fn saved_views(&self) -> Result<Vec<SavedView>, StoreError>;

    // events for the log
    /// Records an action, stores its event as pending and changes the review of its comment.
    /// Returns the entry's number, which is also that of the event.
    async fn audit_with_event(
        &self,
        event: PendingEvent,
        review: Option<ReviewChange>,
        audit: NewAudit,
    ) -> Result<u64, StoreError>;
    /// Returns at most `limit` pending events, oldest first, that nobody has claimed within
    /// `pause_ms` before `now_ms`, and claims them. A new event counts as claimed by its creator.
    async fn claim_events(
        &self,
        now_ms: u64,
        pause_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, PendingEvent)>, StoreError>;
    /// Removes a pending event, because the log has it.
    async fn event_published(&self, number: u64) -> Result<(), StoreError>;
    /// Returns whether the event of an entry is pending: the log may not have it, or may get it
    /// once more.
    async fn is_event_pending(&self, number: u64) -> Result<bool, StoreError>;
    /// Returns whether an event of this stream is pending.
    async fn has_pending_event(&self, stream_id: StreamId) -> Result<bool, StoreError>;

    // audit
    /// Records an action that changes nothing else in the store, and returns the entry's number.
    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError>;
    /// Returns an entry by its number.
    async fn audit_entry(&self, audit_id: u64) -> Result<Option<AuditEntry>, StoreError>;

    /// Returns the entries about a target, newest first.
    async fn audit_about(&self, target: &str, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Returns entries, newest first.
    async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Succeeds if the store answers. The breaker's health check.
    async fn ping(&self) -> Result<(), StoreError>;
}

pub type SharedMetadataStore = Arc<dyn MetadataStore>;
