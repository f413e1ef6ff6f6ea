//! Whether moderation checks published comments now, as this node knows it.
//!
//! In: the watch of this node. Out: ingest, which holds comments of some rooms meanwhile, and the
//! check of held comments. Clones share the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of moderation.
#[derive(Debug, Clone, Default)]
pub struct ModerationState {
    is_down: Arc<AtomicBool>,
}

impl ModerationState {
    /// Returns whether published comments are not checked, or only much later.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }
}
