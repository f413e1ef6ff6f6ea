//! The meaning of every distinct payload, decoded once however many viewers receive it.

use std::collections::VecDeque;

use ahash::{AHashMap, RandomState};

use crate::client::viewer::SeqRange;
use crate::protocol::CommentId;
use crate::protocol::throttle::SampleRate;

/// Payloads kept. A payload that was evicted and comes again is decoded again.
const MAX_PAYLOADS: usize = 4096;
/// Bytes of payloads kept.
const MAX_BYTES: usize = 16 << 20;
/// Bytes hashed at each end of a payload.
const HASHED_BYTES: usize = 128;

/// The meaning of a payload to the ledger.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PayloadMeaning {
    /// Index of the batch in the ledger.
    Batch(u32),
    /// A batch that covers no seq.
    Empty,
    Gap(SeqRange),
    Deletion(CommentId),
    Rate(SampleRate),
    Reactions,
    /// With the wait that it names, in milliseconds.
    Bye(Option<u64>),
    Other,
    Malformed(String),
}

#[derive(Debug)]
struct CachedPayload {
    payload: Box<[u8]>,
    meaning: PayloadMeaning,
}

/// A bounded cache that evicts the oldest payload first.
#[derive(Debug, Default)]
pub(super) struct PayloadCache {
    by_hash: AHashMap<u64, CachedPayload>,
    order: VecDeque<u64>,
    bytes: usize,
}

/// Hashes a payload by its length and its two ends, which hold the range of a batch and its last
/// comment. Hashing all of it for each viewer took a tenth of the generator's time, and a payload
/// found by its hash is compared whole anyway.
pub(super) fn hash(hasher: &RandomState, payload: &[u8]) -> u64 {
    let tail_start = payload.len().saturating_sub(HASHED_BYTES);
    let head = &payload[..payload.len().min(HASHED_BYTES)];
    hasher.hash_one((payload.len(), head, &payload[tail_start..]))
}

impl PayloadCache {
    /// Returns the meaning of the payload if the same bytes are cached.
    pub(super) fn get(&self, hash: u64, payload: &[u8]) -> Option<&PayloadMeaning> {
        let cached = self.by_hash.get(&hash)?;
        (*cached.payload == *payload).then_some(&cached.meaning)
    }

    pub(super) fn insert(&mut self, hash: u64, payload: &[u8], meaning: PayloadMeaning) {
        let cached = CachedPayload { payload: payload.into(), meaning };
        self.bytes += payload.len();
        match self.by_hash.insert(hash, cached) {
            Some(replaced) => self.bytes -= replaced.payload.len(),
            None => self.order.push_back(hash),
        }
        while self.order.len() > MAX_PAYLOADS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(evicted) = self.by_hash.remove(&oldest) {
                self.bytes -= evicted.payload.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_any_length_is_found_again() {
        let hasher = RandomState::new();
        let mut cache = PayloadCache::default();
        for bytes in [0, 1, HASHED_BYTES, HASHED_BYTES + 1, 3 * HASHED_BYTES] {
            let payload = vec![7; bytes];
            cache.insert(hash(&hasher, &payload), &payload, PayloadMeaning::Batch(bytes as u32));
            let found = cache.get(hash(&hasher, &payload), &payload);
            assert_eq!(found, Some(&PayloadMeaning::Batch(bytes as u32)));
            // A payload that differs only between the ends has the same hash and is compared.
            let mut other = payload.clone();
            if let Some(middle) = other.get_mut(bytes / 2) {
                *middle = 8;
                assert_eq!(cache.get(hash(&hasher, &other), &other), None);
            }
        }
    }

    #[test]
    fn equal_hashes_are_compared_and_memory_is_bounded() {
        let mut cache = PayloadCache::default();
        cache.insert(1, b"one", PayloadMeaning::Reactions);
        assert_eq!(cache.get(1, b"one"), Some(&PayloadMeaning::Reactions));
        assert_eq!(cache.get(1, b"two"), None);
        let large = vec![0; MAX_BYTES / 4];
        (2..40).for_each(|hash| cache.insert(hash, &large, PayloadMeaning::Other));
        assert!(cache.bytes <= MAX_BYTES);
        assert_eq!(cache.get(1, b"one"), None);
        assert!(cache.get(39, &large).is_some());
        let mut cache = PayloadCache::default();
        (0..2 * MAX_PAYLOADS as u64)
            .for_each(|hash| cache.insert(hash, b"x", PayloadMeaning::Other));
        assert_eq!(cache.by_hash.len(), MAX_PAYLOADS);
    }
}
