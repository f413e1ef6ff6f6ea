//! What every distinct payload means, decoded once however many viewers receive it.

use std::collections::VecDeque;

use ahash::{AHashMap, RandomState};

use crate::client::viewer::SeqRange;
use crate::protocol::throttle::SampleRate;

/// Payloads remembered; beyond it the oldest is forgotten and, should it come again, decoded again.
const MAX_FRAMES: usize = 4096;
/// And their bytes.
const MAX_BYTES: usize = 16 << 20;
/// Hashed of each end of a payload.
const HASHED_BYTES: usize = 128;

/// What a payload means to the ledger.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// Index of the batch.
    Batch(u32),
    /// A batch that covers nothing.
    Empty,
    Gap(SeqRange),
    Deletion,
    Rate(SampleRate),
    Reactions,
    /// With the wait it names, in milliseconds.
    Bye(Option<u64>),
    Other,
    Malformed(String),
}

#[derive(Debug)]
struct Frame {
    payload: Box<[u8]>,
    meaning: Meaning,
}

/// Bounded; the oldest goes first.
#[derive(Debug)]
pub(super) struct Frames {
    by_hash: AHashMap<u64, Frame>,
    order: VecDeque<u64>,
    bytes: usize,
}

/// Hashes a payload by its length and its ends, which have the range of a batch and its last comment: to
/// hash all of it for each viewer took a tenth of the generator's time, and what is found by its hash is
/// compared whole anyway. One state for the process, so that it can be done without a lock.
pub(super) fn hash(hasher: &RandomState, payload: &[u8]) -> u64 {
    let end = payload.len().saturating_sub(HASHED_BYTES);
    let (head, tail) = (&payload[..payload.len().min(HASHED_BYTES)], &payload[end..]);
    hasher.hash_one((payload.len(), head, tail))
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { by_hash: AHashMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    /// What the payload means, if the same bytes came before.
    pub(super) fn get(&self, hash: u64, payload: &[u8]) -> Option<&Meaning> {
        let frame = self.by_hash.get(&hash)?;
        (*frame.payload == *payload).then_some(&frame.meaning)
    }

    pub(super) fn insert(&mut self, hash: u64, payload: &[u8], meaning: Meaning) {
        let frame = Frame { payload: payload.into(), meaning };
        self.bytes += payload.len();
        match self.by_hash.insert(hash, frame) {
            Some(replaced) => self.bytes -= replaced.payload.len(),
            None => self.order.push_back(hash),
        }
        while self.order.len() > MAX_FRAMES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(frame) = self.by_hash.remove(&oldest) {
                self.bytes -= frame.payload.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_any_length_is_found_again() {
        let (hasher, mut frames) = (RandomState::new(), Frames::new());
        for bytes in [0, 1, HASHED_BYTES, HASHED_BYTES + 1, 3 * HASHED_BYTES] {
            let payload = vec![7; bytes];
            frames.insert(hash(&hasher, &payload), &payload, Meaning::Batch(bytes as u32));
            let found = frames.get(hash(&hasher, &payload), &payload);
            assert_eq!(found, Some(&Meaning::Batch(bytes as u32)));
            // What differs between the ends alone is told apart by comparing.
            let mut other = payload.clone();
            if let Some(middle) = other.get_mut(bytes / 2) {
                *middle = 8;
                assert_eq!(frames.get(hash(&hasher, &other), &other), None);
            }
        }
    }

    #[test]
    fn equal_hashes_do_not_make_equal_frames_and_memory_is_bounded() {
        let mut frames = Frames::new();
        frames.insert(1, b"one", Meaning::Deletion);
        assert_eq!(frames.get(1, b"one"), Some(&Meaning::Deletion));
        assert_eq!(frames.get(1, b"two"), None);
        let large = vec![0; MAX_BYTES / 4];
        (2..40).for_each(|hash| frames.insert(hash, &large, Meaning::Other));
        assert!(frames.bytes <= MAX_BYTES);
        assert_eq!(frames.get(1, b"one"), None);
        assert!(frames.get(39, &large).is_some());
        let mut frames = Frames::new();
        (0..2 * MAX_FRAMES as u64).for_each(|hash| frames.insert(hash, b"x", Meaning::Other));
        assert_eq!(frames.by_hash.len(), MAX_FRAMES);
    }
}
