//! A value with the key that orders it in a heap.

use std::cmp::Ordering;

/// Compared by its key only, so that the value needs no order. Keys of one heap are distinct.
#[derive(Debug)]
pub(super) struct Keyed<K, V> {
    pub(super) key: K,
    pub(super) value: V,
}

impl<K: Ord, V> PartialEq for Keyed<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord, V> Eq for Keyed<K, V> {}

impl<K: Ord, V> PartialOrd for Keyed<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, V> Ord for Keyed<K, V> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use super::*;

    #[test]
    fn a_heap_takes_the_largest_key_first() {
        let keyed = |key, value| Keyed { key, value };
        let mut heap: BinaryHeap<_> =
            [keyed((3, 1), 0.5), keyed((3, 2), f64::NAN), keyed((1, 9), 0.1)].into();
        let keys: Vec<_> = std::iter::from_fn(|| heap.pop().map(|entry| entry.key)).collect();
        assert_eq!(keys, [(3, 2), (3, 1), (1, 9)]);
        assert_eq!(keyed((0, 0), 1.0), keyed((0, 0), 2.0));
    }
}
