//! Whether moderation checks published comments now, as this node knows it.
//!
//! In: the watch of this node, and its moderation worker. Out: ingest, which holds comments of some
//! rooms meanwhile, and the check of held comments. Clones share the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The state of moderation.
#[derive(Debug, Clone, Default)]
pub struct ModerationState {
    is_down: Arc<AtomicBool>,
    stopped_workers: Arc<AtomicUsize>,
}

impl ModerationState {
    /// Returns whether published comments are not checked, or only much later.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Returns whether the worker of this node has stopped checking, and has not caught up since.
    pub fn is_stopped(&self) -> bool {
        self.stopped_workers.load(Ordering::Relaxed) > 0
    }

    /// Counts a worker as stopped until the guard is dropped.
    pub fn stop_worker(&self) -> StoppedWorker {
        self.stopped_workers.fetch_add(1, Ordering::Relaxed);
        StoppedWorker(self.stopped_workers.clone())
    }
}

/// A worker that checks nothing at the moment.
#[derive(Debug)]
pub struct StoppedWorker(Arc<AtomicUsize>);

impl Drop for StoppedWorker {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
