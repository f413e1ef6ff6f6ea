//! The status of a node: stages publish their measurements here, and the admin socket and
//! `/metrics` read them.
//!
//! Always holds: publishing costs an atomic store or a short lock that no reader holds for long. A
//! value may be a moment old when it is read. The maps have one entry per stream of the node.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use super::metrics::Metrics;
use super::problems::Problems;
use super::reloads::Reloads;
use super::telemetry::Telemetry;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::protocol::StreamId;
pub use crate::protocol::admin::dependency::{COMMENT_STORE, EVENT_LOG, METADATA_STORE};
use crate::protocol::admin::{
    BreakerState, BreakerStatus, Egress, StreamEgress, StreamRates, TransportCounts, TransportKind,
};
use crate::protocol::throttle::SampleRate;

/// Measurements of one delivery worker, written only by that worker. The counters count since its
/// start.
#[derive(Debug, Default)]
pub struct WorkerGauges {
    /// Viewers of the worker now.
    pub connections: AtomicU64,
    /// Viewers of each transport, by [`TransportKind`].
    pub by_transport: [AtomicU64; TransportKind::COUNT],
    /// Viewers whose sockets are full now.
    pub slow_viewers: AtomicU64,
    /// Viewers now that have sent a comment.
    pub senders: AtomicU64,
    /// Microseconds the worker has worked, out of `wall_us`.
    pub busy_us: AtomicU64,
    /// Microseconds since the worker started.
    pub wall_us: AtomicU64,
    /// Frames written, counted once per viewer.
    pub frames: AtomicU64,
    /// Comments written, counted once per viewer.
    pub delivered: AtomicU64,
    /// Bytes written to sockets, before TLS.
    pub bytes_out: AtomicU64,
}

/// Measurements of one stream by the broadcast stage. The counters count since the stage took the
/// stream over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamGauges {
    /// The estimated rate of accepted comments, which the throttle uses.
    pub comments_per_second: f64,
    /// The share of comments that is broadcast now.
    pub sample_rate: SampleRate,
    /// An index into `broadcast.throttle`.
    pub throttle_level: u8,
    /// The share fixed by an operator, if any.
    pub throttle_override: Option<SampleRate>,
    /// When that ends by itself, in milliseconds since the Unix epoch.
    pub throttle_until_ms: Option<u64>,
    pub received: u64,
    pub broadcast: u64,
    pub sampled_out: u64,
    pub deleted: u64,
}

/// Sentences about the dependencies that are down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages {
    /// Those without which the node cannot do its work.
    pub essential: Vec<String>,
    /// Those that have a substitute, or whose absence costs only a part.
    pub others: Vec<String>,
}

/// The status board of a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StatusBoard {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    metrics: Metrics,
    problems: Problems,
    reloads: Reloads,
    telemetry: Telemetry,
    ready: AtomicBool,
    draining: AtomicBool,
    workers: Mutex<Vec<Arc<WorkerGauges>>>,
    streams: Mutex<AHashMap<StreamId, StreamGauges>>,
    viewers: Mutex<AHashMap<StreamId, u64>>,
    egress: Mutex<Egress>,
    /// Streams that were reduced by the egress limit: the share now, and the comments left out so
    /// far.
    stream_egress: Mutex<AHashMap<StreamId, (SampleRate, u64)>>,
    breakers: Mutex<Vec<Arc<Breaker>>>,
    /// Dependencies without which this node cannot do its work.
    essential: Mutex<Vec<&'static str>>,
    rate_refusal_at_ms: AtomicU64,
    held_records: Mutex<BTreeMap<u32, u64>>,
}

impl StatusBoard {
    /// Returns an empty board for a node that is built again in this process. Its problems,
    /// events, counters and histograms continue.
    pub fn successor(&self) -> Self {
        let Inner { metrics, problems, reloads, telemetry, .. } = &*self.inner;
        let inner = Inner {
            metrics: metrics.clone(),
            problems: problems.clone(),
            reloads: reloads.clone(),
            telemetry: telemetry.clone(),
            ..Inner::default()
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub fn problems(&self) -> &Problems {
        &self.inner.problems
    }

    /// Returns the outcomes of reloads that are no events yet.
    pub fn reloads(&self) -> &Reloads {
        &self.inner.reloads
    }

    pub fn telemetry(&self) -> &Telemetry {
        &self.inner.telemetry
    }

    /// Takes a sample of this node. Called once per second by one task.
    pub fn sample(&self, data_dir: &Path) {
        self.telemetry().sample(self.metrics(), self.connections(), data_dir);
    }

    pub fn set_ready(&self, ready: bool) {
        self.inner.ready.store(ready, Ordering::Release);
    }

    /// Returns whether the node has started and does not drain.
    pub fn is_ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire) && !self.is_draining()
    }

    pub fn set_draining(&self, draining: bool) {
        self.inner.draining.store(draining, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Records that a viewer was refused by the connection rate limit.
    pub fn record_rate_refusal(&self, now_ms: u64) {
        self.inner.rate_refusal_at_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Returns when that last happened, in milliseconds since the Unix epoch, or 0 if never.
    pub fn rate_refusal_at_ms(&self) -> u64 {
        self.inner.rate_refusal_at_ms.load(Ordering::Relaxed)
    }

    /// A place for one more delivery worker; its index is its place in [`Self::workers`].
    pub fn add_worker(&self) -> Arc<WorkerGauges> {
        let gauges = Arc::new(WorkerGauges::default());
        self.inner.workers.lock().push(gauges.clone());
        gauges
    }

    pub fn workers(&self) -> Vec<Arc<WorkerGauges>> {
        self.inner.workers.lock().clone()
    }

    pub fn set_stream(&self, stream_id: StreamId, gauges: StreamGauges) {
        self.inner.streams.lock().insert(stream_id, gauges);
    }

    pub fn stream(&self, stream_id: StreamId) -> Option<StreamGauges> {
        self.inner.streams.lock().get(&stream_id).copied()
    }

    /// Returns the measurements of every stream that this node broadcasts.
    pub fn stream_rates(&self) -> Vec<StreamRates> {
        let rates = |(stream_id, gauges): (&StreamId, &StreamGauges)| StreamRates {
            stream_id: *stream_id,
            comments_per_second: gauges.comments_per_second,
            sample_rate: gauges.sample_rate,
            throttle_level: gauges.throttle_level,
            throttle_override: gauges.throttle_override,
            throttle_until_ms: gauges.throttle_until_ms,
            received: gauges.received,
            broadcast: gauges.broadcast,
            sampled_out: gauges.sampled_out,
            deleted: gauges.deleted,
        };
        self.inner.streams.lock().iter().map(rates).collect()
    }

    /// Removes streams that another node broadcasts now.
    pub fn forget_streams(&self, streams: &[StreamId]) {
        self.inner.streams.lock().retain(|stream_id, _| !streams.contains(stream_id));
        self.telemetry().talkers().forget(streams);
    }

    /// Sets the number of records, by partition, that the broadcast stage has read and that message
    /// delays keep it from committing.
    pub fn set_held_records(&self, held: BTreeMap<u32, u64>) {
        *self.inner.held_records.lock() = held;
    }

    /// Returns the records of [`Self::set_held_records`], by partition.
    pub fn held_records(&self) -> BTreeMap<u32, u64> {
        self.inner.held_records.lock().clone()
    }

    /// Sets the viewers of each stream over all nodes, as presence last counted them.
    pub fn set_viewers(&self, viewers: AHashMap<StreamId, u64>) {
        *self.inner.viewers.lock() = viewers;
    }

    pub fn viewers(&self, stream_id: StreamId) -> u64 {
        self.inner.viewers.lock().get(&stream_id).copied().unwrap_or(0)
    }

    /// Sets the node's egress and its limits.
    pub fn set_egress(&self, egress: Egress) {
        self.metrics().egress_limited_streams.set(egress.streams_lowered as i64);
        *self.inner.egress.lock() = egress;
    }

    pub fn egress(&self) -> Egress {
        self.inner.egress.lock().clone()
    }

    /// Sets the share of a stream that this node shows, and adds the comments it left out since the
    /// last call.
    pub fn set_stream_egress(&self, stream_id: StreamId, share: SampleRate, sampled_out: u64) {
        let mut streams = self.inner.stream_egress.lock();
        if share.is_all() && sampled_out == 0 && !streams.contains_key(&stream_id) {
            return;
        }
        let (shown, sum) = streams.entry(stream_id).or_insert((share, 0));
        *shown = share;
        *sum += sampled_out;
    }

    /// Returns all streams that this node has reduced at some time.
    pub fn stream_egress(&self) -> Vec<StreamEgress> {
        let row = |(&stream_id, &(share, sampled_out)): (&StreamId, &(SampleRate, u64))| {
            StreamEgress { stream_id, share, sampled_out }
        };
        self.inner.stream_egress.lock().iter().map(row).collect()
    }

    /// Returns the viewers of all workers whose sockets are full.
    pub fn slow_viewers(&self) -> u64 {
        let workers = self.inner.workers.lock();
        workers.iter().map(|worker| worker.slow_viewers.load(Ordering::Relaxed)).sum()
    }

    /// Returns the connections of each transport, of all workers.
    pub fn connections_by_transport(&self) -> TransportCounts {
        let mut counts = TransportCounts::default();
        for worker in self.inner.workers.lock().iter() {
            for (kind, gauge) in TransportKind::ALL.into_iter().zip(&worker.by_transport) {
                counts.add(kind, gauge.load(Ordering::Relaxed));
            }
        }
        counts
    }

    /// Returns the viewers of all workers that have sent a comment.
    pub fn senders(&self) -> u64 {
        let workers = self.inner.workers.lock();
        workers.iter().map(|worker| worker.senders.load(Ordering::Relaxed)).sum()
    }

    /// Returns the circuit breaker of a dependency. It is created, and shown on the board, for the
    /// first caller; the others share it.
    pub fn add_breaker(&self, dependency: &'static str) -> Arc<Breaker> {
        let mut breakers = self.inner.breakers.lock();
        if let Some(known) = breakers.iter().find(|known| known.dependency() == dependency) {
            return known.clone();
        }
        let breaker = Arc::new(Breaker::new(dependency));
        breakers.push(breaker.clone());
        breaker
    }

    /// Returns the dependencies without which this node cannot do its work.
    pub fn essential(&self) -> Vec<&'static str> {
        self.inner.essential.lock().clone()
    }

    /// Sets the dependencies without which this node cannot do its work, by the names of their
    /// breakers.
    pub fn set_essential(&self, dependencies: Vec<&'static str>) {
        *self.inner.essential.lock() = dependencies;
    }

    /// Returns a sentence for each open breaker, without its error: anybody may read it, and
    /// errors name hosts.
    pub fn outages(&self) -> Outages {
        let essential = self.inner.essential.lock().clone();
        let mut outages = Outages::default();
        for breaker in self.breakers() {
            let BreakerStatus { dependency, state, since_ms, .. } = breaker;
            if state == BreakerState::Closed {
                continue;
            }
            let sentence = format!("{dependency} has been down for {} s", since_ms / 1_000);
            if essential.contains(&dependency.as_str()) {
                outages.essential.push(sentence);
            } else {
                outages.others.push(sentence);
            }
        }
        outages
    }

    /// Returns whether the node serves its roles: it has started, does not drain, and nothing that
    /// it cannot do without is down.
    pub fn serves(&self) -> bool {
        self.is_ready() && self.outages().essential.is_empty()
    }

    pub fn breakers(&self) -> Vec<BreakerStatus> {
        self.inner.breakers.lock().iter().map(|breaker| breaker.status()).collect()
    }

    /// Sets the gauges of `/metrics` to the sums over all workers.
    pub fn set_connection_gauges(&self) {
        let sum = |gauge: fn(&WorkerGauges) -> &AtomicU64| {
            let workers = self.inner.workers.lock();
            workers.iter().map(|worker| gauge(worker).load(Ordering::Relaxed)).sum::<u64>()
        };
        let metrics = self.metrics();
        metrics.connections.set(sum(|worker| &worker.connections) as i64);
        metrics.slow_viewers.set(sum(|worker| &worker.slow_viewers) as i64);
    }

    /// Returns the connections of all workers.
    pub fn connections(&self) -> u64 {
        let workers = self.inner.workers.lock();
        workers.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).sum()
    }
}
