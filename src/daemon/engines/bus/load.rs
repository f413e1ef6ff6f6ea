//! The load that this node puts on each server of the bus, by shard, and whether the server
//! answers.
//!
//! Always holds: publishing costs a few atomic additions more. Rates are taken once per second; an
//! outage is known when it begins.
//! Bounded: one entry per server and shard, and readings of the last ten seconds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
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
    /// A single task waits for it, so one permit is enough.
    changed: Notify,
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
    /// The reasons why the server does not answer, by [`BusPath`].
    outages: [Option<String>; 2],
    /// When the server stopped or began to answer.
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

/// A use of a server, which has connections of its own. The server answers if it answers on both.
#[cfg(any(feature = "engines", test))]
#[derive(Debug, Clone, Copy)]
pub(super) enum BusPath {
    Publishing,
    Listening,
}

/// The shard that this node listens to, and its subscriptions on one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenedShard {
    pub(super) shard: u32,
    pub(super) subscriptions: u64,
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
                outages: [None, None],
                changed_at: Instant::now(),
                figures: None,
                readings: VecDeque::new(),
            }),
        };
        Self {
            servers: addresses.into_iter().map(server).collect(),
            latest: Mutex::default(),
            changed: Notify::new(),
        }
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

    /// Records that a server does not answer on a path, and why, or that it answers.
    #[cfg(any(feature = "engines", test))]
    pub(super) fn set_outage(&self, server: usize, path: BusPath, reason: Option<&str>) {
        let Some(server) = self.servers.get(server) else { return };
        let mut state = server.state.lock();
        let answered = state.outage().is_none();
        state.outages[path as usize] = reason.map(str::to_owned);
        if answered == state.outage().is_none() {
            return;
        }
        state.changed_at = Instant::now();
        drop(state);
        self.changed.notify_one();
    }

    /// Completes if a server has stopped or begun to answer since the last call completed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes a sample, once per second. `listened` returns what this node listens to on a server.
    pub(super) fn sample(&self, listened: impl Fn(usize) -> Option<ListenedShard>) {
        let now = Instant::now();
        let sampled = self.servers.iter().enumerate();
        let sampled = sampled.map(|(index, server)| server.sample(now, listened(index))).collect();
        *self.latest.lock() = sampled;
    }

    /// Returns whether the servers answer now, and their load as of the last sample; none before
    /// the first one.
    pub(super) fn servers(&self) -> Vec<BusNode> {
        let latest = self.latest.lock().clone();
        latest
            .into_iter()
            .zip(&self.servers)
            .map(|(node, server)| server.with_state(node))
            .collect()
    }
}

impl ServerState {
    /// Returns why the server does not answer.
    fn outage(&self) -> Option<&String> {
        self.outages.iter().flatten().next()
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

    fn with_state(&self, node: BusNode) -> BusNode {
        let state = self.state.lock();
        let error = state.outage().cloned();
        BusNode {
            state: if error.is_some() { BusNodeState::Fails } else { BusNodeState::Works },
            since_ms: state.changed_at.elapsed().as_millis() as u64,
            error,
            ..node
        }
    }

    fn sample(&self, now: Instant, listened: Option<ListenedShard>) -> BusNode {
        let reading = self.read(now);
        let mut state = self.state.lock();
        let figures = state.figures.filter(|(at, _)| now - *at < FIGURES_LIFETIME);
        let figures = figures.map(|(_, figures)| figures).unwrap_or_default();
        let last = state.readings.back();
        let elapsed = last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last.at));
        let shards = self.shards_since(last, &reading, elapsed, listened);
        let (messages, bytes) =
            reading.shards.iter().fold((0, 0), |sum, shard| (sum.0 + shard.0, sum.1 + shard.1));
        let long_ago = state.readings.front().map(|oldest| &oldest.duration);
        let none = LatencyHistogram::default();
        let node = BusNode {
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
        listened: Option<ListenedShard>,
    ) -> Vec<BusShard> {
        let shard = |(shard, (messages, bytes)): (u32, &(u64, u64))| {
            let before = last.map_or((*messages, *bytes), |last| last.shards[shard as usize]);
            let own = listened.filter(|own| own.shard == shard);
            let subscribers = own.map_or(0, |own| own.subscriptions);
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
        load.record(&call(0, 100, &[(1, 2)]));
        load.sample(|_| None);
        assert_eq!(load.servers()[0].messages_per_second, 0.0, "nothing is known about before");
        tokio::time::advance(Duration::from_secs(2)).await;
        for _ in 0..4 {
            load.record(&call(0, 100, &[(1, 3), (2, 0)]));
        }
        load.record(&call(1, 50, &[(3, 0)]));
        load.sample(|index| (index == 1).then_some(ListenedShard { shard: 0, subscriptions: 7 }));
        let [a, b] = load.servers().try_into().unwrap();
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
        load.sample(|_| None);
        tokio::time::advance(Duration::from_millis(60_400)).await;
        load.set_outage(0, BusPath::Publishing, Some("broken pipe"));
        let [a] = load.servers().try_into().unwrap();
        assert_eq!((a.state, a.since_ms), (BusNodeState::Fails, 0), "no sample is waited for");
        tokio::time::advance(Duration::from_secs(5)).await;
        load.set_outage(0, BusPath::Publishing, Some("refused"));
        let [a] = load.servers().try_into().unwrap();
        assert_eq!((a.state, a.since_ms), (BusNodeState::Fails, 5_000));
        assert_eq!(a.error.as_deref(), Some("refused"));
        tokio::time::advance(Duration::from_secs(1)).await;
        load.set_outage(0, BusPath::Publishing, None);
        let [a] = load.servers().try_into().unwrap();
        assert_eq!((a.state, a.since_ms, a.error), (BusNodeState::Works, 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_answers_if_it_does_on_both_paths() {
        let load = BusLoad::new(["a:1".into(), "b:2".into()], 1);
        load.sample(|_| None);
        load.set_outage(0, BusPath::Listening, Some("the connection was lost"));
        load.changed().await;
        load.set_outage(0, BusPath::Publishing, Some("refused"));
        load.set_outage(0, BusPath::Publishing, Some("refused again"));
        load.set_outage(0, BusPath::Listening, None);
        load.set_outage(1, BusPath::Listening, None);
        let changed = tokio::time::timeout(Duration::from_secs(1), load.changed()).await;
        assert!(changed.is_err(), "it was told once");
        let [a, b] = load.servers().try_into().unwrap();
        assert_eq!((a.state, a.error.as_deref()), (BusNodeState::Fails, Some("refused again")));
        assert_eq!(b.state, BusNodeState::Works);
        load.set_outage(0, BusPath::Publishing, None);
        load.changed().await;
        assert_eq!(load.servers()[0].state, BusNodeState::Works);
    }

    #[tokio::test(start_paused = true)]
    async fn old_figures_of_a_server_are_not_shown() {
        let load = BusLoad::new(["a:1".into()], 1);
        let figures = ServerFigures { memory_bytes: Some(7), ..ServerFigures::default() };
        load.set_figures(0, figures);
        load.sample(|_| None);
        assert_eq!(load.servers()[0].memory_bytes, Some(7));
        tokio::time::advance(FIGURES_LIFETIME).await;
        load.sample(|_| None);
        assert_eq!(load.servers()[0].memory_bytes, None);
    }
}
