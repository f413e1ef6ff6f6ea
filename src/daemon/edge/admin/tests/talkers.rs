//! The users that say most on a stream, asked of one node for all.

use tokio::time::Instant;

use super::*;
use crate::daemon::engines::registry::NodeCommand;
use crate::daemon::engines::registry::conformance::report;
use crate::protocol::Comment;

const ONE: StreamId = StreamId(1);

fn gauges() -> StreamGauges {
    StreamGauges {
        comments_per_second: 1.0,
        sample_rate: SampleRate::ALL,
        throttle_level: 0,
        throttle_override: None,
        throttle_until_ms: None,
        received: 3,
        broadcast: 3,
        sampled_out: 0,
        deleted: 0,
    }
}

fn refused(user_id: u64, refused: u64) -> RefusedUser {
    let name = "zed_k".to_owned();
    RefusedUser { stream_id: ONE, user_id: UserId(user_id), name, refused }
}

/// The report of a node that broadcasts nothing and refused this.
fn edge(node: &str, refused_users: Vec<RefusedUser>) -> NodeReport {
    let report = report(&NodeId::new(node));
    NodeReport { streams: Vec::new(), talkers: Vec::new(), refused_users, ..report }
}

#[tokio::test]
async fn this_node_counts_and_all_nodes_refuse() {
    let served = Served::new().await;
    let board = &served.world.board;
    board.set_stream(ONE, gauges());
    for (number, user) in [42, 7, 42, 42].into_iter().enumerate() {
        let sample = submitted(ONE, number as u64, "Cheap followers").comment;
        let comment = Comment { user_id: UserId(user), ..(*sample).clone() };
        board.telemetry().talkers().record_comment(&comment, Instant::now());
    }
    board.telemetry().talkers().record_removal(ONE, UserId(42));
    served.world.registry.set_report("b", edge("b", vec![refused(42, 5), refused(9, 1)]));
    served.world.registry.set_report("c", edge("c", vec![refused(42, 7)]));
    let answer: Talkers = served.get("/v1/streams/1/talkers").await;
    let rows: Vec<_> = answer
        .talkers
        .iter()
        .map(|row| (row.user_id.0, row.said, row.refused, row.removed))
        .collect();
    assert_eq!(rows, [(42, 3, 12, 1), (7, 1, 0, 0), (9, 0, 1, 0)]);
    assert_eq!((answer.said, answer.texts[0].users, answer.texts[0].said), (4, 2, 4));
    assert_eq!(answer.texts[0].id, answer.talkers[0].text);
    assert!(answer.unreachable.is_empty(), "{answer:?}");
    assert_eq!(served.world.registry.commands(), [], "no other node broadcasts it");
}

#[tokio::test]
async fn a_stream_that_is_not_counted_is_no_fault() {
    let served = Served::new().await;
    served.world.board.set_stream(ONE, gauges());
    for node in ["b", "c"] {
        served.world.registry.set_report(node, edge(node, Vec::new()));
    }
    let answer: Talkers = served.get("/v1/streams/1/talkers").await;
    assert_eq!(answer, Talkers::none_of(ONE));
    let reports = served.reporter.0.report().talkers;
    assert_eq!(reports, [Talkers::none_of(ONE)], "other nodes do not wait for it");
}

#[tokio::test]
async fn the_node_that_broadcasts_is_asked() {
    let served = Served::new().await;
    let mut owner = report(&NodeId::new("b"));
    owner.talkers[0].said = 77;
    served.world.registry.set_report("b", owner);
    served.world.registry.set_report("c", edge("c", Vec::new()));
    let answer: Talkers = served.get("/v1/streams/1/talkers").await;
    assert_eq!((answer.said, answer.texts.len()), (77, 1));
    assert!(answer.unreachable.is_empty(), "{answer:?}");
    let asked = [(NodeId::new("b"), NodeCommand::ReportTalkers { stream_id: ONE })];
    assert_eq!(served.world.registry.commands(), asked);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    let served = Served::new().await;
    let silent = NodeReport { talkers: Vec::new(), ..report(&NodeId::new("b")) };
    served.world.registry.set_report("b", silent);
    served.world.registry.silence("b");
    let answer: Talkers = served.get("/v1/streams/1/talkers").await;
    assert_eq!(answer.unreachable, [NodeId::new("c"), NodeId::new("b")]);
    assert_eq!(answer.said, 0);
    let (status, _) = served.send("GET", "/v1/streams/9/talkers", "").await.whole().await;
    assert_eq!(status, 404, "no such stream");
}
