//! Made-up feeds for tests. The same second always gives the same snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Alarm, Feed, Moment};
use crate::protocol::admin::{
    Alert, BreakerState, BreakerStatus, BusNode, BusNodeState, BusShard, ConsumerLag, CounterRates,
    Counters, DecidedCount, DecisionCounts, Egress, EgressLimit, Health, ModerationCounts,
    NodeRates, NodeStatus, PoolUse, ProcessStatus, RecentModeration, Severity, SilentNode,
    StageName, StageReport, StageStatus, StoreStatus, StreamStatus, TopSnapshot, WorkerStatus,
};
use crate::protocol::events::Decision;
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::room::{RoomRules, RoomSettings};
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

/// A moment of a feed of one snapshot.
pub(crate) fn moment(snapshot: TopSnapshot) -> Moment {
    let mut feed = Feed::default();
    feed.add(snapshot);
    Moment::clone(feed.latest().expect("the feed has a snapshot"))
}

/// A node that has just started and has nothing to do.
pub(crate) fn idle(uptime_ms: u64) -> TopSnapshot {
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
        stores: Vec::new(),
        streams: Vec::new(),
        workers: Vec::new(),
        lag: Vec::new(),
        moderation: ModerationCounts::default(),
        breakers: Vec::new(),
        nodes: vec![node("edge-1", "edge", 0, 20_000, uptime_ms)],
        unreachable: Vec::new(),
        silent: Vec::new(),
        problems: Vec::new(),
        thresholds: Default::default(),
    }
}

/// A busy cluster of two edges and a coordinator in which nothing is wrong.
pub(crate) fn healthy(second: u64) -> TopSnapshot {
    let uptime_ms = 11_520_000 + second * 1_000;
    let rate = 100.0 + (second % 12) as f64;
    let named = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    TopSnapshot {
        connections: 18_270,
        slow_viewers: 4,
        senders: 36,
        counters: Counters {
            refused: named(&[("rate_limited", 480), ("banned", 3), ("too_large", 7)]),
            ..Counters::default()
        },
        rates: CounterRates {
            received: rate,
            accepted: rate - 0.5,
            refused: 0.5,
            broadcast: rate - 1.0,
            delivered: rate * 4_000.0,
            late: rate,
            skipped: 12.0,
            bytes_in: 40_000.0,
            bytes_out: 21_000_000.0,
            connections_opened: 31.0,
            connections_closed: 28.0,
            archived: rate - 0.5,
            ..CounterRates::default()
        },
        stages: stages(rate),
        end_to_end: latencies(19, 84),
        bus: (11..14).map(|host| bus_server(host, second)).collect(),
        stores: vec![
            store("comment store", "cassandra", "10.0.4.2:9042", 24.0, None),
            store("metadata store", "postgres", "10.0.5.1:5432", 118.0, Some((3, 8))),
            store("recent cache", "redis", "10.0.3.11:6379, 10.0.3.12:6379", 206.0, None),
        ],
        streams: TITLES.iter().zip(1..).map(|(title, id)| stream(id, title)).collect(),
        workers: (0..2).map(|index| worker("edge-1", index, second)).collect(),
        lag: lag(40, 12, 0),
        moderation: ModerationCounts {
            checked: 23_400,
            accepted: 23_100,
            rejected: 210,
            shadow_banned: 2,
            flagged: 30,
            reasons: named(&[("blocked_word", 140), ("link", 60), ("flood", 42)]),
            queued: 0,
            recent: recent_moderation(),
        },
        breakers: ["comment store", "event log", "fan-out bus", "metadata store"]
            .map(|name| breaker(name, BreakerState::Closed, None, 11_520_000))
            .into(),
        nodes: vec![
            node("edge-1", "edge", 9_270, 20_000, uptime_ms),
            node("edge-2", "edge", 9_000, 20_000, uptime_ms),
            node("coord-1", "coordinator", 0, 0, uptime_ms),
        ],
        ..idle(uptime_ms)
    }
}

/// Six times as many comments are flagged as in the hour before.
fn recent_moderation() -> RecentModeration {
    let decided = |stage: &str, reason: &str, decision, count| DecidedCount {
        stage: stage.to_owned(),
        reason: reason.to_owned(),
        decision,
        count,
    };
    RecentModeration {
        minute: DecisionCounts { checked: 12_800, rejected: 90, shadow_banned: 0, flagged: 153 },
        hour: DecisionCounts {
            checked: 702_000,
            rejected: 4_900,
            shadow_banned: 2,
            flagged: 1_400,
        },
        decided: vec![
            decided("models", "high_toxicity", Decision::Flag, 131),
            decided("rules", "blocked_word", Decision::Reject, 71),
            decided("rules", "viewer_seller", Decision::Flag, 22),
            decided("rules", "link", Decision::Reject, 19),
        ],
    }
}

/// The main stream is throttled, another has a share set by hand.
pub(crate) fn throttled(second: u64) -> TopSnapshot {
    let mut snapshot = healthy(second);
    let share = |share| SampleRate::from_share(share).expect("a share");
    let main = &mut snapshot.streams[6];
    main.comments_per_second = 23_400.0;
    main.sample_rate = share(0.1);
    main.throttle_level = 2;
    main.viewers = 17_204;
    main.room = RoomSettings {
        rules: RoomRules { slow_ms: Some(5_000), ..RoomRules::default() },
        timeouts_ms: vec![60_000, 600_000, 86_400_000],
        ..RoomSettings::default()
    };
    snapshot.streams[4].sample_rate = share(0.025);
    snapshot.streams[4].throttle_override = Some(share(0.025));
    snapshot.rates.received = 23_450.0;
    snapshot.rates.accepted = 23_400.0;
    snapshot.rates.sampled_out = 21_060.0;
    snapshot.rates.broadcast = 2_340.0;
    snapshot
}

/// One edge sends all it may.
pub(crate) fn egress_limited(second: u64) -> TopSnapshot {
    let mut snapshot = healthy(second);
    snapshot.nodes[0].egress = Egress {
        sent_bytes_per_second: 91_000_000,
        wanted_bytes_per_second: 130_000_000,
        limited_by: Some(EgressLimit::Sockets),
        limit_bytes_per_second: Some(91_000_000),
        streams_lowered: 1,
    };
    snapshot.streams[7].egress_share = SampleRate::from_share(0.63).expect("a share");
    snapshot.streams[7].egress_sampled_out = second;
    snapshot
}

/// One of three Redis nodes does not answer.
pub(crate) fn redis_down(second: u64) -> TopSnapshot {
    let mut snapshot = healthy(second);
    let server = &mut snapshot.bus[1];
    server.state = BusNodeState::Fails;
    server.since_ms = 41_000;
    server.error = Some("broken pipe".to_owned());
    server.fails_for = vec![NodeId::new("edge-1"), NodeId::new("edge-2")];
    server.messages_per_second = 0.0;
    let error = Some("edge-1: broken pipe; 10.0.3.12:6379 does not answer since 09:46:07");
    snapshot.breakers[2] = breaker("fan-out bus", BreakerState::Open, error, 41_000);
    snapshot
}

/// The archiver falls behind.
pub(crate) fn lag_growing(second: u64) -> TopSnapshot {
    TopSnapshot { lag: lag(40, 12, 10_000 + second * 60), ..healthy(second) }
}

/// An edge that is silent from the 20th to the 24th second.
pub(crate) fn silent_and_back(second: u64) -> TopSnapshot {
    let mut snapshot = healthy(second);
    if (20..24).contains(&second) {
        snapshot.nodes.remove(1);
        snapshot.unreachable.push(NodeId::new("edge-2"));
        let seen_ms = 4_000 + (second - 20) * 1_000;
        snapshot.silent.push(SilentNode { node: NodeId::new("edge-2"), seen_ms });
        snapshot.connections = 9_270;
        snapshot.rates.delivered /= 2.0;
    }
    snapshot
}

/// Many streams.
pub(crate) fn streams(second: u64, count: u64) -> TopSnapshot {
    let title = |id| format!("Room {id}");
    let streams = (1..=count).map(|id| stream(id, &title(id)));
    TopSnapshot { streams: streams.collect(), ..healthy(second) }
}

/// The largest cluster that the console is made for.
pub(crate) fn large(second: u64) -> TopSnapshot {
    let uptime_ms = 11_520_000 + second * 1_000;
    let edge = |number: u64| {
        node(&format!("edge-{number:03}"), "edge", 34_000 + number, 50_000, uptime_ms)
    };
    let mut snapshot = streams(second, 5_000);
    snapshot.nodes = (1..=200).map(edge).collect();
    snapshot.workers = (1..=200)
        .flat_map(|number| (0..2).map(move |index| (number, index)))
        .map(|(number, index)| worker(&format!("edge-{number:03}"), index, second))
        .collect();
    snapshot.lag = (0..100).flat_map(|partition| lag_of(partition, second)).collect();
    snapshot.connections = snapshot.nodes.iter().map(|node| node.connections).sum();
    snapshot
}

fn lag_of(partition: u32, second: u64) -> [ConsumerLag; 2] {
    let of = |group: &str, lag| ConsumerLag {
        group: group.to_owned(),
        topic: "comment_events".to_owned(),
        partition,
        position: 1_000_000,
        end: 1_000_000 + lag,
        lag,
        ..ConsumerLag::default()
    };
    [of("archiver", u64::from(partition) * second % 17), of("moderator", 0)]
}

/// A latency of `middle` for most, and of `tail` milliseconds for a few.
fn latencies(middle: u64, tail: u64) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::default();
    histogram.record(Duration::from_millis(middle), 9_700);
    histogram.record(Duration::from_millis(tail), 300);
    histogram
}

fn stages(rate: f64) -> Vec<StageStatus> {
    let node = NodeId::new("edge-1");
    let of = |name, queue, queue_max, latency_ms| StageReport {
        name,
        items: 1_000,
        refused: 3,
        queue,
        queue_max,
        latency: latencies(latency_ms, latency_ms * 2),
        items_per_second: rate,
        refused_per_second: 0.5,
        recent: latencies(latency_ms, latency_ms * 2),
    };
    let reports = [
        of(StageName::Gateway, 9_270, 20_000, 20),
        of(StageName::Ingest, 3, 1_000, 4),
        of(StageName::Log, 2, 0, 2),
        of(StageName::Broadcast, 0, 0, 13),
        of(StageName::Bus, 0, 0, 19),
        of(StageName::Delivery, 1, 1_024, 15),
        of(StageName::Moderation, 40, 0, 30),
        of(StageName::Archive, 12, 0, 24),
    ];
    StageStatus::of_cluster([(&node, &reports[..])])
}

/// An alarm of a rule.
pub(crate) fn alarm(rule: &str) -> Alarm {
    Alarm::of_daemon(&alert(rule, "", &["edge-1"]), START, 3)
}

/// An alert as the daemon tells it.
pub(crate) fn alert(rule: &str, subject: &str, nodes: &[&str]) -> Alert {
    Alert {
        id: Alert::id_of(rule, subject),
        rule: rule.to_owned(),
        subject: subject.to_owned(),
        severity: Severity::Warning,
        since_ms: 41_000,
        nodes: nodes.iter().copied().map(NodeId::new).collect(),
        viewers: 18_270,
        effect: "comments go through the log".to_owned(),
        next: "lc shards".to_owned(),
        value: None,
        threshold: None,
        acked_by: None,
    }
}

fn bus_server(host: u64, second: u64) -> BusNode {
    let shard = |shard: u32| BusShard {
        shard,
        messages_per_second: 25.0 + f64::from(shard),
        bytes_per_second: 100_000.0 * f64::from(shard + 1),
        messages: 1_000 * second,
        bytes: 4_000_000 * second,
        subscribers: 12,
        nodes: vec![NodeId::new("edge-1"), NodeId::new("edge-2")],
    };
    BusNode {
        since_ms: 11_520_000 + second * 1_000,
        calls_per_second: 100.0,
        messages_per_second: 206.0,
        bytes_per_second: 1_000_000.0,
        publish: latencies(1, 2),
        shards: (0..8).map(shard).collect(),
        memory_bytes: Some(300_000_000),
        clients: Some(41),
        cut_off: Some(0),
        ..BusNode::new(format!("10.0.3.{host}:6379"))
    }
}

fn stream(id: u64, title: &str) -> StreamStatus {
    let live = !matches!(id, 2 | 3 | 11);
    StreamStatus {
        stream_id: StreamId(id),
        title: title.to_owned(),
        description: String::new(),
        starts_at: None,
        started_at: None,
        ended_at: None,
        state: match id {
            2 | 3 => StreamState::Ended,
            11 => StreamState::Scheduled,
            _ => StreamState::Live,
        },
        anonymous: id != 10,
        moderation: if id == 6 { ModerationMode::Sync } else { ModerationMode::Async },
        viewers: if id == 7 { 17_204 } else { 1_200 / id },
        comments_per_second: match id {
            7 => 84.0,
            _ if live => (700 / id) as f64 / 100.0,
            _ => 0.0,
        },
        sample_rate: SampleRate::ALL,
        throttle_level: 0,
        egress_share: SampleRate::ALL,
        egress_sampled_out: 0,
        throttle_override: None,
        throttle_until_ms: None,
        received: 1_000 * id,
        broadcast: 1_000 * id,
        sampled_out: 0,
        deleted: id * 3,
        reactions: [("fire".to_owned(), 15_000), ("heart".to_owned(), 8_000)].into(),
        room: Default::default(),
    }
}

fn worker(name: &str, index: u32, second: u64) -> WorkerStatus {
    let busy_per_second = if index == 0 { 634_000 } else { 410_000 };
    WorkerStatus {
        node: NodeId::new(name),
        worker: index,
        connections: 4_600 + u64::from(index),
        slow_viewers: 4 * u64::from(index),
        busy_us: second * busy_per_second,
        wall_us: second * 1_000_000,
        frames: second * 40,
        delivered: second * 2_900,
        bytes_out: second * 10_000_000,
    }
}

/// The lags of the coordinator, the moderator and the archiver.
fn lag(moderator: u64, coordinator: u64, archiver: u64) -> Vec<ConsumerLag> {
    let partition = |group: &str, partition, lag| ConsumerLag {
        group: group.to_owned(),
        topic: "comment_events".to_owned(),
        partition,
        position: 1_000_000,
        end: 1_000_000 + lag,
        lag,
        oldest_ms: Some(lag * 5),
        owner: Some(NodeId::new(&format!("coord-{}", 1 + partition % 2))),
        ..ConsumerLag::default()
    };
    let mut lags: Vec<_> = (0..8).map(|number| partition("coordinator", number, 0)).collect();
    lags[3] = partition("coordinator", 3, coordinator);
    lags.extend((0..8).map(|number| partition("archiver", number, archiver / 8)));
    lags.push(partition("moderator", 0, moderator));
    lags
}

/// A store; `pool` has the connections used and the most that may be.
fn store(
    contract: &str,
    engine: &str,
    address: &str,
    calls_per_second: f64,
    pool: Option<(u64, u64)>,
) -> StoreStatus {
    StoreStatus {
        contract: contract.to_owned(),
        engine: engine.to_owned(),
        address: address.to_owned(),
        nodes: 3,
        calls: 90_000,
        failed: 0,
        calls_per_second,
        failed_per_second: 0.0,
        latency: latencies(4, 24),
        pool: pool.map(|(in_use, max)| PoolUse { in_use, max }),
        breaker: None,
    }
}

fn breaker(
    dependency: &str,
    state: BreakerState,
    last_error: Option<&str>,
    since_ms: u64,
) -> BreakerStatus {
    BreakerStatus {
        dependency: dependency.to_owned(),
        state,
        last_error: last_error.map(str::to_owned),
        since_ms,
    }
}

fn node(name: &str, role: &str, connections: u64, places: u64, uptime_ms: u64) -> NodeStatus {
    NodeStatus {
        node: NodeId::new(name),
        roles: vec![role.to_owned()],
        version: "0.1.0".into(),
        listen: "0.0.0.0:8080".into(),
        uptime_ms,
        connections,
        senders: 0,
        transports: Default::default(),
        max_connections: places,
        draining: false,
        health: Health::Well,
        seen_ms: 0,
        partitions: BTreeMap::new(),
        egress: Egress { sent_bytes_per_second: 10_500_000, ..Egress::default() },
        process: ProcessStatus {
            started_at: START - 1_000,
            cpu: Some(1.5),
            cores: Some(4),
            rss_bytes: Some(1_900_000_000),
            memory_bytes: Some(32_000_000_000),
            files: Some(connections + 40),
            files_max: Some(1_048_576),
            disk_free_bytes: Some(60_000_000_000),
            clock_ms: Some(1),
            ..ProcessStatus::default()
        },
        rates: NodeRates {
            connections_opened: 15.0,
            connections_closed: 14.0,
            delivered: 200_000.0,
            late: 50.0,
            skipped: 6.0,
            bytes_out: 10_500_000.0,
        },
    }
}
