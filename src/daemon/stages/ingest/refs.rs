//! Remembers which comments were accepted under which `ref`.

use std::sync::{Arc, OnceLock};

use ahash::RandomState;
use tokio::time::Instant;

use crate::daemon::base::config::IngestConfig;
use crate::daemon::base::two_generations::TwoGenerations;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::CommentSubmitted;
use crate::protocol::{CommentId, Seq, StreamId, UserId};

/// Identifies a submission: another one with the same key is a repeat of it.
pub type RefKey = (UserId, StreamId, Arc<str>);

/// The error of a submission, once it has failed. Its repeats share it.
pub(super) type FirstError = Arc<OnceLock<ErrorBody>>;

/// At most this many refs are remembered. At very high rates that is less than their lifetime (at
/// 50 000 comments per second with refs, at least 10 s), but still longer than a client takes to
/// retry after a lost ack.
const MAX_REFS: usize = 1_000_000;
/// At most this many refs of held comments are remembered, in about 200 bytes each, and as many of
/// those that may be held or not.
const MAX_HELD: usize = 50_000;
/// At most this many refs of comments whose append failed are remembered, in about 100 bytes each.
/// Beyond that a comment that is sent again has a new id, and the log decides which one is kept.
const MAX_UNANSWERED: usize = 200_000;

/// The refs of the last minutes. A ref is recognized for at least its lifetime and at most twice
/// that.
///
/// A key is kept as a 128-bit hash, seeded per process, because every comment comes by here: about
/// 100 bytes per ref whatever its length, and nothing to free.
#[derive(Debug)]
pub struct Refs {
    hashers: [RandomState; 2],
    known: TwoGenerations<u128, (CommentId, Seq)>,
    /// The answers to comments that wait in the review queue.
    held: TwoGenerations<u128, ErrorBody>,
    /// The ids of comments that the review queue may have taken or not.
    unsettled: TwoGenerations<u128, CommentId>,
    /// The ids of comments whose append failed, so that the log may have them or not.
    unanswered: TwoGenerations<u128, CommentId>,
    started: Instant,
}

impl Refs {
    pub fn new(config: &IngestConfig) -> Self {
        Self::with_capacity(config, MAX_REFS)
    }

    fn with_capacity(config: &IngestConfig, max_refs: usize) -> Self {
        let lifetime_ms = u64::try_from(config.ref_lifetime.as_millis()).unwrap_or(u64::MAX);
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            known: TwoGenerations::new(lifetime_ms, max_refs / 2),
            held: TwoGenerations::new(lifetime_ms, MAX_HELD / 2),
            unsettled: TwoGenerations::new(lifetime_ms, MAX_HELD / 2),
            unanswered: TwoGenerations::new(lifetime_ms, MAX_UNANSWERED / 2),
            started: Instant::now(),
        }
    }

    pub fn get(&mut self, key: &RefKey) -> Option<(CommentId, Seq)> {
        self.forget_old();
        self.known.get(&self.hash(key)).copied()
    }

    pub fn remember(&mut self, key: &RefKey, comment_id: CommentId, seq: Seq) {
        self.forget_old();
        let hash = self.hash(key);
        self.known.insert(hash, (comment_id, seq));
    }

    /// Returns the answer to a comment that was held.
    pub(super) fn get_held(&mut self, key: &RefKey) -> Option<ErrorBody> {
        self.forget_old();
        self.held.get(&self.hash(key)).cloned()
    }

    /// Remembers the answer to a comment that waits in the review queue, on this node.
    pub(super) fn remember_held(&mut self, key: &RefKey, error: ErrorBody) {
        self.forget_old();
        let hash = self.hash(key);
        self.held.insert(hash, error);
    }

    /// Returns the id under which a comment may wait in the review queue.
    pub(super) fn get_unsettled(&mut self, key: &RefKey) -> Option<CommentId> {
        self.forget_old();
        self.unsettled.get(&self.hash(key)).copied()
    }

    /// Remembers the id of a comment that the review queue may have taken or not.
    pub(super) fn remember_unsettled(&mut self, key: &RefKey, comment_id: CommentId) {
        self.forget_old();
        let hash = self.hash(key);
        self.unsettled.insert(hash, comment_id);
    }

    /// Returns the id under which the log may have a comment.
    pub(super) fn get_unanswered(&mut self, key: &RefKey) -> Option<CommentId> {
        self.forget_old();
        self.unanswered.get(&self.hash(key)).copied()
    }

    /// Remembers the id of a comment whose append failed.
    pub(super) fn remember_unanswered(&mut self, key: &RefKey, comment_id: CommentId) {
        self.forget_old();
        let hash = self.hash(key);
        self.unanswered.insert(hash, comment_id);
    }

    /// Remembers a comment read back from the log, unless its ref is known.
    pub(super) fn remember_first(&mut self, event: &CommentSubmitted, seq: Seq) {
        let Some(client_ref) = &event.client_ref else { return };
        let key = (event.comment.user_id, event.comment.stream_id, client_ref.clone());
        if self.get(&key).is_none() {
            self.remember(&key, event.comment.comment_id, seq);
        }
    }

    /// Remembers a comment read back from the log.
    pub fn remember_event(&mut self, event: &CommentSubmitted, seq: Seq) {
        if let Some(client_ref) = &event.client_ref {
            let comment = &event.comment;
            let key = (comment.user_id, comment.stream_id, client_ref.clone());
            self.remember(&key, comment.comment_id, seq);
        }
    }

    fn forget_old(&mut self) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        self.known.advance_on_time(now_ms);
        self.held.advance_on_time(now_ms);
        self.unsettled.advance_on_time(now_ms);
        self.unanswered.advance_on_time(now_ms);
    }

    fn hash(&self, key: &RefKey) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        (high << 64) | low
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(600);

    fn refs_with_capacity(max_refs: usize) -> Refs {
        let config = IngestConfig { ref_lifetime: LIFETIME, ..IngestConfig::default() };
        Refs::with_capacity(&config, max_refs)
    }

    fn refs() -> Refs {
        refs_with_capacity(MAX_REFS)
    }

    fn key(number: u64) -> RefKey {
        (UserId(number % 7), StreamId(1), number.to_string().into())
    }

    fn remember(refs: &mut Refs, number: u64) {
        refs.remember(&key(number), CommentId::from_unix_ticks(number, 1, [0; 6]), number);
    }

    fn seq(refs: &mut Refs, number: u64) -> Option<Seq> {
        refs.get(&key(number)).map(|(_, seq)| seq)
    }

    #[tokio::test(start_paused = true)]
    async fn a_ref_is_known_for_one_to_two_lifetimes() {
        let mut refs = refs();
        for begun in [0, 1, 599] {
            tokio::time::advance(Duration::from_secs(begun)).await;
            remember(&mut refs, begun);
            tokio::time::advance(LIFETIME - Duration::from_millis(1)).await;
            assert_eq!(seq(&mut refs, begun), Some(begun));
            tokio::time::advance(LIFETIME + Duration::from_millis(1)).await;
            assert_eq!(seq(&mut refs, begun), None);
        }
        remember(&mut refs, 5);
        tokio::time::advance(LIFETIME * 3).await;
        assert_eq!(seq(&mut refs, 5), None, "even though no ref was looked up in the meantime");
    }

    #[test]
    fn the_oldest_refs_are_forgotten_when_it_is_full() {
        let mut refs = refs_with_capacity(200);
        for number in 0..1_000 {
            remember(&mut refs, number);
            assert!(refs.known.len() <= 200);
        }
        assert!((900..1_000).all(|number| seq(&mut refs, number) == Some(number)));
        assert_eq!(seq(&mut refs, 1), None);
    }

    #[test]
    fn user_stream_and_ref_each_distinguish_submissions() {
        let mut refs = refs();
        let key = |user, stream, text: &str| (UserId(user), StreamId(stream), Arc::from(text));
        refs.remember(&key(1, 1, "a"), CommentId::from_unix_ticks(1, 1, [0; 6]), 9);
        assert!(refs.get(&key(1, 1, "a")).is_some());
        for other in [key(2, 1, "a"), key(1, 2, "a"), key(1, 1, "b")] {
            assert!(refs.get(&other).is_none());
        }
    }
}
