//! What readers of committed records must see because it was acknowledged here. The brokers answer a
//! commit before its marks are in every partition; a reader that knows how far it must see waits the
//! moment until they are, so that one's own appends are there when they are read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::topics::{Topics, index};
use crate::daemon::engines::eventlog::{Position, Topic};

/// By topic and partition: the offset behind the last record acknowledged.
#[derive(Debug)]
pub(super) struct Visible(Vec<Vec<AtomicU64>>);

impl Visible {
    pub(super) fn new(topics: &Topics) -> Self {
        let ends = |topic| (0..topics.partitions(topic)).map(|_| AtomicU64::new(0)).collect();
        Self(Topic::ALL.into_iter().map(ends).collect())
    }

    pub(super) fn note(&self, topic: Topic, positions: &[Position]) {
        for position in positions {
            let end = &self.0[index(topic)][position.partition as usize];
            end.fetch_max(position.offset + 1, Ordering::AcqRel);
        }
    }

    pub(super) fn end(&self, topic: Topic, partition: u32) -> u64 {
        self.0[index(topic)][partition as usize].load(Ordering::Acquire)
    }
}
