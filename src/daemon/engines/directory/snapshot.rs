//! A view that is replaced as a whole by the reload that began last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// A value with reloads that may overlap. A slow reload that read the store before a change must
/// not replace a faster one that read it after the change.
#[derive(Debug, Default)]
pub(super) struct Snapshot<T> {
    value: ArcSwap<T>,
    begun: AtomicU64,
    /// The number of the reload that stored `value`.
    stored_by: Mutex<u64>,
}

/// The number of a reload.
#[derive(Debug)]
pub(super) struct Reload(u64);

impl<T> Snapshot<T> {
    /// Begins a reload. Must be called before reading the store.
    pub(super) fn begin(&self) -> Reload {
        Reload(self.begun.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Stores the value that was read, unless a reload that began later has already stored one.
    pub(super) fn finish(&self, reload: &Reload, value: T) {
        let mut stored_by = self.stored_by.lock();
        if reload.0 > *stored_by {
            *stored_by = reload.0;
            self.value.store(Arc::new(value));
        }
    }

    pub(super) fn get(&self) -> arc_swap::Guard<Arc<T>> {
        self.value.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_reload_never_replaces_a_later_one() {
        let snapshot = Snapshot::<u32>::default();
        let slow = snapshot.begin();
        let quick = snapshot.begin();
        snapshot.finish(&quick, 2);
        snapshot.finish(&slow, 1);
        assert_eq!(**snapshot.get(), 2);
        let next = snapshot.begin();
        snapshot.finish(&next, 3);
        assert_eq!(**snapshot.get(), 3);
    }

    #[test]
    fn an_unfinished_reload_blocks_no_other() {
        let snapshot = Snapshot::<u32>::default();
        let _failed = snapshot.begin();
        let next = snapshot.begin();
        snapshot.finish(&next, 5);
        assert_eq!(**snapshot.get(), 5);
    }
}
