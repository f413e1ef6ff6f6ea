//! The ends of the records that this process has acknowledged, for readers of committed records.

use parking_lot::Mutex;

use super::topics::index;
use crate::daemon::engines::eventlog::{Position, Topic};

/// The end of the acknowledged records of each partition. The brokers answer a commit before its
/// markers are in every partition. A reader that knows this end waits that moment, so a caller can
/// read its own appends.
#[derive(Debug)]
pub(super) struct AcknowledgedEnds {
    /// By topic, in the order of [`Topic::ALL`], and partition.
    ends: Vec<Mutex<Vec<u64>>>,
}

impl AcknowledgedEnds {
    pub(super) fn new() -> Self {
        Self { ends: Topic::ALL.iter().map(|_| Mutex::default()).collect() }
    }

    pub(super) fn advance(&self, topic: Topic, positions: &[Position]) {
        let mut ends = self.ends[index(topic)].lock();
        for position in positions {
            let partition = position.partition as usize;
            if ends.len() <= partition {
                ends.resize(partition + 1, 0);
            }
            ends[partition] = ends[partition].max(position.offset + 1);
        }
    }

    pub(super) fn end(&self, topic: Topic, partition: u32) -> u64 {
        self.ends[index(topic)].lock().get(partition as usize).copied().unwrap_or(0)
    }

    pub(super) fn forget(&self, topic: Topic) {
        self.ends[index(topic)].lock().clear();
    }
}
