//! What every engine of [`super::ConnectionRegistry`] must do, on the node that asks.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{KnownNode, NodeCommand, NodeEndpoint, RegistryError, SharedRegistry};
use crate::protocol::admin::{
    ConnectionInfo, Counters, ModerationCounts, NodeReport, NodeStatus, StreamRates,
};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CloseCode, NodeId, StreamId, UserId};

/// An endpoint that writes down what it was told and says it touched three connections.
#[derive(Debug, Default)]
pub(crate) struct RecordingEndpoint {
    told: Mutex<Vec<NodeCommand>>,
}

impl RecordingEndpoint {
    pub(crate) fn told(&self) -> Vec<NodeCommand> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl NodeEndpoint for RecordingEndpoint {
    async fn obey(&self, command: NodeCommand) -> u64 {
        self.told.lock().unwrap().push(command);
        3
    }
}

/// Runs everything; `make` gives the registry as the named node sees it, with nothing in it.
pub(crate) async fn suite(make: impl AsyncFn(NodeId, Arc<dyn NodeEndpoint>) -> SharedRegistry) {
    let node = NodeId::new("conformance");
    let fresh = async || make(node.clone(), Arc::new(RecordingEndpoint::default())).await;
    connections_are_found_oldest_first_until_removed(&fresh().await, &node).await;
    removing_what_is_not_there_is_no_error(&fresh().await, &node).await;
    the_limit_holds_against_racing_connections(&fresh().await, &node).await;
    a_limit_of_zero_is_none(&fresh().await, &node).await;
    viewer_counts_replace_those_before(&fresh().await, &node).await;
    the_node_knows_itself(&fresh().await, &node).await;
    let endpoint = Arc::new(RecordingEndpoint::default());
    let registry = make(node.clone(), endpoint.clone()).await;
    commands_reach_the_node_and_unknown_nodes_are_unreachable(&registry, &node, &endpoint).await;
}

fn connection(node: &NodeId, stream: u64, connected_at: u64) -> ConnectionInfo {
    ConnectionInfo { node: node.clone(), stream_id: StreamId(stream), connected_at }
}

async fn connections_are_found_oldest_first_until_removed(
    registry: &SharedRegistry,
    node: &NodeId,
) {
    let user = UserId(42);
    assert_eq!(registry.locate(user).await.unwrap(), []);
    let (newer, older) = (connection(node, 1, 2000), connection(node, 2, 1000));
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

async fn removing_what_is_not_there_is_no_error(registry: &SharedRegistry, node: &NodeId) {
    let id = registry.register(UserId(1), connection(node, 1, 1), 0).await.unwrap();
    registry.unregister(UserId(2), id).await.unwrap();
    assert_eq!(registry.locate(UserId(1)).await.unwrap().len(), 1, "another user's");
    registry.unregister(UserId(1), id).await.unwrap();
    registry.unregister(UserId(1), id).await.unwrap();
}

async fn the_limit_holds_against_racing_connections(registry: &SharedRegistry, node: &NodeId) {
    const LIMIT: u32 = 5;
    let user = UserId(7);
    let attempts = (0..50).map(|n| {
        let (registry, connection) = (registry.clone(), connection(node, 1, n));
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

async fn a_limit_of_zero_is_none(registry: &SharedRegistry, node: &NodeId) {
    for n in 0..100 {
        registry.register(UserId(8), connection(node, 1, n), 0).await.unwrap();
    }
    assert_eq!(registry.locate(UserId(8)).await.unwrap().len(), 100);
}

async fn viewer_counts_replace_those_before(registry: &SharedRegistry, node: &NodeId) {
    assert_eq!(registry.viewers().await.unwrap(), []);
    registry.report_viewers(node, vec![(StreamId(1), 5), (StreamId(2), 7)]).await.unwrap();
    registry.report_viewers(node, vec![(StreamId(2), 3), (StreamId(3), 0)]).await.unwrap();
    assert_eq!(registry.viewers().await.unwrap(), [(StreamId(2), 3)]);
    registry.report_viewers(node, vec![]).await.unwrap();
    assert_eq!(registry.viewers().await.unwrap(), []);
}

async fn the_node_knows_itself(registry: &SharedRegistry, node: &NodeId) {
    let known = registry.nodes().await.unwrap();
    let [this] = known.as_slice() else { panic!("one node is known, not {known:?}") };
    assert_eq!((&this.node, &this.report), (node, &None), "before its first report");
    let report = report(node);
    registry.report(report.clone()).await.unwrap();
    let known = registry.nodes().await.unwrap();
    let expected = KnownNode { node: node.clone(), alive: true, report: Some(Arc::new(report)) };
    assert_eq!(known, [expected]);
}

/// A report with something in every field.
pub(crate) fn report(node: &NodeId) -> NodeReport {
    NodeReport {
        taken_at: 1_700_000_000_000,
        node: NodeStatus {
            node: node.clone(),
            roles: vec!["edge".to_owned()],
            version: "1.2.3".to_owned(),
            listen: "127.0.0.1:1".to_owned(),
            uptime_ms: 5,
            connections: 7,
            max_connections: 9,
            draining: true,
        },
        slow_viewers: 2,
        counters: Counters { received: 3, ..Counters::default() },
        moderation: ModerationCounts { checked: 4, ..ModerationCounts::default() },
        streams: vec![StreamRates {
            stream_id: StreamId(1),
            comments_per_second: 1.5,
            sample_rate: SampleRate::ALL,
            throttle_level: 1,
            throttle_override: None,
            received: 5,
            broadcast: 4,
            sampled_out: 1,
            deleted: 0,
        }],
        shards: Vec::new(),
        breakers: Vec::new(),
    }
}

async fn commands_reach_the_node_and_unknown_nodes_are_unreachable(
    registry: &SharedRegistry,
    node: &NodeId,
    endpoint: &RecordingEndpoint,
) {
    let user_id = UserId(9);
    let commands = [
        NodeCommand::Disconnect { user_id, code: CloseCode::Banned },
        NodeCommand::Direct { user_id, from: "ann".into(), message: "hello".into() },
        NodeCommand::ReloadSanctions,
        NodeCommand::ReloadStream { stream_id: StreamId(1) },
        NodeCommand::Throttle { stream_id: StreamId(1), sample_rate: None },
        NodeCommand::Drain { undo: false },
    ];
    for command in commands.clone() {
        assert_eq!(registry.command(node, command).await.unwrap(), 3);
    }
    assert_eq!(*endpoint.told.lock().unwrap(), commands);
    let nobody = NodeId::new("nobody");
    let answer = registry.command(&nobody, NodeCommand::ReloadSanctions).await;
    assert!(matches!(answer, Err(RegistryError::Unreachable(node)) if node == nobody));
}
