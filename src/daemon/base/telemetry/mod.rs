//! The measurements that a node makes of itself: stages, latencies, rates, and its process.
//!
//! In: additions by the stages, once per batch, and a call of [`Telemetry::sample`] once per
//! second. Out: [`NodeSample`], which node reports, the admin socket and `/metrics` read.
//!
//! Always holds: recording costs a few atomic additions and takes no lock. Counters and histograms
//! only grow while the process runs, also when the node is built again, so that two readings can
//! be subtracted. Rates are taken here, by the node itself, from its own counters and clock: no
//! other node has to subtract anything.
//!
//! When full: everything has a fixed size; readings of the last ten seconds are kept.

mod decisions;
mod process;
mod recorder;
mod sampler;
mod stage;
mod store;
mod talkers;
pub mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::decisions::DecisionHistory;
use self::process::ProcessReader;
pub use self::recorder::LatencyRecorder;
use self::sampler::Sampler;
pub use self::sampler::{NodeSample, SAMPLE_INTERVAL, counters};
pub use self::stage::{QueueReading, QueuedItems, StageMeter};
pub use self::store::{StoreAbout, StoreCall, StoreMeter};
pub use self::talkers::TalkerSketches;
use self::timeline::Timeline;
use crate::protocol::admin::{BusNode, LATE_AFTER_MS, StageName};
use crate::protocol::latency::LatencyHistogram;

/// A comment that reaches a viewer's socket later than this after its creation is late.
pub const LATE_AFTER: Duration = Duration::from_millis(LATE_AFTER_MS);

/// The latencies that one delivery worker measures. Each is counted once per viewer and comment.
#[derive(Debug, Default)]
pub struct DeliveryLatencies {
    /// From the creation of the comment to the write.
    pub end_to_end: LatencyRecorder,
    /// From the arrival of its frame at this node to the write.
    pub on_node: LatencyRecorder,
}

/// The telemetry of a node. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Milliseconds since the Unix epoch; 0 until it is set.
    started_at_ms: AtomicU64,
    /// The stages that this node has.
    stages: Mutex<BTreeMap<StageName, Arc<StageMeter>>>,
    /// By contract.
    stores: Mutex<BTreeMap<&'static str, Arc<StoreMeter>>>,
    /// Of the delivery workers. One that has ended leaves its place, counts included, to a new one.
    workers: Mutex<Vec<Arc<DeliveryLatencies>>>,
    process: Mutex<ProcessReader>,
    sampler: Mutex<Sampler>,
    decisions: Mutex<DecisionHistory>,
    latest: Mutex<Arc<NodeSample>>,
    clock_offset_ms: Mutex<Option<i64>>,
    bus: Mutex<Arc<Vec<BusNode>>>,
    timeline: Timeline,
    talkers: TalkerSketches,
    keeps_cluster: AtomicBool,
}

impl Telemetry {
    /// Sets the time at which the counters began to count, unless it is set already.
    pub fn set_started_at(&self, now_ms: u64) {
        let started_at = &self.inner.started_at_ms;
        let _ = started_at.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn started_at_ms(&self) -> u64 {
        self.inner.started_at_ms.load(Ordering::Relaxed)
    }

    /// Returns the meter of a stage. From the first call on the stage is reported.
    pub fn stage(&self, name: StageName) -> Arc<StageMeter> {
        self.inner.stages.lock().entry(name).or_default().clone()
    }

    /// Returns the meter of the store behind a contract. From the first call on it is reported.
    pub fn store(&self, contract: &'static str) -> Arc<StoreMeter> {
        self.inner.stores.lock().entry(contract).or_default().clone()
    }

    /// Returns the meters of all stores with their contracts.
    pub fn stores(&self) -> Vec<(&'static str, Arc<StoreMeter>)> {
        let stores = self.inner.stores.lock();
        stores.iter().map(|(contract, meter)| (*contract, meter.clone())).collect()
    }

    /// Returns the meters of one more delivery worker, which may continue those of one that has
    /// ended: a node that is built again and again must not need more memory each time.
    pub fn add_worker(&self) -> Arc<DeliveryLatencies> {
        let mut workers = self.inner.workers.lock();
        // Only this function gives them away, under the lock.
        if let Some(left) = workers.iter().find(|worker| Arc::strong_count(worker) == 1) {
            return left.clone();
        }
        let latencies = Arc::new(DeliveryLatencies::default());
        workers.push(latencies.clone());
        latencies
    }

    /// Sets the clock of this node minus that of the servers it shares with others.
    pub fn set_clock_offset_ms(&self, offset_ms: Option<i64>) {
        *self.inner.clock_offset_ms.lock() = offset_ms;
    }

    /// Sets the servers of the bus, as this node uses them.
    pub fn set_bus(&self, servers: Vec<BusNode>) {
        *self.inner.bus.lock() = Arc::new(servers);
    }

    pub fn bus(&self) -> Arc<Vec<BusNode>> {
        self.inner.bus.lock().clone()
    }

    /// Returns the last hour, as the keeper of the timeline has written it.
    pub fn timeline(&self) -> &Timeline {
        &self.inner.timeline
    }

    /// Returns the counts of users and texts of the streams that this node broadcasts, and of the
    /// comments that it refuses.
    pub fn talkers(&self) -> &TalkerSketches {
        &self.inner.talkers
    }

    /// Sets whether this node is to keep the timeline of the whole cluster. One node is: the
    /// coordinator of the first partition. What the timeline holds now is
    /// [`Timeline::is_whole_cluster`].
    pub fn set_keeps_cluster(&self, keeps: bool) {
        self.inner.keeps_cluster.store(keeps, Ordering::Relaxed);
    }

    pub fn keeps_cluster(&self) -> bool {
        self.inner.keeps_cluster.load(Ordering::Relaxed)
    }

    /// Returns the number of partitions of the event log that a stage of this node reads.
    pub fn partitions_of(&self, name: StageName) -> u64 {
        self.inner.stages.lock().get(&name).map_or(0, |meter| meter.partitions())
    }

    fn stages(&self) -> Vec<(StageName, Arc<StageMeter>)> {
        self.inner.stages.lock().iter().map(|(name, meter)| (*name, meter.clone())).collect()
    }

    fn sum_of_workers(&self, of: fn(&DeliveryLatencies) -> &LatencyRecorder) -> LatencyHistogram {
        let workers = self.inner.workers.lock();
        let mut sum = LatencyHistogram::default();
        workers.iter().for_each(|worker| sum.add(&of(worker).read()));
        sum
    }

    /// Returns the latest sample; an empty one before the first.
    pub fn latest(&self) -> Arc<NodeSample> {
        self.inner.latest.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_ended_keep_counts_not_memory() {
        let telemetry = Telemetry::default();
        let running = telemetry.add_worker();
        for _ in 0..100 {
            telemetry.add_worker().end_to_end.record(Duration::from_millis(1), 1);
        }
        assert_eq!(telemetry.inner.workers.lock().len(), 2);
        assert_eq!(telemetry.sum_of_workers(|worker| &worker.end_to_end).count(), 100);
        assert!(running.end_to_end.read().is_empty(), "it is another's");
    }
}
