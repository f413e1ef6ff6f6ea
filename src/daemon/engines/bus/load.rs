//! The load that this node puts on each server of the bus, by shard, and whether the server
//! answers.
//!
//! Always holds: publishing costs a few atomic additions more. Rates are taken once per second.
//! Bounded: one entry per server and shard, and readings of the last ten seconds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::daemon::base::telemetry::LatencyRecorder;
use crate::protocol::admin::{BusNode, BusNodeState, BusShard, per_second};
use crate::protocol::latency::LatencyHistogram;

/// Samples that the durations of recent calls are taken over.
const RECENT_SAMPLES: usize = 10;
/// Figures that a server has told about itself are shown this long. One of the nodes asks more
/// often.
const FIGURES_LIFETIME: Duration = Duration::from_secs(12);

/// All servers of the bus.
#[derive(Debug)]
pub(super) struct BusLoad {
    servers: Vec<ServerLoad>,
    latest: Mutex<Vec<BusNode>>,
}

#[derive(Debug)]
struct ServerLoad {
    address: Arc<str>,
    calls: AtomicU64,
    duration: LatencyRecorder,
    shards: Box<[ShardLoad]>,
    state: Mutex<ServerState>,
}

#[derive(Debug, Default)]
struct ShardLoad {
    messages: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct ServerState {
    /// The reason why the server does not answer.
    outage: Option<String>,
    /// When that began or ended.
    changed_at: Instant,
    figures: Option<(Instant, ServerFigures)>,
    /// Oldest first.
    readings: VecDeque<Reading>,
}

/// The figures that a server tells about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ServerFigures {
    pub(super) memory_bytes: Option<u64>,
    pub(super) clients: Option<u64>,
    pub(super) cut_off: Option<u64>,
}

/// The state of a server at the time of a sample, as this node sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerObservation {
    pub(super) outage: Option<String>,
    /// The shard that this node listens to, and its subscriptions on the server.
    pub(super) listening: Option<(u32, u64)>,
}

/// A reading of everything that only grows.
#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    calls: u64,
    duration: LatencyHistogram,
    /// Messages and bytes, by shard.
    shards: Vec<(u64, u64)>,
}

/// A publication on one server.
#[derive(Debug)]
pub(super) struct Publication<'a> {
    pub(super) server: usize,
    pub(super) duration: Duration,
    /// Size of the message.
    pub(super) bytes: u64,
    /// The shards published to, each with its number of listeners.
    pub(super) listeners: &'a [(u32, u64)],
}

impl BusLoad {
    pub(super) fn new(addresses: impl IntoIterator<Item = Arc<str>>, shards: u32) -> Self {
        let server = |address: Arc<str>| ServerLoad {
            address,
            calls: AtomicU64::new(0),
            duration: LatencyRecorder::default(),
            shards: (0..shards).map(|_| ShardLoad::default()).collect(),
            state: Mutex::new(ServerState {
                outage: None,
                changed_at: Instant::now(),
                figures: None,
                readings: VecDeque::new(),
            }),
        };
        Self { servers: addresses.into_iter().map(server).collect(), latest: Mutex::default() }
    }

    /// Counts a call that the server answered.
    pub(super) fn record(&self, publication: &Publication<'_>) {
        let Publication { server, duration, bytes, listeners } = publication;
        let Some(server) = self.servers.get(*server) else { return };
        server.calls.fetch_add(1, Ordering::Relaxed);
        server.duration.record(*duration, 1);
        for (shard, count) in listeners.iter().filter(|(_, count)| *count > 0) {
            if let Some(shard) = server.shards.get(*shard as usize) {
                shard.messages.fetch_add(1, Ordering::Relaxed);
                shard.bytes.fetch_add(bytes * count, Ordering::Relaxed);
            }
        }
    }

    /// Only servers of their own tell such figures.
    #[cfg(any(feature = "engines", test))]
    pub(super) fn set_figures(&self, server: usize, figures: ServerFigures) {
        if let Some(server) = self.servers.get(server) {
            server.state.lock().figures = Some((Instant::now(), figures));
        }
    }

    /// Takes a sample, once per second.
    pub(super) fn sample(&self, observe: impl Fn(usize) -> ServerObservation) {
        let now = Instant::now();
        let sampled = self.servers.iter().enumerate();
        let sampled = sampled.map(|(index, server)| server.sample(now, observe(index))).collect();
        *self.latest.lock() = sampled;
    }

    /// Returns the servers as of the last sample.
    pub(super) fn latest(&self) -> Vec<BusNode> {
        self.latest.lock().clone()
    }
}

impl ServerLoad {
    fn read(&self, at: Instant) -> Reading {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reading {
            at,
            calls: load(&self.calls),
            duration: self.duration.read(),
            shards: self.shards.iter().map(|of| (load(&of.messages), load(&of.bytes))).collect(),
        }
    }

    fn sample(&self, now: Instant, observed: ServerObservation) -> BusNode {
        let reading = self.read(now);
        let ServerObservation { outage, listening } = observed;
        let mut state = self.state.lock();
        if state.outage.is_some() != outage.is_some() {
            state.changed_at = now;
        }
        state.outage.clone_from(&outage);
        let figures = state.figures.filter(|(at, _)| now - *at < FIGURES_LIFETIME);
        let figures = figures.map(|(_, figures)| figures).unwrap_or_default();
        let last = state.readings.back();
        let elapsed = last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last.at));
        let shards = self.shards_since(last, &reading, elapsed, listening);
        let (messages, bytes) =
            reading.shards.iter().fold((0, 0), |sum, shard| (sum.0 + shard.0, sum.1 + shard.1));
        let long_ago = state.readings.front().map(|oldest| &oldest.duration);
        let none = LatencyHistogram::default();
        let node = BusNode {
            state: if outage.is_some() { BusNodeState::Fails } else { BusNodeState::Works },
            since_ms: now.saturating_duration_since(state.changed_at).as_millis() as u64,
            error: outage,
            calls_per_second: per_second(
                last.map_or(reading.calls, |last| last.calls),
                reading.calls,
                elapsed,
            ),
            messages_per_second: shards.iter().map(|shard| shard.messages_per_second).sum(),
            bytes_per_second: shards.iter().map(|shard| shard.bytes_per_second).sum(),
            messages,
            bytes,
            publish: reading.duration.since(long_ago.unwrap_or(&none)),
            shards,
            memory_bytes: figures.memory_bytes,
            clients: figures.clients,
            cut_off: figures.cut_off,
            ..BusNode::new(self.address.to_string())
        };
        if state.readings.len() == RECENT_SAMPLES {
            state.readings.pop_front();
        }
        state.readings.push_back(reading);
        node
    }

    /// Returns the shards with traffic since the start or subscriptions now.
    fn shards_since(
        &self,
        last: Option<&Reading>,
        now: &Reading,
        elapsed: Duration,
        listening: Option<(u32, u64)>,
    ) -> Vec<BusShard> {
        let shard = |(shard, (messages, bytes)): (u32, &(u64, u64))| {
            let before = last.map_or((*messages, *bytes), |last| last.shards[shard as usize]);
            let own = listening.filter(|(own, _)| *own == shard);
            let subscribers = own.map_or(0, |(_, subscriptions)| subscriptions);
            let is_used = *messages > 0 || subscribers > 0;
            is_used.then(|| BusShard {
                shard,
                messages_per_second: per_second(before.0, *messages, elapsed),
                bytes_per_second: per_second(before.1, *bytes, elapsed),
                messages: *messages,
                bytes: *bytes,
                subscribers,
                nodes: Vec::new(),
            })
        };
        (0..).zip(&now.shards).filter_map(shard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(server: usize, bytes: u64, listeners: &[(u32, u64)]) -> Publication<'_> {
        Publication { server, duration: Duration::from_millis(2), bytes, listeners }
    }

    #[tokio::test(start_paused = true)]
    async fn load_is_counted_by_server_and_shard() {
        let load = BusLoad::new(["a:1".into(), "b:2".into()], 4);
        let nothing = |_| ServerObservation::default();
        load.record(&call(0, 100, &[(1, 2)]));
        load.sample(nothing);
        assert_eq!(load.latest()[0].messages_per_second, 0.0, "nothing is known about before");
        tokio::time::advance(Duration::from_secs(2)).await;
        for _ in 0..4 {
            load.record(&call(0, 100, &[(1, 3), (2, 0)]));
        }
        load.record(&call(1, 50, &[(3, 0)]));
        load.sample(|index| ServerObservation {
            listening: (index == 1).then_some((0, 7)),
            ..ServerObservation::default()
        });
        let [a, b] = load.latest().try_into().unwrap();
        assert_eq!((a.calls_per_second, a.messages_per_second), (2.0, 2.0));
        assert_eq!((a.bytes_per_second, a.messages, a.bytes), (600.0, 5, 1_400));
        let used: Vec<_> = a.shards.iter().map(|shard| shard.shard).collect();
        assert_eq!(used, [1], "shard 2 has no listeners");
        assert_eq!(a.publish.count(), 4, "one call was before the first sample");
        assert_eq!((b.calls_per_second, b.messages_per_second), (0.5, 0.0));
        assert_eq!((b.shards[0].shard, b.shards[0].subscribers), (0, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_has_its_beginning() {
        let load = BusLoad::new(["a:1".into()], 1);
        let observe = |outage: Option<&'static str>| {
            move |_| ServerObservation {
                outage: outage.map(str::to_owned),
                ..ServerObservation::default()
            }
        };
        load.sample(observe(None));
        tokio::time::advance(Duration::from_secs(60)).await;
        load.sample(observe(Some("broken pipe")));
        tokio::time::advance(Duration::from_secs(5)).await;
        load.sample(observe(Some("refused")));
        let [a] = load.latest().try_into().unwrap();
        assert_eq!((a.state, a.since_ms), (BusNodeState::Fails, 5_000));
        assert_eq!(a.error.as_deref(), Some("refused"));
        tokio::time::advance(Duration::from_secs(1)).await;
        load.sample(observe(None));
        let [a] = load.latest().try_into().unwrap();
        assert_eq!((a.state, a.since_ms, a.error), (BusNodeState::Works, 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn old_figures_of_a_server_are_not_shown() {
        let load = BusLoad::new(["a:1".into()], 1);
        let figures = ServerFigures { memory_bytes: Some(7), ..ServerFigures::default() };
        load.set_figures(0, figures);
        load.sample(|_| ServerObservation::default());
        assert_eq!(load.latest()[0].memory_bytes, Some(7));
        tokio::time::advance(FIGURES_LIFETIME).await;
        load.sample(|_| ServerObservation::default());
        assert_eq!(load.latest()[0].memory_bytes, None);
    }
}
