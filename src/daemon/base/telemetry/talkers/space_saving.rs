//! The Space-Saving sketch (Metwally, Agrawal and El Abbadi, 2005): the most frequent keys of a
//! stream of keys, in a fixed number of places.

/// The most frequent of the keys that were added, in `PLACES` places.
///
/// Always holds, after `n` additions: a key with more than `n / PLACES` of them has a place, and
/// the count of a key is never below the true one, and above it by at most [`Self::floor`]. A key
/// without a place has at most [`Self::floor`].
///
/// Adding searches the places in their order, which at this size is faster than a map, and
/// allocates nothing.
#[derive(Debug, Clone)]
pub(super) struct SpaceSaving<K, V, const PLACES: usize> {
    keys: [K; PLACES],
    counts: [u32; PLACES],
    /// The value of each key, kept since the key got its place.
    values: [V; PLACES],
    used: usize,
    additions: u64,
}

/// A key with its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Estimate {
    /// At least the true count.
    pub(super) count: u64,
    /// The true count is at least `count` minus this.
    pub(super) error: u64,
}

impl Estimate {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, error: self.error + other.error }
    }

    /// Returns the count that is certain.
    pub(super) fn at_least(self) -> u64 {
        self.count - self.error
    }
}

impl<K: Copy + Eq + Default, V: Copy + Default, const PLACES: usize> SpaceSaving<K, V, PLACES> {
    pub(super) fn new() -> Self {
        Self {
            keys: [K::default(); PLACES],
            counts: [0; PLACES],
            values: [V::default(); PLACES],
            used: 0,
            additions: 0,
        }
    }

    /// Counts a key, and returns what is known of it: the default for one that gets its place now.
    pub(super) fn add(&mut self, key: K) -> &mut V {
        self.additions += 1;
        let place = match self.place_of(key) {
            Some(place) => place,
            None => self.take_place(key),
        };
        self.counts[place] = self.counts[place].saturating_add(1);
        &mut self.values[place]
    }

    /// Gives a key a free place, or the place of the key with the lowest count, and that count.
    fn take_place(&mut self, key: K) -> usize {
        let place = if self.used < PLACES {
            self.used += 1;
            self.used - 1
        } else {
            let places = self.counts.iter().enumerate();
            places.min_by_key(|(_, count)| **count).map_or(0, |(place, _)| place)
        };
        self.keys[place] = key;
        self.values[place] = V::default();
        place
    }

    fn place_of(&self, key: K) -> Option<usize> {
        self.keys[..self.used].iter().position(|known| *known == key)
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.place_of(key).map(|place| &self.values[place])
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.place_of(key).map(|place| &mut self.values[place])
    }

    pub(super) fn keys(&self) -> &[K] {
        &self.keys[..self.used]
    }

    /// Returns the number of additions.
    pub(super) fn additions(&self) -> u64 {
        self.additions
    }

    /// Returns the most that a key without a place was added: the lowest count, or 0 while a place
    /// is free.
    pub(super) fn floor(&self) -> u64 {
        if self.used < PLACES {
            return 0;
        }
        self.counts.iter().copied().min().map_or(0, u64::from)
    }

    /// Returns the count of any key.
    pub(super) fn estimate(&self, key: K) -> Estimate {
        let floor = self.floor();
        match self.place_of(key) {
            Some(place) => {
                let count = u64::from(self.counts[place]);
                // It was added at least once since it has its place.
                Estimate { count, error: floor.min(count.saturating_sub(1)) }
            }
            None => Estimate { count: floor, error: floor },
        }
    }
}
