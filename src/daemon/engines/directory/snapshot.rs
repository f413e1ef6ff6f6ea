//! A view that is replaced as a whole, by the reload that began last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// A value with reloads that may overlap. A slow reload that read the store before a change must not
/// undo a quicker one that read it after.
#[derive(Debug, Default)]
pub(super) struct Snapshot<T> {
    value: ArcSwap<T>,
    begun: AtomicU64,
    /// The reload that `value` is of.
    of: Mutex<u64>,
}

/// The place of a reload among all.
#[derive(Debug)]
pub(super) struct Reload(u64);

impl<T> Snapshot<T> {
    /// Call before reading the store.
    pub(super) fn begin(&self) -> Reload {
        Reload(self.begun.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Puts in place what was read, unless a reload that began later has done so already: what that
    /// one read is at least as new.
    pub(super) fn finish(&self, reload: &Reload, value: T) {
        let mut of = self.of.lock();
        if reload.0 > *of {
            *of = reload.0;
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
    fn a_reload_that_began_earlier_undoes_nothing() {
        let snapshot = Snapshot::<u32>::default();
        let (slow, quick) = (snapshot.begin(), snapshot.begin());
        snapshot.finish(&quick, 2);
        snapshot.finish(&slow, 1);
        assert_eq!(**snapshot.get(), 2);
        let next = snapshot.begin();
        snapshot.finish(&next, 3);
        assert_eq!(**snapshot.get(), 3);
    }

    #[test]
    fn a_reload_that_never_finishes_holds_nothing_up() {
        let snapshot = Snapshot::<u32>::default();
        let _failed = snapshot.begin();
        let next = snapshot.begin();
        snapshot.finish(&next, 5);
        assert_eq!(**snapshot.get(), 5);
    }
}
