//! Sample snapshots for tests. The same second always gives the same snapshot.

use std::collections::BTreeMap;

use super::state::Console;
use crate::protocol::admin::{
    BreakerState, BreakerStatus, ConsumerLag, CounterRates, Counters, Egress, EgressLimit,
    ModerationCounts, NodeRates, NodeStatus, ProcessStatus, StreamStatus, TopSnapshot,
    WorkerStatus,
};
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::stream::{ModerationMode, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{NodeId, StreamId};

const START: u64 = 1_795_254_408_000;
const TITLES: [&str; 12] = [
    "Lobby",
    "Opening ceremony",
    "Quarter final A",
    "Quarter final B",
    "Semi final",
    "Press conference",
    "Grand final, main stage",
    "决赛直播间",
    "Developers talk",
    "Backstage",
    "Rehearsal",
    "An event whose title is longer than any column that a reasonable terminal has for it",
];

/// A snapshot of an idle daemon.
pub(super) fn idle(uptime_ms: u64) -> TopSnapshot {
    TopSnapshot {
        taken_at: START + uptime_ms,
        node: NodeId::new("edge-1"),
        version: "0.1.0".into(),
        uptime_ms,
        draining: false,
        connections: 0,
        slow_viewers: 0,
        senders: 0,
        counters: Counters::default(),
        rates: CounterRates::default(),
        stages: Vec::new(),
        end_to_end: LatencyHistogram::default(),
        bus: Vec::new(),
        streams: Vec::new(),
        workers: Vec::new(),
        lag: Vec::new(),
        moderation: ModerationCounts::default(),
        breakers: Vec::new(),
        nodes: Vec::new(),
        unreachable: Vec::new(),
        problems: Vec::new(),
    }
}

/// A snapshot of a busy daemon, after so many seconds of watching it.
pub(super) fn snapshot(second: u64) -> TopSnapshot {
    let wave = |amplitude: u64| total(second, amplitude);
    let named = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let counters = Counters {
        received: wave(24_000),
        accepted: wave(23_400),
        refused: named(&[("rate_limited", wave(480)), ("banned", wave(3)), ("too_large", 7)]),
        broadcast: wave(2_900),
        sampled_out: wave(20_500),
        egress_sampled_out: second,
        delivered: wave(2_900) * 9_000,
        late: wave(2_900) * 30,
        skipped: second * second * 40,
        deleted: wave(12),
        reactions: wave(900),
        bytes_in: wave(4_000_000),
        bytes_out: wave(90_000_000),
        connections_opened: 18_234 + second * 31,
        connections_closed: named(&[("normal", second * 28), ("slow_consumer", second / 7)]),
        connections_refused: named(&[("connection_rate", second * 12)]),
        archived: wave(23_300),
        dead_letters: second / 20,
        bus_lost: 0,
        catch_up_reads: second * 2,
    };
    TopSnapshot {
        connections: 18_234 + second * 3,
        slow_viewers: 41,
        counters,
        streams: TITLES.iter().zip(1..).map(|(title, id)| stream(id, title, second)).collect(),
        workers: (0..2).map(|index| worker(index, second)).collect(),
        lag: lag(second),
        moderation: ModerationCounts {
            checked: wave(23_400),
            accepted: wave(23_100),
            rejected: wave(210),
            shadow_banned: wave(2),
            flagged: wave(30),
            reasons: named(&[("blocked_word", wave(140)), ("link", wave(60)), ("flood", wave(42))]),
            queued: 17,
        },
        breakers: breakers(second),
        nodes: ["edge-1", "edge-2"].map(|name| node(name, second)).into(),
        unreachable: vec![NodeId::new("edge-3")],
        ..idle(11_520_000 + second * 1_000)
    }
}

/// A console that has watched a busy daemon for a minute.
pub(super) fn busy() -> Console {
    let mut console = Console::default();
    for second in 0..=60 {
        console.add_snapshot(snapshot(second));
    }
    console
}

/// The total after so many seconds of a rate that varies between a third of `amplitude` and all
/// of it.
fn total(second: u64, amplitude: u64) -> u64 {
    const SWING: [u64; 12] = [4, 5, 7, 9, 11, 12, 12, 11, 8, 6, 5, 4];
    let cycles = second / 12 * SWING.iter().sum::<u64>();
    let rest: u64 = SWING[..(second % 12) as usize].iter().sum();
    (cycles + rest) * amplitude / 12
}

fn stream(id: u64, title: &str, second: u64) -> StreamStatus {
    let rate = if id == 7 { 23_400.0 } else { 0.7 * (13 - id) as f64 };
    StreamStatus {
        stream_id: StreamId(id),
        title: title.to_owned(),
        state: match id {
            2 | 3 => StreamState::Ended,
            11 => StreamState::Scheduled,
            _ => StreamState::Live,
        },
        anonymous: id != 10,
        moderation: if id == 6 { ModerationMode::Sync } else { ModerationMode::Async },
        viewers: if id == 7 { 17_204 } else { 120 / id },
        comments_per_second: if matches!(id, 2 | 3 | 11) { 0.0 } else { rate },
        sample_rate: match id {
            7 => SampleRate::from_share(0.1).unwrap(),
            5 => SampleRate::from_share(0.025).unwrap(),
            _ => SampleRate::ALL,
        },
        throttle_level: if id == 7 { 2 } else { 0 },
        egress_share: match id {
            8 => SampleRate::from_share(0.63).unwrap(),
            _ => SampleRate::ALL,
        },
        egress_sampled_out: if id == 8 { second } else { 0 },
        throttle_override: (id == 5).then(|| SampleRate::from_share(0.025).unwrap()),
        received: total(second, rate as u64 + 1),
        broadcast: total(second, rate as u64 / 8 + 1),
        sampled_out: if id == 7 { total(second, 20_500) } else { 0 },
        deleted: id * 3,
        reactions: [("fire".to_owned(), 15_000 + second), ("heart".to_owned(), 8_000)].into(),
    }
}

fn worker(index: u32, second: u64) -> WorkerStatus {
    let busy_per_second = if index == 0 { 934_000 } else { 410_000 };
    WorkerStatus {
        node: NodeId::new("edge-1"),
        worker: index,
        connections: 9_117 + u64::from(index),
        slow_viewers: 41 * u64::from(index),
        busy_us: second * busy_per_second,
        wall_us: second * 1_000_000,
        frames: second * 40,
        delivered: total(second, 2_900) * 4_500,
        bytes_out: total(second, 45_000_000),
    }
}

fn lag(second: u64) -> Vec<ConsumerLag> {
    let partition = |group: &str, topic: &str, partition, lag| ConsumerLag {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        position: 1_000_000,
        end: 1_000_000 + lag,
        lag,
        expired: 0,
    };
    vec![
        partition("broadcast", "comment_events", 0, 0),
        partition("archiver", "comment_events", 0, second * 120),
        partition("archiver", "comment_events", 7, second * 3),
        partition("moderation", "comment_events", 0, 260_u64.saturating_sub(second)),
        partition("analytics", "analytics_events", 0, 12),
    ]
}

fn breakers(second: u64) -> Vec<BreakerStatus> {
    let breaker = |dependency: &str, state, last_error: Option<&str>, since_ms| BreakerStatus {
        dependency: dependency.to_owned(),
        state,
        last_error: last_error.map(str::to_owned),
        since_ms,
    };
    vec![
        breaker("event log", BreakerState::Closed, None, 11_520_000),
        breaker("bus", BreakerState::Closed, Some("an old error"), 11_520_000),
        breaker("comment store", BreakerState::Open, Some("disk I/O error"), second * 1_000),
        breaker("metadata", BreakerState::HalfOpen, Some("timed out"), 1_200),
    ]
}

fn node(name: &str, second: u64) -> NodeStatus {
    NodeStatus {
        node: NodeId::new(name),
        roles: vec!["edge".into()],
        version: "0.1.0".into(),
        listen: "0.0.0.0:8080".into(),
        uptime_ms: 11_520_000 + second * 1_000,
        connections: if name == "edge-1" { 18_234 + second * 3 } else { 1_250 },
        max_connections: 20_000,
        draining: name == "edge-2",
        egress: Egress {
            sent_bytes_per_second: 90_000_000,
            wanted_bytes_per_second: 130_000_000,
            limited_by: (name == "edge-1").then_some(EgressLimit::Sockets),
            limit_bytes_per_second: (name == "edge-1").then_some(91_000_000),
            streams_lowered: u64::from(name == "edge-1"),
        },
        process: ProcessStatus::default(),
        rates: NodeRates::default(),
    }
}
