//! Outcomes of reloads, on their way to the events of the node.
//!
//! In: the node, for each part that it has read again. Out: the admin socket takes them once per
//! report. When full: the oldest of [`MAX_WAITING`] are forgotten; the log of the daemon has them.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

const MAX_WAITING: usize = 32;

/// Outcomes that are no events yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    waiting: Arc<Mutex<VecDeque<String>>>,
}

impl Reloads {
    /// Adds an outcome: a clause that names the part that was read.
    pub fn record(&self, outcome: String) {
        let mut waiting = self.waiting.lock();
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(outcome);
    }

    /// Returns the outcomes since the last call, oldest first.
    pub fn take(&self) -> Vec<String> {
        self.waiting.lock().drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_taken_once_and_bounded() {
        let reloads = Reloads::default();
        (0..MAX_WAITING + 2).for_each(|n| reloads.record(n.to_string()));
        let taken = reloads.clone().take();
        assert_eq!((taken.len(), &*taken[0]), (MAX_WAITING, "2"));
        assert!(reloads.take().is_empty());
    }
}
