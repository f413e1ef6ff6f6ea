//! A window in two halves, so that what is old fades.

use std::time::Duration;

use tokio::time::Instant;

use super::space_saving::{Estimate, SpaceSaving};

/// The length of a half. Together they cover one to two of it.
pub(super) const HALF: Duration = Duration::from_secs(300);

/// Two sketches: one that counts now, and the one before it.
///
/// Always holds: a key with more than one in `PLACES` additions of both has a place in one of them,
/// and the sum of its two estimates is never below its true count in both.
#[derive(Debug, Clone)]
pub(super) struct Halves<K, V, const PLACES: usize> {
    pub(super) now: SpaceSaving<K, V, PLACES>,
    pub(super) before: SpaceSaving<K, V, PLACES>,
}

/// The times at which the halves of a window began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    before_since: Instant,
    now_since: Instant,
}

/// The effect of the time passed on the halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Nothing,
    /// The older half ends, and a new one begins.
    Half,
    /// Nothing was counted for so long that both end.
    Both,
}

impl Window {
    pub(super) fn starting_at(now: Instant) -> Self {
        Self { before_since: now, now_since: now }
    }

    /// Returns what to do with the halves at this time, which is done at once.
    pub(super) fn advance(&mut self, now: Instant) -> Turn {
        let age = now.saturating_duration_since(self.now_since);
        if age < HALF {
            return Turn::Nothing;
        }
        if age >= HALF * 2 {
            *self = Self::starting_at(now);
            return Turn::Both;
        }
        self.before_since = self.now_since;
        self.now_since += HALF;
        Turn::Half
    }

    /// Returns the time that both halves cover.
    pub(super) fn length(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.before_since)
    }
}

impl<K: Copy + Eq + Ord + Default, V: Copy + Default, const PLACES: usize> Halves<K, V, PLACES> {
    pub(super) fn new() -> Self {
        Self { now: SpaceSaving::new(), before: SpaceSaving::new() }
    }

    pub(super) fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Nothing => {}
            Turn::Half => {
                std::mem::swap(&mut self.now, &mut self.before);
                self.now = SpaceSaving::new();
            }
            Turn::Both => *self = Self::new(),
        }
    }

    /// Returns the keys that have a place in a half, each once.
    pub(super) fn keys(&self) -> Vec<K> {
        let mut keys = [self.now.keys(), self.before.keys()].concat();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    pub(super) fn estimate(&self, key: K) -> Estimate {
        self.now.estimate(key).plus(self.before.estimate(key))
    }

    pub(super) fn additions(&self) -> u64 {
        self.now.additions() + self.before.additions()
    }
}
