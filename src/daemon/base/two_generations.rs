//! A bounded map that forgets entries by age, driven by the caller's time, so that replaying the
//! same events gives the same answers.

use std::hash::Hash;

use ahash::AHashMap;

/// Entries in two generations. When the young generation is full or as old as the lifetime, it
/// becomes the old one, and the entries that were old are dropped.
///
/// So an entry lives for at least one lifetime after it was inserted or touched, unless more than
/// `generation_capacity` others came after it. The map never holds more than twice that number.
#[derive(Debug)]
pub struct TwoGenerations<K, V> {
    young: AHashMap<K, V>,
    old: AHashMap<K, V>,
    young_since_ms: u64,
    lifetime_ms: u64,
    generation_capacity: usize,
}

impl<K: Hash + Eq, V> TwoGenerations<K, V> {
    /// Creates an empty map whose first generation begins at time 0 of the caller's clock.
    pub fn new(lifetime_ms: u64, generation_capacity: usize) -> Self {
        Self {
            young: AHashMap::new(),
            old: AHashMap::new(),
            young_since_ms: 0,
            lifetime_ms,
            generation_capacity,
        }
    }

    /// Begins a new generation at `now_ms` if the young one is full or as old as the lifetime. A
    /// time before the last one counts as the last one.
    pub fn advance(&mut self, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.young_since_ms);
        if age_ms < self.lifetime_ms && self.young.len() < self.generation_capacity {
            return;
        }
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        if age_ms >= self.lifetime_ms.saturating_mul(2) {
            self.old.clear();
        }
        self.young_since_ms = self.young_since_ms.max(now_ms);
    }

    /// Like [`Self::advance`], but a generation that ran out ends on its own time rather than now.
    /// Then no entry lives for longer than two lifetimes, however seldom the map is used.
    pub fn advance_on_time(&mut self, now_ms: u64) {
        let end_ms = self.young_since_ms.saturating_add(self.lifetime_ms);
        if end_ms < now_ms {
            self.advance(end_ms);
        }
        self.advance(now_ms);
    }

    /// Returns the value of a key without prolonging its life.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub fn insert(&mut self, key: K, value: V) {
        self.young.insert(key, value);
    }

    /// Advances to `now_ms` and returns the value of a key, moved to the young generation; the
    /// default if there was none.
    pub fn touch(&mut self, key: K, now_ms: u64) -> &mut V
    where
        V: Default,
    {
        self.advance(now_ms);
        let old = &mut self.old;
        self.young.entry(key).or_insert_with_key(|key| old.remove(key).unwrap_or_default())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_entries_stay_and_others_are_dropped() {
        let mut map: TwoGenerations<u32, u32> = TwoGenerations::new(100, 1000);
        *map.touch(1, 1000) = 7;
        *map.touch(2, 1000) = 8;
        assert_eq!(*map.touch(1, 1099), 7);
        assert_eq!(*map.touch(1, 1150), 7);
        assert_eq!(*map.touch(1, 1260), 7);
        assert_eq!(*map.touch(2, 1400), 0, "untouched for four lifetimes");
    }

    #[test]
    fn it_never_holds_more_than_two_generations() {
        let mut map: TwoGenerations<u32, u32> = TwoGenerations::new(u64::MAX, 100);
        for key in 0..10_000 {
            map.touch(key, 5);
        }
        assert!(map.len() <= 200);
    }

    #[test]
    fn a_clock_that_steps_back_forgets_nothing() {
        let mut map: TwoGenerations<u32, u32> = TwoGenerations::new(100, 1000);
        *map.touch(1, 1000) = 7;
        assert_eq!(*map.touch(1, 10), 7);
        assert_eq!(*map.touch(1, 1000), 7);
    }

    #[test]
    fn on_time_an_entry_lives_at_most_two_lifetimes() {
        let mut map: TwoGenerations<u32, u32> = TwoGenerations::new(100, 1000);
        map.insert(1, 7);
        map.advance_on_time(199);
        assert_eq!(map.get(&1), Some(&7));
        map.advance_on_time(200);
        assert_eq!(map.get(&1), None);
    }
}
