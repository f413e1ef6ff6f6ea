//! The reputations of users, as far as this node asks for them, and the points that it has counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::supervise::breaker::{Breaker, TRIAL_INTERVAL};
use crate::daemon::base::two_generations::TwoGenerations;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{
    KnownUser, MAX_LOOKED_UP, SharedMetadataStore, UserPointChange,
};
use crate::policy::reputation::{Offence, Reputation, ReputationRules, UserShift, text_key};
use crate::protocol::admin::BreakerState;
use crate::protocol::{Comment, UserId};

/// The record of a user is read again after this time, when the user comments.
pub(super) const FRESH_MS: u64 = 5_000;
/// The same for users whose name and account are not stored yet: that takes about a second.
const UNRECORDED_FRESH_MS: u64 = 1_000;
/// The longest wait for a look-up.
const LOOK_UP_WAIT: Duration = Duration::from_millis(100);
/// The longest wait for one call that stores points, and the time after which no further call is
/// made.
const STORE_WAIT: Duration = Duration::from_millis(250);
/// After a call that took too long, the store is left alone for this time.
const PAUSE: Duration = Duration::from_secs(1);
/// Users of one generation: about 15 MB in both.
const MAX_USERS: usize = 100_000;
/// A user that does not comment is forgotten after this time.
const LIFETIME_MS: u64 = 600_000;
/// Changes that the store may not have. Beyond it the oldest that wait are dropped.
const MAX_PENDING: usize = 4_096;
/// Changes of one call. One transaction has them all, and it must end within [`STORE_WAIT`] on any
/// engine, however many wait.
const MAX_STORED_AT_ONCE: usize = 256;

#[derive(Debug)]
pub(super) struct ReputationsParts {
    pub(super) metadata: SharedMetadataStore,
    pub(super) metadata_breaker: Arc<Breaker>,
    pub(super) clock: SharedClock,
    pub(super) rules: ReputationRules,
}

#[derive(Debug)]
pub(super) struct Reputations {
    parts: ReputationsParts,
    users: Mutex<TwoGenerations<UserId, CachedUser>>,
    unstored: Mutex<UnstoredChanges>,
    /// The store is not asked before this moment.
    paused_until: Mutex<Option<Instant>>,
}

/// Changes that were counted here and that the store may not have.
#[derive(Debug, Default)]
struct UnstoredChanges {
    /// Oldest first.
    waiting: VecDeque<UserPointChange>,
    /// The changes of the calls that are on their way to the store.
    storing: Vec<Arc<Vec<UserPointChange>>>,
}

impl UnstoredChanges {
    fn push(&mut self, change: UserPointChange) {
        self.waiting.push_back(change);
        let storing: usize = self.storing.iter().map(|changes| changes.len()).sum();
        if storing + self.waiting.len() > MAX_PENDING {
            self.waiting.pop_front();
        }
    }

    fn of_user(&self, user_id: UserId) -> impl Iterator<Item = &UserPointChange> {
        let all = self.storing.iter().flat_map(|changes| changes.iter()).chain(&self.waiting);
        all.filter(move |one| one.user_id == user_id)
    }
}

/// Changes on their way to the store. Dropped before they are settled, they wait again.
struct StoringChanges<'a> {
    unstored: &'a Mutex<UnstoredChanges>,
    changes: Arc<Vec<UserPointChange>>,
    is_settled: bool,
}

impl<'a> StoringChanges<'a> {
    /// Takes the oldest changes that wait, at most [`MAX_STORED_AT_ONCE`]; `None` if none wait.
    fn take(unstored: &'a Mutex<UnstoredChanges>) -> Option<Self> {
        let mut all = unstored.lock();
        if all.waiting.is_empty() {
            return None;
        }
        let taken = all.waiting.len().min(MAX_STORED_AT_ONCE);
        let changes = Arc::new(all.waiting.drain(..taken).collect::<Vec<_>>());
        all.storing.push(changes.clone());
        Some(Self { unstored, changes, is_settled: false })
    }
}

impl Drop for StoringChanges<'_> {
    fn drop(&mut self) {
        let mut all = self.unstored.lock();
        all.storing.retain(|changes| !Arc::ptr_eq(changes, &self.changes));
        if !self.is_settled {
            for change in self.changes.iter().rev() {
                all.waiting.push_front(change.clone());
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
struct CachedUser {
    /// When it was read, in milliseconds since the Unix epoch; 0 if it never was.
    read_at: u64,
    is_recorded: bool,
    account_created: Option<u64>,
    /// `None` without points, as most users are.
    reputation: Option<Box<Reputation>>,
}

impl CachedUser {
    fn is_due(&self, now_ms: u64) -> bool {
        let fresh_ms = if self.is_recorded { FRESH_MS } else { UNRECORDED_FRESH_MS };
        now_ms.abs_diff(self.read_at) >= fresh_ms
    }
}

impl Reputations {
    pub(super) fn new(parts: ReputationsParts) -> Self {
        Self {
            parts,
            users: Mutex::new(TwoGenerations::new(LIFETIME_MS, MAX_USERS)),
            unstored: Mutex::default(),
            paused_until: Mutex::default(),
        }
    }

    pub(super) async fn look_up(&self, users: &[UserId]) {
        let now_ms = self.parts.clock.now_ms();
        let due = self.due(users, now_ms);
        if due.is_empty() || !self.may_ask() {
            return;
        }
        let asked = timeout(LOOK_UP_WAIT, self.parts.metadata.known_users(&due)).await;
        match self.observe(asked.ok()) {
            Some(Ok(found)) => self.remember(&due, found, now_ms),
            Some(Err(error)) => warn!(%error, "reputations not read"),
            None => {}
        }
    }

    fn due(&self, users: &[UserId], now_ms: u64) -> Vec<UserId> {
        let cached = self.users.lock();
        let is_due = |user_id: &&UserId| cached.get(user_id).is_none_or(|it| it.is_due(now_ms));
        let mut due: Vec<_> = users.iter().filter(is_due).copied().collect();
        due.sort_unstable();
        due.dedup();
        due.truncate(MAX_LOOKED_UP);
        due
    }

    /// Returns whether the store may be asked now. It is left alone while the breaker is open:
    /// trial calls are for those that wait for the store, and its health check closes the breaker.
    fn may_ask(&self) -> bool {
        let is_paused = self.paused_until.lock().is_some_and(|until| Instant::now() < until);
        !is_paused && self.parts.metadata_breaker.state() == BreakerState::Closed
    }

    /// Tells the breaker how a call ended. Returns `None`, and leaves the store alone for a while,
    /// if the call took too long or the store is not available. The breaker is not told of calls
    /// that took too long: their time limits are shorter than those of other callers.
    fn observe<T>(&self, answer: Option<Result<T, StoreError>>) -> Option<Result<T, StoreError>> {
        let breaker = &self.parts.metadata_breaker;
        match answer {
            None => {
                self.pause(PAUSE);
                None
            }
            Some(Err(error @ StoreError::Unavailable(_))) => {
                breaker.failed(&error);
                self.pause(TRIAL_INTERVAL);
                None
            }
            Some(other) => {
                breaker.succeeded();
                Some(other)
            }
        }
    }

    fn pause(&self, time: Duration) {
        *self.paused_until.lock() = Some(Instant::now() + time);
    }

    fn remember(&self, asked: &[UserId], found: Vec<KnownUser>, now_ms: u64) {
        let half_life_ms = self.parts.rules.half_life_ms;
        let mut found: AHashMap<_, _> = found.into_iter().map(|one| (one.user_id, one)).collect();
        let unstored = self.unstored.lock();
        let mut users = self.users.lock();
        users.advance_on_time(now_ms);
        for user_id in asked {
            let mut user = CachedUser { read_at: now_ms, ..CachedUser::default() };
            let mut reputation = Reputation::default();
            if let Some(known) = found.remove(user_id) {
                user.is_recorded = known.is_recorded;
                user.account_created = known.account_created;
                reputation = known.reputation;
            }
            // The store does not have the changes that this node has counted meanwhile. It may have
            // those on their way to it: until the next look-up they may count twice.
            for one in unstored.of_user(*user_id) {
                reputation.change(None, &one.change, half_life_ms);
            }
            let has_points = reputation.since.is_some() || !reputation.texts.is_empty();
            user.reputation = has_points.then(|| Box::new(reputation));
            users.insert(*user_id, user);
        }
    }

    /// Returns the points of a user, and by how much they lower thresholds.
    pub(super) fn shift(&self, user_id: UserId) -> (f64, UserShift) {
        let rules = &self.parts.rules;
        let now_ms = self.parts.clock.now_ms();
        let users = self.users.lock();
        let Some(user) = users.get(&user_id) else { return (0.0, UserShift::default()) };
        let reputation = user.reputation.as_ref();
        let points = reputation.map_or(0.0, |it| it.points_at(now_ms, rules.half_life_ms));
        let age_ms = user.account_created.map(|created| now_ms.saturating_sub(created));
        (points, rules.shift(points, age_ms))
    }

    /// Counts a comment that is removed, or that repeats one that was. Later comments are judged by
    /// it at once. Returns whether points were counted.
    pub(super) fn count(&self, comment: &Comment, is_removed: bool) -> bool {
        let Comment { user_id, comment_id, message, .. } = comment;
        let now_ms = self.parts.clock.now_ms();
        let mut unstored = self.unstored.lock();
        let mut users = self.users.lock();
        let known = users.get(user_id).and_then(|user| user.reputation.as_ref());
        let is_repeat = known.is_some_and(|reputation| reputation.repeats(message));
        let Some(offence) = Offence::of_comment(is_removed, is_repeat) else { return false };
        let text = text_key(message);
        let change =
            UserPointChange::of_comment(*user_id, *comment_id, offence.points(), text, now_ms);
        let reputation = users.touch(*user_id, now_ms).reputation.get_or_insert_default();
        reputation.change(None, &change.change, self.parts.rules.half_life_ms);
        unstored.push(change);
        true
    }

    /// Stores the changes that wait, the oldest first, as long as there is time and the store takes
    /// them.
    pub(super) async fn store_points(&self) {
        let started = Instant::now();
        while self.may_ask() && started.elapsed() < STORE_WAIT {
            let Some(storing) = StoringChanges::take(&self.unstored) else { return };
            if !self.store(storing).await {
                return;
            }
        }
    }

    /// Makes one call. Returns whether the store answered.
    async fn store(&self, mut storing: StoringChanges<'_>) -> bool {
        let half_life_ms = self.parts.rules.half_life_ms;
        let count = self.parts.metadata.count_points(&storing.changes, half_life_ms);
        // Without an answer they are counted again, which changes nothing if the store has them.
        let Some(stored) = self.observe(timeout(STORE_WAIT, count).await.ok()) else {
            return false;
        };
        storing.is_settled = true;
        if let Err(error) = stored {
            // They would be refused forever.
            warn!(%error, changes = storing.changes.len(), "points of users not stored");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::base::config::ReputationConfig;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;
    use crate::daemon::stages::moderation::samples::comment;

    fn reputations(metadata: SharedMetadataStore) -> Reputations {
        Reputations::new(ReputationsParts {
            metadata,
            metadata_breaker: Arc::new(Breaker::new("metadata")),
            clock: Arc::new(TokioClock::starting_at(Duration::from_secs(100))),
            rules: ReputationConfig::default().rules().unwrap(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn points_that_wait_are_bounded_and_stored_later() {
        let store = Arc::new(InMemoryMetadata::default());
        store.slow_points(Duration::from_millis(300));
        let reputations = reputations(store.clone());
        let count = |users: std::ops::Range<u64>| {
            for user in users {
                assert!(reputations.count(&comment(1, user, "bad"), true));
            }
        };
        let total = MAX_PENDING as u64 * 3;
        count(1..total);
        // More are counted while the store does not answer.
        tokio::join!(reputations.store_points(), async { count(total..total + 100) });
        assert_eq!(reputations.unstored.lock().waiting.len(), MAX_PENDING);
        tokio::time::sleep(PAUSE).await;
        store.slow_points(Duration::from_millis(100));
        reputations.store_points().await;
        let left = MAX_PENDING - 3 * MAX_STORED_AT_ONCE;
        assert_eq!(reputations.unstored.lock().waiting.len(), left, "calls of a quarter second");
        store.slow_points(Duration::ZERO);
        reputations.store_points().await;
        assert!(reputations.unstored.lock().waiting.is_empty());
        let stored = async |user| !store.known_users(&[UserId(user)]).await.unwrap().is_empty();
        assert!(stored(total + 99).await, "the newest");
        assert!(!stored(1).await, "the oldest was dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_keeps_points_not_stored_yet() {
        let reputations = reputations(Arc::new(InMemoryMetadata::default()));
        let user_id = UserId(5);
        let points = |number| {
            assert!(reputations.count(&comment(1, 5, &format!("bad {number}")), true));
            reputations.shift(user_id).0
        };
        let one = points(1);
        assert!(one > 0.0);
        // The store does not know the user.
        reputations.remember(&[user_id], Vec::new(), 100_000);
        assert_eq!(reputations.shift(user_id).0, one);
        let storing = StoringChanges::take(&reputations.unstored).unwrap();
        reputations.remember(&[user_id], Vec::new(), 100_000);
        assert_eq!(reputations.shift(user_id).0, one, "on their way to the store");
        let two = points(2);
        drop(storing);
        reputations.remember(&[user_id], Vec::new(), 100_000);
        assert_eq!(reputations.shift(user_id).0, two, "a call that was given up loses none");
        reputations.store_points().await;
        reputations.remember(&[user_id], Vec::new(), 100_000);
        assert_eq!(reputations.shift(user_id).0, 0.0, "then the store has them");
    }
}
