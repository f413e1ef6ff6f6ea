//! The promises of every engine of [`super::ConnectionRegistry`]: `registry_suite!(open())` tests a
//! [`Member`] that has not reported, and `shared_registry_suite!(open_pair())` a [`Pair`] that has,
//! for engines that several processes share; see [`crate::daemon::testing::engine_suite`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use super::{ALIVE_FOR, CommandHandler, KnownNode, NodeCommand, RegistryError, SharedRegistry};
use crate::protocol::admin::{
    Alert, AlertAck, BusNode, ConnectionInfo, CounterRates, Counters, Egress, EgressLimit,
    EventItem, EventKind, Health, ModerationCounts, NodeRates, NodeReport, NodeStatus, PoolUse,
    ProcessStatus, RefusedUser, SameText, Severity, StageName, StageReport, StoreStatus,
    StreamEgress, StreamRates, Talkers, TransportKind,
};
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{CloseCode, NodeId, Role, StreamId, UserId};

/// A handler that records its commands and answers that each touched three connections.
#[derive(Debug, Default)]
pub(crate) struct RecordingHandler {
    commands: Mutex<Vec<NodeCommand>>,
}

impl RecordingHandler {
    pub(crate) fn commands(&self) -> Vec<NodeCommand> {
        self.commands.lock().clone()
    }
}

#[async_trait]
impl CommandHandler for RecordingHandler {
    async fn handle(&self, command: NodeCommand) -> u64 {
        self.commands.lock().push(command);
        3
    }
}

macro_rules! registry_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::registry::conformance],
                connections_are_found_oldest_first_until_removed,
                a_connection_keeps_its_role_until_removed,
                removing_a_missing_connection_is_no_error,
                the_limit_holds_against_racing_connections,
                a_limit_of_zero_is_none,
                viewer_counts_replace_those_before,
                the_node_knows_itself,
                commands_reach_only_known_nodes,
        }
    };
}
pub(crate) use registry_suite;

macro_rules! shared_registry_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::registry::conformance],
                both_nodes_are_listed_with_their_reports,
                a_connection_is_found_from_every_node,
                a_role_is_known_on_every_node,
                the_limit_counts_the_connections_of_all_nodes,
                viewers_are_added_up_over_nodes,
                a_command_reaches_only_its_node,
                leaving_removes_all_of_a_node,
                a_silent_node_is_dead_until_it_reports,
                a_restarted_node_has_no_connections,
        }
    };
}
pub(crate) use shared_registry_suite;

pub(crate) fn connection(node: &NodeId, stream: u64, connected_at: u64) -> ConnectionInfo {
    let stream_id = StreamId(stream);
    ConnectionInfo {
        node: node.clone(),
        stream_id,
        connected_at,
        role: Role::Viewer,
        transport: TransportKind::Websocket,
        address: None,
        everywhere: Role::Viewer,
    }
}

/// Connections of each role, the oldest first.
fn of_each_role(node: &NodeId) -> Vec<ConnectionInfo> {
    let transports = TransportKind::ALL.into_iter().cycle();
    let address = |at: u64| (at != 1).then(|| [192, 0, 2, at as u8].into());
    let of_role = |((at, role), transport)| ConnectionInfo {
        role,
        transport,
        address: address(at),
        everywhere: if at.is_multiple_of(2) { role } else { Role::Viewer },
        ..connection(node, 1, at)
    };
    (1..).zip(Role::ALL).zip(transports).map(of_role).collect()
}

pub(crate) async fn connections_are_found_oldest_first_until_removed(
    Member { registry, node, .. }: &Member,
) {
    let user = UserId(42);
    assert_eq!(registry.locate(user).await.unwrap(), []);
    let newer = connection(node, 1, 2000);
    let older = connection(node, 2, 1000);
    let newer_id = registry.register(user, newer.clone(), 20).await.unwrap();
    let older_id = registry.register(user, older.clone(), 20).await.unwrap();
    registry.register(UserId(43), connection(node, 3, 1), 20).await.unwrap();
    assert_eq!(registry.locate(user).await.unwrap(), [older, newer.clone()]);
    registry.unregister(user, older_id).await.unwrap();
    assert_eq!(registry.locate(user).await.unwrap(), [newer]);
    registry.unregister(user, newer_id).await.unwrap();
    assert_eq!(registry.locate(user).await.unwrap(), []);
    assert_eq!(registry.locate(UserId(43)).await.unwrap().len(), 1);
}

pub(crate) async fn a_connection_keeps_its_role_until_removed(
    Member { registry, node, .. }: &Member,
) {
    let user = UserId(42);
    let held = of_each_role(node);
    let mut ids = Vec::new();
    for connection in held.clone() {
        ids.push(registry.register(user, connection, 20).await.unwrap());
    }
    assert_eq!(registry.locate(user).await.unwrap(), held);
    for (at, id) in ids.into_iter().enumerate() {
        registry.unregister(user, id).await.unwrap();
        assert_eq!(registry.locate(user).await.unwrap(), held[at + 1..]);
    }
}

pub(crate) async fn removing_a_missing_connection_is_no_error(
    Member { registry, node, .. }: &Member,
) {
    let id = registry.register(UserId(1), connection(node, 1, 1), 0).await.unwrap();
    registry.unregister(UserId(2), id).await.unwrap();
    assert_eq!(registry.locate(UserId(1)).await.unwrap().len(), 1, "another user's");
    registry.unregister(UserId(1), id).await.unwrap();
    registry.unregister(UserId(1), id).await.unwrap();
}

pub(crate) async fn the_limit_holds_against_racing_connections(
    Member { registry, node, .. }: &Member,
) {
    const LIMIT: u32 = 5;
    let user = UserId(7);
    let attempts = (0..50).map(|n| {
        let registry = registry.clone();
        let connection = connection(node, 1, n);
        tokio::spawn(async move { registry.register(user, connection, LIMIT).await })
    });
    let outcomes: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    let (held, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(held.len(), LIMIT as usize);
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert!(matches!(error, RegistryError::TooManyConnections(LIMIT)), "{error}");
    }
    let id = *held[0].as_ref().unwrap();
    registry.unregister(user, id).await.unwrap();
    registry.register(user, connection(node, 1, 99), LIMIT).await.expect("one place is free again");
}

pub(crate) async fn a_limit_of_zero_is_none(Member { registry, node, .. }: &Member) {
    for n in 0..100 {
        registry.register(UserId(8), connection(node, 1, n), 0).await.unwrap();
    }
    assert_eq!(registry.locate(UserId(8)).await.unwrap().len(), 100);
}

pub(crate) async fn viewer_counts_replace_those_before(Member { registry, node, .. }: &Member) {
    assert_eq!(registry.viewers().await.unwrap(), []);
    registry.report_viewers(node, vec![(StreamId(1), 5), (StreamId(2), 7)]).await.unwrap();
    registry.report_viewers(node, vec![(StreamId(2), 3), (StreamId(3), 0)]).await.unwrap();
    assert_eq!(registry.viewers().await.unwrap(), [(StreamId(2), 3)]);
    registry.report_viewers(node, vec![]).await.unwrap();
    assert_eq!(registry.viewers().await.unwrap(), []);
}

pub(crate) async fn the_node_knows_itself(Member { registry, node, .. }: &Member) {
    let known = registry.nodes().await.unwrap();
    let [this] = known.as_slice() else { panic!("one node is known, not {known:?}") };
    assert_eq!((&this.node, &this.report), (node, &None), "before its first report");
    let report = report(node);
    registry.report(report.clone()).await.unwrap();
    let known = registry.nodes().await.unwrap();
    let expected = KnownNode { node: node.clone(), alive: true, report: Some(Arc::new(report)) };
    assert_eq!(known, [expected]);
}

fn latency(count: u64) -> LatencyHistogram {
    let mut latency = LatencyHistogram::default();
    latency.record(Duration::from_millis(9), count);
    latency
}

/// A report with something in every field.
pub(crate) fn report(node: &NodeId) -> NodeReport {
    NodeReport {
        alerts: vec![Alert {
            id: "draining".to_owned(),
            rule: "draining".to_owned(),
            subject: String::new(),
            severity: Severity::Warning,
            since_ms: 12,
            nodes: vec![node.clone()],
            viewers: 7,
            effect: "it drains".to_owned(),
            next: String::new(),
            value: Some(0.5),
            threshold: None,
            acked_by: None,
        }],
        acks: vec![AlertAck {
            id: "draining".to_owned(),
            by: "ann".to_owned(),
            at: 3,
            shown: vec![7],
        }],
        events: vec![EventItem {
            id: 4,
            at: 3,
            node: node.clone(),
            kind: EventKind::Node,
            subject: node.to_string(),
            text: "drains".to_owned(),
            audit_id: Some(9),
        }],
        talkers: vec![Talkers {
            window_ms: 300_000,
            said: 9,
            texts: vec![SameText {
                id: 4_000_000_000,
                text: "cheap followers".to_owned(),
                users: 2,
                said: 3,
                error: 1,
                new: 1,
            }],
            ..Talkers::none_of(StreamId(1))
        }],
        refused_users: vec![RefusedUser {
            stream_id: StreamId(1),
            user_id: UserId(9),
            name: "zed_k".to_owned(),
            refused: 2,
        }],
        held_records: BTreeMap::from([(3, 7)]),
        taken_at: 1_700_000_000_000,
        node: NodeStatus {
            node: node.clone(),
            roles: vec!["edge".to_owned()],
            version: "1.2.3".to_owned(),
            listen: "127.0.0.1:1".to_owned(),
            uptime_ms: 5,
            connections: 7,
            senders: 1,
            transports: Default::default(),
            max_connections: 9,
            draining: true,
            health: Health::Degraded,
            seen_ms: 0,
            partitions: [("coordinator".to_owned(), 50)].into(),
            egress: Egress {
                sent_bytes_per_second: 11,
                wanted_bytes_per_second: 12,
                limited_by: Some(EgressLimit::Sockets),
                limit_bytes_per_second: Some(10),
                streams_lowered: 1,
            },
            process: ProcessStatus { started_at: 17, cpu: Some(1.5), ..ProcessStatus::default() },
            rates: NodeRates { delivered: 2.5, ..NodeRates::default() },
        },
        slow_viewers: 2,
        counters: Counters { received: 3, ..Counters::default() },
        rates: CounterRates { received: 0.5, ..CounterRates::default() },
        stages: vec![StageReport {
            name: StageName::Ingest,
            items: 3,
            refused: 1,
            queue: 2,
            queue_max: 9,
            latency: latency(3),
            items_per_second: 0.5,
            refused_per_second: 0.25,
            recent: latency(1),
        }],
        end_to_end: latency(20),
        end_to_end_recent: latency(10),
        bus: vec![BusNode::new("embedded".to_owned())],
        stores: vec![StoreStatus {
            contract: "comment store".to_owned(),
            engine: "sqlite".to_owned(),
            address: "comments.db".to_owned(),
            nodes: 1,
            calls: 9,
            failed: 1,
            calls_per_second: 1.5,
            failed_per_second: 0.25,
            latency: latency(4),
            pool: Some(PoolUse { in_use: 1, max: 4 }),
            breaker: None,
        }],
        moderation: ModerationCounts { checked: 4, ..ModerationCounts::default() },
        streams: vec![StreamRates {
            stream_id: StreamId(1),
            comments_per_second: 1.5,
            sample_rate: SampleRate::ALL,
            throttle_level: 1,
            throttle_override: None,
            throttle_until_ms: None,
            received: 5,
            broadcast: 4,
            sampled_out: 1,
            deleted: 0,
        }],
        egress: vec![StreamEgress {
            stream_id: StreamId(1),
            share: SampleRate::from_share(0.5).unwrap(),
            sampled_out: 13,
        }],
        workers: Vec::new(),
        breakers: Vec::new(),
        problems: Vec::new(),
        settings: [("redis.prefix".to_owned(), "0000abcd".to_owned())].into(),
    }
}

pub(crate) async fn commands_reach_only_known_nodes(Member { registry, node, handler }: &Member) {
    let user_id = UserId(9);
    let commands = [
        NodeCommand::Disconnect { user_id, stream_id: None, code: CloseCode::Banned },
        NodeCommand::Disconnect { user_id, stream_id: Some(StreamId(7)), code: CloseCode::Kicked },
        NodeCommand::DisconnectBanned { user_id, stream_id: None, after_ms: 10_000 },
        NodeCommand::Probe { user_id },
        NodeCommand::Direct {
            user_id,
            from: "mod".into(),
            message: "hello".into(),
            message_id: Some(5),
            from_user: None,
        },
        NodeCommand::Direct {
            user_id,
            from: "ann".into(),
            message: "hello".into(),
            message_id: Some(6),
            from_user: Some(UserId(7)),
        },
        NodeCommand::ReloadSanctions,
        NodeCommand::ReloadGrants,
        NodeCommand::ReloadStream { stream_id: StreamId(1) },
        NodeCommand::Throttle { stream_id: StreamId(1), fixed: None },
        NodeCommand::Drain { undo: false },
        NodeCommand::ReportTalkers { stream_id: StreamId(1) },
        NodeCommand::Acknowledge {
            problem: "log_replaced".to_owned(),
            shown: vec![("event log".to_owned(), "gone".to_owned())],
        },
    ];
    for command in commands.clone() {
        assert_eq!(registry.command(node, command).await.unwrap(), 3);
    }
    assert_eq!(handler.commands(), commands);
    let nobody = NodeId::new("nobody");
    let answer = registry.command(&nobody, NodeCommand::ReloadSanctions).await;
    assert!(matches!(answer, Err(RegistryError::Unreachable(node)) if node == nobody));
}

/// Two nodes on one store, which was empty before.
pub(crate) struct Pair {
    pub(crate) a: Member,
    pub(crate) b: Member,
    /// Starts the node `a` again.
    pub(crate) restart_a: Box<dyn Fn() -> BoxFuture<'static, Member> + Send + Sync>,
}

/// A node with its own engine on the store.
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) registry: SharedRegistry,
    pub(crate) handler: Arc<RecordingHandler>,
}

impl Member {
    pub(crate) async fn report(&self) {
        self.registry.report(report(&self.node)).await.unwrap();
    }

    pub(crate) async fn known(&self) -> Vec<(String, bool)> {
        let known = self.registry.nodes().await.unwrap().into_iter();
        known.map(|known| (known.node.to_string(), known.alive)).collect()
    }
}

/// Waits until the condition holds, longer than any engine needs.
pub(crate) async fn eventually(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect(condition);
}

pub(crate) async fn both_nodes_are_listed_with_their_reports(Pair { a, b, .. }: &Pair) {
    for member in [a, b] {
        let known = member.registry.nodes().await.unwrap();
        let expected = [a, b].map(|other| KnownNode {
            node: other.node.clone(),
            alive: true,
            report: Some(Arc::new(report(&other.node))),
        });
        assert_eq!(known, expected);
    }
}

pub(crate) async fn a_connection_is_found_from_every_node(Pair { a, b, .. }: &Pair) {
    let user = UserId(42);
    let newer = connection(&a.node, 1, 2000);
    let older = connection(&b.node, 2, 1000);
    let newer_id = a.registry.register(user, newer.clone(), 20).await.unwrap();
    let older_id = b.registry.register(user, older.clone(), 20).await.unwrap();
    for member in [a, b] {
        let found = member.registry.locate(user).await.unwrap();
        assert_eq!(found, [older.clone(), newer.clone()]);
    }
    a.registry.unregister(user, newer_id).await.unwrap();
    assert_eq!(b.registry.locate(user).await.unwrap(), [older]);
    b.registry.unregister(user, older_id).await.unwrap();
    assert_eq!(a.registry.locate(user).await.unwrap(), []);
}

pub(crate) async fn a_role_is_known_on_every_node(Pair { a, b, .. }: &Pair) {
    let user = UserId(42);
    let held = of_each_role(&a.node);
    let mut ids = Vec::new();
    for connection in held.clone() {
        ids.push(a.registry.register(user, connection, 20).await.unwrap());
    }
    assert_eq!(b.registry.locate(user).await.unwrap(), held);
    for id in ids {
        a.registry.unregister(user, id).await.unwrap();
    }
    assert_eq!(b.registry.locate(user).await.unwrap(), [], "no entry is left behind");
}

pub(crate) async fn the_limit_counts_the_connections_of_all_nodes(Pair { a, b, .. }: &Pair) {
    const LIMIT: u32 = 5;
    let user = UserId(7);
    let attempts = (0..50).map(|n| {
        let member = if n % 2 == 0 { a } else { b };
        let registry = member.registry.clone();
        let connection = connection(&member.node, 1, n);
        tokio::spawn(async move { registry.register(user, connection, LIMIT).await.is_ok() })
    });
    let outcomes = join_all(attempts).await;
    let held = outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count();
    assert_eq!(held, LIMIT as usize);
    assert_eq!(a.registry.locate(user).await.unwrap().len(), LIMIT as usize);
}

pub(crate) async fn viewers_are_added_up_over_nodes(Pair { a, b, .. }: &Pair) {
    let count = |stream, viewers| (StreamId(stream), viewers);
    a.registry.report_viewers(&a.node, vec![count(1, 5), count(2, 7)]).await.unwrap();
    b.registry.report_viewers(&b.node, vec![count(2, 3), count(3, 1)]).await.unwrap();
    for member in [a, b] {
        let expected = [count(1, 5), count(2, 10), count(3, 1)];
        assert_eq!(member.registry.viewers().await.unwrap(), expected);
    }
    a.registry.report_viewers(&a.node, vec![]).await.unwrap();
    assert_eq!(b.registry.viewers().await.unwrap(), [count(2, 3), count(3, 1)]);
}

pub(crate) async fn a_command_reaches_only_its_node(Pair { a, b, .. }: &Pair) {
    let command =
        NodeCommand::Disconnect { user_id: UserId(9), stream_id: None, code: CloseCode::Banned };
    assert_eq!(a.registry.command(&b.node, command.clone()).await.unwrap(), 3);
    assert_eq!((a.handler.commands(), b.handler.commands()), (vec![], vec![command]));
    let fixed = Some(FixedRate { rate: SampleRate::NONE, until_ms: Some(1_700_000_000_000) });
    let command = NodeCommand::Throttle { stream_id: StreamId(1), fixed };
    assert_eq!(b.registry.command(&a.node, command.clone()).await.unwrap(), 3);
    assert_eq!(a.handler.commands(), [command]);
    let nobody = NodeId::new("nobody");
    let answer = a.registry.command(&nobody, NodeCommand::ReloadSanctions).await;
    assert!(matches!(answer, Err(RegistryError::Unreachable(node)) if node == nobody));
}

pub(crate) async fn leaving_removes_all_of_a_node(Pair { a, b, .. }: &Pair) {
    let user = UserId(1);
    a.registry.register(user, connection(&a.node, 1, 1), 1).await.unwrap();
    a.registry.report_viewers(&a.node, vec![(StreamId(1), 5)]).await.unwrap();
    assert_eq!(b.registry.locate(user).await.unwrap().len(), 1);
    a.registry.leave().await.unwrap();
    assert_eq!(b.registry.locate(user).await.unwrap(), []);
    assert_eq!(b.registry.viewers().await.unwrap(), []);
    assert_eq!(b.known().await, [("b".to_owned(), true)]);
    b.registry.register(user, connection(&b.node, 1, 1), 1).await.expect("its place is free");
}

pub(crate) async fn a_silent_node_is_dead_until_it_reports(Pair { a, b, .. }: &Pair) {
    let user = UserId(1);
    let held = connection(&a.node, 1, 1);
    a.registry.register(user, held.clone(), 1).await.unwrap();
    a.registry.report_viewers(&a.node, vec![(StreamId(1), 5)]).await.unwrap();
    a.report().await;
    let last_report = tokio::time::Instant::now();
    let silence = || b.registry.silences().into_iter().find(|(node, _)| *node == a.node);
    eventually("a is dead", async || {
        b.report().await;
        b.known().await == [("a".to_owned(), false), ("b".to_owned(), true)]
    })
    .await;
    assert!(last_report.elapsed() > ALIVE_FOR - Duration::from_millis(100), "too early");
    let (_, age) = silence().expect("it has reported before");
    assert!(age > ALIVE_FOR - Duration::from_secs(1), "{age:?}");
    eventually("a has no connections", async || b.registry.locate(user).await.unwrap().is_empty())
        .await;
    assert_eq!(b.registry.viewers().await.unwrap(), []);
    b.registry.register(user, connection(&b.node, 1, 2), 1).await.expect("its place is free");
    a.report().await;
    b.report().await;
    assert!(silence().is_some_and(|(_, age)| age < Duration::from_secs(1)), "{:?}", silence());
    assert_eq!(b.known().await, [("a".to_owned(), true), ("b".to_owned(), true)]);
    assert_eq!(b.registry.viewers().await.unwrap(), [(StreamId(1), 5)]);
    eventually("the connection of a is found again", async || {
        b.registry.locate(user).await.unwrap().contains(&held)
    })
    .await;
}

pub(crate) async fn a_restarted_node_has_no_connections(Pair { a: previous, b, restart_a }: &Pair) {
    let user = UserId(1);
    previous.registry.register(user, connection(&previous.node, 1, 1), 1).await.unwrap();
    let a = restart_a().await;
    assert_eq!(b.registry.locate(user).await.unwrap(), []);
    assert_eq!(b.known().await, [("a".to_owned(), true), ("b".to_owned(), true)]);
    a.registry.register(user, connection(&a.node, 1, 1), 1).await.expect("its place is free");
    assert_eq!(b.registry.locate(user).await.unwrap().len(), 1);
}
