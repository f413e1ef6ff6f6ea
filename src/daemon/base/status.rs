//! The node's notice board: stages pin up what they measure, the admin socket reads it.
//!
//! Always holds: writing never waits for a reader and costs a few atomic stores; what is read may
//! be a moment old, never torn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use super::metrics::Metrics;
use super::supervise::breaker::Breaker;
use crate::protocol::StreamId;
use crate::protocol::admin::{BreakerStatus, Egress, StreamEgress, StreamRates};
use crate::protocol::throttle::SampleRate;

/// What one delivery worker measures of itself; all grow except `connections` and `slow_viewers`.
#[derive(Debug, Default)]
pub struct WorkerGauges {
    pub connections: AtomicU64,
    pub slow_viewers: AtomicU64,
    pub busy_us: AtomicU64,
    pub wall_us: AtomicU64,
    pub frames: AtomicU64,
    pub delivered: AtomicU64,
    pub bytes_out: AtomicU64,
}

/// What the broadcast stage measures of one stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamGauges {
    pub comments_per_second: f64,
    pub sample_rate: SampleRate,
    pub throttle_level: u8,
    pub throttle_override: Option<SampleRate>,
    pub received: u64,
    pub broadcast: u64,
    pub sampled_out: u64,
    pub deleted: u64,
}

/// The board. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StatusBoard {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    metrics: Metrics,
    ready: AtomicBool,
    draining: AtomicBool,
    workers: Mutex<Vec<Arc<WorkerGauges>>>,
    streams: Mutex<AHashMap<StreamId, StreamGauges>>,
    viewers: Mutex<AHashMap<StreamId, u64>>,
    egress: Mutex<Egress>,
    /// Streams that were shown in part: the share now, and the comments left out so far.
    stream_egress: Mutex<AHashMap<StreamId, (SampleRate, u64)>>,
    breakers: Mutex<Vec<Arc<Breaker>>>,
    rate_refusal_at_ms: AtomicU64,
}

impl StatusBoard {
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub fn set_ready(&self, ready: bool) {
        self.inner.ready.store(ready, Ordering::Release);
    }

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

    /// What the broadcast stage measures of every stream it has.
    pub fn stream_rates(&self) -> Vec<StreamRates> {
        let rates = |(stream_id, gauges): (&StreamId, &StreamGauges)| StreamRates {
            stream_id: *stream_id,
            comments_per_second: gauges.comments_per_second,
            sample_rate: gauges.sample_rate,
            throttle_level: gauges.throttle_level,
            throttle_override: gauges.throttle_override,
            received: gauges.received,
            broadcast: gauges.broadcast,
            sampled_out: gauges.sampled_out,
            deleted: gauges.deleted,
        };
        self.inner.streams.lock().iter().map(rates).collect()
    }

    /// Forgets streams whose broadcast stage runs elsewhere now.
    pub fn forget_streams(&self, streams: &[StreamId]) {
        self.inner.streams.lock().retain(|stream_id, _| !streams.contains(stream_id));
    }

    /// Viewers of all nodes, as presence last counted them.
    pub fn set_viewers(&self, viewers: AHashMap<StreamId, u64>) {
        *self.inner.viewers.lock() = viewers;
    }

    pub fn viewers(&self, stream_id: StreamId) -> u64 {
        self.inner.viewers.lock().get(&stream_id).copied().unwrap_or(0)
    }

    /// What the node sends, and what limits it.
    pub fn set_egress(&self, egress: Egress) {
        self.metrics().egress_limited_streams.set(egress.streams_lowered as i64);
        *self.inner.egress.lock() = egress;
    }

    pub fn egress(&self) -> Egress {
        self.inner.egress.lock().clone()
    }

    /// The share of a stream that this node shows now, and how many comments more it left out.
    pub fn set_stream_egress(&self, stream_id: StreamId, share: SampleRate, sampled_out: u64) {
        let mut streams = self.inner.stream_egress.lock();
        if share.is_all() && sampled_out == 0 && !streams.contains_key(&stream_id) {
            return;
        }
        let (shown, sum) = streams.entry(stream_id).or_insert((share, 0));
        *shown = share;
        *sum += sampled_out;
    }

    /// All streams that this node shows, or has shown, in part.
    pub fn stream_egress(&self) -> Vec<StreamEgress> {
        let row = |(&stream_id, &(share, sampled_out)): (&StreamId, &(SampleRate, u64))| {
            StreamEgress { stream_id, share, sampled_out }
        };
        self.inner.stream_egress.lock().iter().map(row).collect()
    }

    /// Viewers whose socket takes no more for now, of all workers.
    pub fn slow_viewers(&self) -> u64 {
        let workers = self.inner.workers.lock();
        workers.iter().map(|worker| worker.slow_viewers.load(Ordering::Relaxed)).sum()
    }

    /// A breaker for a dependency, shown on the board from now on.
    pub fn add_breaker(&self, dependency: &'static str) -> Arc<Breaker> {
        let breaker = Arc::new(Breaker::new(dependency));
        self.inner.breakers.lock().push(breaker.clone());
        breaker
    }

    pub fn breakers(&self) -> Vec<BreakerStatus> {
        self.inner.breakers.lock().iter().map(|breaker| breaker.status()).collect()
    }

    /// Adds the workers' gauges up into those that Prometheus reads.
    pub fn set_connection_gauges(&self) {
        let sum = |gauge: fn(&WorkerGauges) -> &AtomicU64| {
            let workers = self.inner.workers.lock();
            workers.iter().map(|worker| gauge(worker).load(Ordering::Relaxed)).sum::<u64>()
        };
        let metrics = self.metrics();
        metrics.connections.set(sum(|worker| &worker.connections) as i64);
        metrics.slow_viewers.set(sum(|worker| &worker.slow_viewers) as i64);
    }

    /// Connections of all workers.
    pub fn connections(&self) -> u64 {
        let workers = self.inner.workers.lock();
        workers.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).sum()
    }
}
