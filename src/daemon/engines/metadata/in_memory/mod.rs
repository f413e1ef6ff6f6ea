//! Metadata in memory, for tests of what reads and changes it: everything the contract promises but
//! durability, and failures on demand.

mod room_life;
mod store;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use self::tables::{is_in_force, is_kept, keep_newest};
use super::review::{AuthorStanding, StoredReview, WITHDRAWN, reopened_reason};
use super::room_polls::{add_up, closed};
use super::subjects::NO_FREE_ID;
use super::{
    ChangedTerms, DecidedReview, EventOfReview, HeldReviews, HeldScope, KeptIds, KnownUser,
    MAX_ALIKE, MAX_USERS_NAMED, MetadataStore, NewAudit, NewClaim, NewMessage, NewPoll, NewReason,
    NewReview, NewVerdict, PendingEvent, PollVote, PollVotes, PutSanctions, REVOKED, ReviewChange,
    ReviewError, ReviewRefusal, ReviewVerdict, RoomLife, SWEEP_AFTER_MS, Subject, UserPointChange,
    UserRecord, terms_after,
};
use crate::daemon::engines::StoreError;
use crate::policy::reputation::{CountedCause, KEPT_HALF_LIVES, Reputation};
use crate::protocol::admin::{
    AuditEntry, Grant, MAX_SAVED_VIEWS, ReviewEvidence, ReviewItem, Sanction, SanctionKind,
    SavedView, Shadow,
};
use crate::protocol::events::Decision;
use crate::protocol::kept_message::{KEPT_FOR_MS, MAX_KEPT_MESSAGES, MAX_KEPT_OF_SENDER};
use crate::protocol::room::{RoomPatch, RoomSettings, RoomTerm, TermsPatch, UNCHECKED};
use crate::protocol::stream::{ModerationMode, NewStream, Stream, StreamPatch, StreamState};
use crate::protocol::throttle::FixedRate;
use crate::protocol::{CommentId, KeptMessage, PinnedComment, RoomPoll, StreamId, UserId};

/// The store. While it is down, every call fails and changes nothing.
#[derive(Debug, Default)]
pub(crate) struct InMemoryMetadata {
    down: AtomicBool,
    /// The method whose next call fails, and whether it panics.
    failing: Mutex<Option<(&'static str, bool)>>,
    calls: AtomicU32,
    point_wait: Mutex<Duration>,
    streams_wait: Mutex<Duration>,
    review_wait: Mutex<Duration>,
    refused_text: Mutex<Option<&'static str>>,
    tables: Mutex<Tables>,
    watcher: Option<Watcher>,
}

#[derive(Debug, Default)]
struct Tables {
    streams: BTreeMap<StreamId, Stream>,
    deleted_streams: BTreeSet<StreamId>,
    overrides: BTreeMap<StreamId, FixedRate>,
    terms: BTreeMap<StreamId, Vec<RoomTerm>>,
    terms_versions: BTreeMap<StreamId, u64>,
    users: BTreeMap<UserId, UserRecord>,
    /// By issuer and name.
    subjects: BTreeMap<(String, String), UserId>,
    sanctions: Vec<Sanction>,
    shadows: Vec<Shadow>,
    grants: Vec<Grant>,
    reputations: BTreeMap<UserId, Reputation>,
    causes: BTreeMap<(UserId, String), CountedCause>,
    /// With the keys of their texts.
    reviews: Vec<(StoredReview, i64)>,
    /// Comments that were withdrawn before they were queued.
    withdrawn: BTreeMap<[u8; 16], ReviewVerdict>,
    /// When the last decision on an item was taken back.
    reopened: BTreeMap<[u8; 16], u64>,
    views: BTreeMap<String, SavedView>,
    polls: BTreeMap<u64, (StreamId, RoomPoll)>,
    votes: BTreeMap<(u64, UserId), u8>,
    /// By poll, those whose users are forgotten.
    swept_votes: BTreeMap<u64, Vec<u64>>,
    messages: BTreeMap<UserId, Vec<KeptMessage>>,
    last_message: u64,
    audit: Vec<AuditEntry>,
    /// By number, with the time of the last claim.
    events: BTreeMap<u64, (u64, PendingEvent)>,
}

/// Called with the name of each method that is carried out; for a sanction, with its kind.
struct Watcher(Box<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

impl InMemoryMetadata {
    /// A store that tells what it does, as it does it.
    pub(crate) fn watched(watcher: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Watcher(Box::new(watcher))), ..Self::default() }
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Makes the next call of a method fail; all others work.
    pub(crate) fn fail_next(&self, name: &'static str) {
        *self.failing.lock() = Some((name, false));
    }

    /// Makes the next call of a method panic.
    pub(crate) fn panic_next(&self, name: &'static str) {
        *self.failing.lock() = Some((name, true));
    }

    /// Points are stored only this long after the call.
    pub(crate) fn slow_points(&self, wait: Duration) {
        *self.point_wait.lock() = wait;
    }

    /// The streams are answered only this long after they were read.
    pub(crate) fn slow_streams(&self, wait: Duration) {
        *self.streams_wait.lock() = wait;
    }

    /// Items are queued for review only this long after the call.
    pub(crate) fn slow_reviews(&self, wait: Duration) {
        *self.review_wait.lock() = wait;
    }

    /// Items of this text cannot be queued for review.
    pub(crate) fn refuse_reviews_of(&self, text: &'static str) {
        *self.refused_text.lock() = Some(text);
    }

    fn refuses(&self, new: &NewReview) -> bool {
        *self.refused_text.lock() == Some(new.item.message.as_str())
    }

    /// Calls so far, failed ones included.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Puts a stream there, in place of the one of its id, without an audit entry.
    pub(crate) fn put_stream(&self, stream: Stream) {
        self.lock().streams.insert(stream.stream_id, stream);
    }

    /// Puts a shadow there without an audit entry.
    pub(crate) fn put_shadow(&self, shadow: Shadow) {
        self.lock().shadows.push(shadow);
    }

    /// Puts a role there without an audit entry.
    pub(crate) fn put_grant_of(&self, grant: Grant) {
        self.lock().grants.push(grant);
    }

    /// Puts a sanction there without an audit entry.
    pub(crate) fn put_sanction(&self, sanction: Sanction) {
        self.lock().sanctions.push(sanction);
    }

    pub(crate) fn put_user(&self, user_id: u64, name: &str, seen_at: u64) {
        let user_id = UserId(user_id);
        let record = UserRecord { user_id, name: name.into(), seen_at, account_created: None };
        self.lock().users.insert(user_id, record);
    }

    /// All users, by id.
    pub(crate) fn users(&self) -> Vec<UserRecord> {
        self.lock().users.values().cloned().collect()
    }

    /// Undecided items, oldest first.
    pub(crate) fn reviews(&self) -> Vec<ReviewItem> {
        self.lock().waiting()
    }

    /// Oldest first.
    pub(crate) fn audits(&self) -> Vec<AuditEntry> {
        self.lock().audit.clone()
    }

    /// All that is stored, as one text to compare.
    pub(crate) fn dump(&self) -> String {
        format!("{:?}", self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }

    /// Begins every call.
    fn call(&self, name: &str) -> Result<MutexGuard<'_, Tables>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("switched off".to_owned()));
        }
        let failing = self.failing.lock().take_if(|(method, _)| *method == name);
        if let Some((_, panics)) = failing {
            assert!(!panics, "as the test wants");
            return Err(StoreError::Unavailable("fails once".to_owned()));
        }
        if let Some(Watcher(watch)) = &self.watcher {
            watch(name);
        }
        Ok(self.lock())
    }
}

/// A live stream that everybody may watch.
pub(crate) fn stream(stream_id: u64, moderation: ModerationMode) -> Stream {
    Stream {
        stream_id: StreamId(stream_id),
        title: format!("stream {stream_id}"),
        description: String::new(),
        state: StreamState::Live,
        anonymous: true,
        moderation,
        created_at: 0,
        starts_at: None,
        started_at: Some(0),
        ended_at: None,
        room: RoomSettings::default(),
        pinned: None,
        poll: None,
    }
}

pub(crate) fn sanction(user_id: u64, kind: SanctionKind, expires_at: Option<u64>) -> Sanction {
    Sanction {
        user_id: UserId(user_id),
        kind,
        stream_id: None,
        name: None,
        reason: Some("test reason".to_owned()),
        created_by: "test".to_owned(),
        created_at: 1,
        expires_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::metadata::conformance;

    async fn open() -> (InMemoryMetadata, ()) {
        (InMemoryMetadata::default(), ())
    }

    conformance::metadata_suite!(open());

    #[tokio::test]
    async fn a_batch_is_queued_whole_or_not_at_all() {
        let (store, ()) = open().await;
        store.refuse_reviews_of(conformance::REFUSED);
        conformance::assert_a_refused_batch_stores_nothing(&store).await;
    }
}
