//! A map that forgets what was not touched for a while, bounded, and driven by the caller's time, so
//! that replaying the same comments gives the same answers.

use std::collections::hash_map::Entry;
use std::hash::Hash;

use ahash::AHashMap;

/// Two generations of entries. A touched entry moves to the young one; when the young one is full or
/// as old as the lifetime, the old one is dropped. So an entry lives for at least one lifetime after
/// it was last touched, unless more than `capacity` others were touched since.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: AHashMap<K, V>,
    old: AHashMap<K, V>,
    /// Milliseconds, on the caller's clock.
    young_since: u64,
    lifetime_ms: u64,
    capacity: usize,
}

impl<K: Hash + Eq, V: Default> Generations<K, V> {
    /// At most `2 × capacity` entries.
    pub(super) fn new(lifetime_ms: u64, capacity: usize) -> Self {
        let (young, old) = (AHashMap::new(), AHashMap::new());
        Self { young, old, young_since: 0, lifetime_ms: lifetime_ms.max(1), capacity }
    }

    /// The entry, made if there is none. A time before one already seen is taken as that one.
    pub(super) fn touch(&mut self, key: K, now_ms: u64) -> &mut V {
        let age_ms = now_ms.saturating_sub(self.young_since);
        if age_ms >= self.lifetime_ms || self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
            if age_ms >= self.lifetime_ms.saturating_mul(2) {
                self.old = AHashMap::new();
            }
            self.young_since = self.young_since.max(now_ms);
        }
        match self.young.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let value = self.old.remove(entry.key()).unwrap_or_default();
                entry.insert(value)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_stays_and_the_rest_goes() {
        let mut map: Generations<u32, u32> = Generations::new(100, 1000);
        *map.touch(1, 1000) = 7;
        *map.touch(2, 1000) = 8;
        assert_eq!(*map.touch(1, 1099), 7);
        assert_eq!(*map.touch(1, 1150), 7);
        assert_eq!(*map.touch(1, 1260), 7);
        assert_eq!(*map.touch(2, 1400), 0, "untouched for four lifetimes");
    }

    #[test]
    fn it_is_bounded_whatever_comes() {
        let mut map: Generations<u32, u32> = Generations::new(u64::MAX, 100);
        for key in 0..10_000 {
            map.touch(key, 5);
        }
        assert!(map.len() <= 200);
    }

    #[test]
    fn a_clock_that_steps_back_forgets_nothing() {
        let mut map: Generations<u32, u32> = Generations::new(100, 1000);
        *map.touch(1, 1000) = 7;
        assert_eq!(*map.touch(1, 10), 7);
        assert_eq!(*map.touch(1, 1000), 7);
    }
}
