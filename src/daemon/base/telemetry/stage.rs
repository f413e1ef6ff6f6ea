//! The meter of one stage.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::recorder::LatencyRecorder;
use crate::protocol::latency::LatencyHistogram;

/// The items that wait in front of a stage, and the most that may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueReading {
    pub queue: u64,
    /// 0 if nothing bounds the queue.
    pub queue_max: u64,
}

/// Reads a queue when the node is sampled; `None` if the queue is gone.
type ReadQueue = Box<dyn Fn() -> Option<QueueReading> + Send>;

/// Counts what passes one stage of this node. The stage adds once per batch.
#[derive(Default)]
pub struct StageMeter {
    items: AtomicU64,
    refused: AtomicU64,
    queue: AtomicU64,
    queue_max: AtomicU64,
    latency: LatencyRecorder,
    read_queue: Mutex<Option<ReadQueue>>,
    /// The partitions of the event log that the stage reads. Bounded by those of the topic.
    partitions: Mutex<BTreeSet<u32>>,
}

impl std::fmt::Debug for StageMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let items = self.items.load(Ordering::Relaxed);
        f.debug_struct("StageMeter").field("items", &items).finish_non_exhaustive()
    }
}

impl StageMeter {
    /// Counts items that passed after `latency`.
    pub fn pass(&self, items: u64, latency: Duration) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.latency.record(latency, items);
    }

    /// Counts items whose number is counted elsewhere.
    pub fn record_latency(&self, items: u64, latency: Duration) {
        self.latency.record(latency, items);
    }

    pub fn refuse(&self, items: u64) {
        self.refused.fetch_add(items, Ordering::Relaxed);
    }

    /// Sets the items that wait now.
    pub fn set_queue(&self, queue: u64) {
        self.queue.store(queue, Ordering::Relaxed);
    }

    /// Sets the most items that may wait.
    pub fn set_queue_max(&self, queue_max: u64) {
        self.queue_max.store(queue_max, Ordering::Relaxed);
    }

    /// Counts items as waiting until the guard is dropped.
    pub fn hold(self: &std::sync::Arc<Self>, items: u64) -> QueuedItems {
        self.queue.fetch_add(items, Ordering::Relaxed);
        QueuedItems { meter: self.clone(), items }
    }

    /// Reads the queue from a function, once per second, instead of what was set.
    pub fn read_queue_with(&self, read: impl Fn() -> Option<QueueReading> + Send + 'static) {
        *self.read_queue.lock() = Some(Box::new(read));
    }

    /// Records that the stage joins its consumer group, and reads nothing yet.
    pub fn join_group(&self) {
        self.partitions.lock().clear();
    }

    /// Records the partitions that the stage reads from now on, and those that another member
    /// reads now.
    pub fn follow_assignment(&self, assigned: impl IntoIterator<Item = u32>, revoked: &[u32]) {
        let mut assigned = assigned.into_iter().peekable();
        if assigned.peek().is_none() && revoked.is_empty() {
            return;
        }
        let mut partitions = self.partitions.lock();
        partitions.extend(assigned);
        partitions.retain(|partition| !revoked.contains(partition));
    }

    /// Returns whether the stage reads a partition.
    pub fn reads(&self, partition: u32) -> bool {
        self.partitions.lock().contains(&partition)
    }

    /// Returns the number of partitions that the stage reads.
    pub fn partitions(&self) -> u64 {
        self.partitions.lock().len() as u64
    }

    pub(super) fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn queue(&self) -> QueueReading {
        if let Some(read) = &*self.read_queue.lock() {
            return read().unwrap_or_default();
        }
        QueueReading {
            queue: self.queue.load(Ordering::Relaxed),
            queue_max: self.queue_max.load(Ordering::Relaxed),
        }
    }

    pub(super) fn latency(&self) -> LatencyHistogram {
        self.latency.read()
    }
}

/// Items that wait at a stage.
#[derive(Debug)]
pub struct QueuedItems {
    meter: std::sync::Arc<StageMeter>,
    items: u64,
}

impl Drop for QueuedItems {
    fn drop(&mut self) {
        self.meter.queue.fetch_sub(self.items, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn queued_items_leave_with_their_guard() {
        let meter = Arc::new(StageMeter::default());
        meter.set_queue_max(10);
        let first = meter.hold(3);
        let second = meter.hold(4);
        assert_eq!(meter.queue(), QueueReading { queue: 7, queue_max: 10 });
        drop(first);
        assert_eq!(meter.queue().queue, 4);
        drop(second);
        assert_eq!(meter.queue().queue, 0);
        meter.read_queue_with(|| Some(QueueReading { queue: 2, queue_max: 5 }));
        assert_eq!(meter.queue(), QueueReading { queue: 2, queue_max: 5 });
        meter.read_queue_with(|| None);
        assert_eq!(meter.queue(), QueueReading::default());
    }

    #[test]
    fn partitions_follow_the_group() {
        let meter = StageMeter::default();
        meter.follow_assignment([0, 1, 2], &[]);
        meter.follow_assignment([3], &[1]);
        meter.follow_assignment([], &[]);
        assert_eq!(meter.partitions(), 3);
        assert!(meter.reads(3) && !meter.reads(1));
        meter.join_group();
        assert_eq!(meter.partitions(), 0, "a stage that was started again has none yet");
    }
}
