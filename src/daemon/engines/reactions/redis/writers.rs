//! The names under which counts are added, so that adding what may have been added already adds it
//! once.
//!
//! A writer numbers its windows. A window ends when the call that told it succeeds; after a failure
//! the next call tells the same window again, with at least the same counts, as
//! [`crate::daemon::engines::reactions::ReactionTotals::add`] demands of its caller.
//!
//! Bounded: as many as there are calls at one time; the reaction window makes one.

use parking_lot::Mutex;

#[derive(Debug)]
pub(super) struct Writer {
    /// Tells it from those of all processes.
    pub(super) name: u64,
    pub(super) window: u64,
}

#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<Vec<Writer>>);

impl Writers {
    /// The one whose call failed last, if any, else any that is free.
    pub(super) fn take(&self) -> Writer {
        let free = self.0.lock().pop();
        free.unwrap_or_else(|| Writer { name: rand::random(), window: 1 })
    }

    /// `told`: everything of its window was added.
    pub(super) fn give_back(&self, mut writer: Writer, told: bool) {
        let mut free = self.0.lock();
        if told {
            writer.window += 1;
            free.insert(0, writer);
        } else {
            free.push(writer);
        }
    }
}
