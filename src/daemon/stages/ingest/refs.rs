//! Which comments were already accepted under which `ref`.

use std::sync::Arc;
use std::time::Duration;

use ahash::{AHashMap, RandomState};
use tokio::time::Instant;

use crate::daemon::base::config::IngestConfig;
use crate::protocol::events::CommentSubmitted;
use crate::protocol::{CommentId, Seq, StreamId, UserId};

/// What makes a submission the same as an earlier one.
pub type RefKey = (UserId, StreamId, Arc<str>);

/// At most this many refs are remembered; at very high rates that is less than their lifetime
/// (50 000 comments a second with refs: 10 s at least), which a lost ack's retry still falls into.
const MAX_REFS: usize = 1_000_000;

/// The refs of the last minutes, in two generations: when the younger is full or as old as a ref must
/// live, it becomes the older, and the older is forgotten. So a ref is recognized for its lifetime at
/// least, and for twice that at most.
///
/// A key is kept as 128 bits of a hash that is another in every process, because every comment comes
/// by here: some 100 bytes a ref, whatever its length, and nothing to free.
#[derive(Debug)]
pub struct Refs {
    hashers: [RandomState; 2],
    younger: AHashMap<u128, (CommentId, Seq)>,
    older: AHashMap<u128, (CommentId, Seq)>,
    younger_since: Instant,
    lifetime: Duration,
    max_generation: usize,
}

impl Refs {
    pub fn new(config: &IngestConfig) -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            younger: AHashMap::new(),
            older: AHashMap::new(),
            younger_since: Instant::now(),
            lifetime: config.ref_lifetime,
            max_generation: MAX_REFS / 2,
        }
    }

    pub fn get(&mut self, key: &RefKey) -> Option<(CommentId, Seq)> {
        self.forget_old();
        let hash = self.hash(key);
        self.younger.get(&hash).or_else(|| self.older.get(&hash)).copied()
    }

    pub fn remember(&mut self, key: &RefKey, comment_id: CommentId, seq: Seq) {
        self.forget_old();
        let hash = self.hash(key);
        self.younger.insert(hash, (comment_id, seq));
    }

    /// Takes note of a comment read back from the log.
    pub fn remember_event(&mut self, event: &CommentSubmitted, seq: Seq) {
        if let Some(client_ref) = &event.client_ref {
            let comment = &event.comment;
            let key = (comment.user_id, comment.stream_id, client_ref.clone());
            self.remember(&key, comment.comment_id, seq);
        }
    }

    fn forget_old(&mut self) {
        let age = self.younger_since.elapsed();
        if age < self.lifetime && self.younger.len() < self.max_generation {
            return;
        }
        std::mem::swap(&mut self.younger, &mut self.older);
        self.younger.clear();
        let mut since = Instant::now();
        if age >= self.lifetime * 2 {
            self.older.clear();
        } else if age >= self.lifetime {
            // Nothing has come since its time was over, or this would have been done then.
            since = self.younger_since + self.lifetime;
        }
        self.younger_since = since;
    }

    fn hash(&self, key: &RefKey) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        (high << 64) | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(600);

    fn refs() -> Refs {
        Refs::new(&IngestConfig { ref_lifetime: LIFETIME, ..IngestConfig::default() })
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
    async fn a_ref_is_known_for_its_lifetime_and_not_for_more_than_twice_that() {
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
        assert_eq!(seq(&mut refs, 5), None, "though nobody asked in the meantime");
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let mut refs = Refs { max_generation: 100, ..refs() };
        for number in 0..1_000 {
            remember(&mut refs, number);
            assert!(refs.younger.len() + refs.older.len() <= 200);
        }
        assert!((900..1_000).all(|number| seq(&mut refs, number) == Some(number)));
        assert_eq!(seq(&mut refs, 1), None);
    }

    #[test]
    fn user_stream_and_ref_each_make_a_difference() {
        let mut refs = refs();
        let key = |user, stream, text: &str| (UserId(user), StreamId(stream), Arc::from(text));
        refs.remember(&key(1, 1, "a"), CommentId::from_unix_ticks(1, 1, [0; 6]), 9);
        assert!(refs.get(&key(1, 1, "a")).is_some());
        for other in [key(2, 1, "a"), key(1, 2, "a"), key(1, 1, "b")] {
            assert!(refs.get(&other).is_none());
        }
    }
}
