//! A few values that are made when they are first needed, and then shared without a lock.

use std::sync::OnceLock;

/// Up to `N` values by key. Further ones are made for each that asks, and not kept.
#[derive(Debug)]
pub(super) struct FewOnce<K, V, const N: usize> {
    slots: [OnceLock<(K, V)>; N],
}

impl<K, V, const N: usize> Default for FewOnce<K, V, N> {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| OnceLock::new()) }
    }
}

impl<K: PartialEq + Clone, V: Clone, const N: usize> FewOnce<K, V, N> {
    /// Returns the value of a key, which is made now if it is not known. Waits only for another
    /// thread that makes a value at this moment.
    pub(super) fn get_or_make(&self, key: &K, make: impl Fn() -> V) -> V {
        for slot in &self.slots {
            let (known, value) = slot.get_or_init(|| (key.clone(), make()));
            if known == key {
                return value.clone();
            }
        }
        make()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_first_values_are_made_once() {
        let few = FewOnce::<u32, u32, 2>::default();
        let made = Cell::new(0);
        let get = |key| {
            few.get_or_make(&key, || {
                made.set(made.get() + 1);
                key * 10
            })
        };
        for (key, calls) in [(1, 1), (2, 2), (1, 2), (2, 2), (3, 3), (3, 4), (1, 4)] {
            assert_eq!((get(key), made.get()), (key * 10, calls), "{key}");
        }
    }
}
