//! The names under which counts are added, so that adding counts again after a failure adds them
//! once.
//!
//! A writer numbers its windows. A window ends when its call succeeds. After a failure the next
//! call sends the same window again with at least the same counts, as
//! [`ReactionTotals::add`](crate::daemon::engines::reactions::ReactionTotals::add) requires.
//!
//! Bounded: as many writers as there are concurrent calls; the reactions stage makes one.

use parking_lot::Mutex;

#[derive(Debug)]
pub(super) struct Writer {
    /// Unique among the writers of all processes.
    pub(super) name: u64,
    pub(super) window: u64,
}

#[derive(Debug, Default)]
pub(super) struct WriterPool(Mutex<Vec<Writer>>);

impl WriterPool {
    /// Returns the writer whose call failed last, if there is one, otherwise any free writer.
    pub(super) fn take(&self) -> Writer {
        let free = self.0.lock().pop();
        free.unwrap_or_else(|| Writer { name: rand::random(), window: 1 })
    }

    /// Returns a writer to the pool; `window_added` if its window was added completely.
    pub(super) fn give_back(&self, mut writer: Writer, window_added: bool) {
        let mut free = self.0.lock();
        if window_added {
            writer.window += 1;
            free.insert(0, writer);
        } else {
            free.push(writer);
        }
    }
}
