//! The overview, the cluster and a node, the engines, the events, and the queue beside them.

use super::*;

#[test]
fn overview_of_a_healthy_cluster() {
    insta::assert_snapshot!(screens(&fed(samples::healthy)));
}

#[test]
fn overview_while_throttled() {
    insta::assert_snapshot!(screens(&fed(samples::throttled)));
}

#[test]
fn overview_at_the_egress_limit() {
    insta::assert_snapshot!(screens(&fed(samples::egress_limited)));
}

#[test]
fn overview_without_a_redis_node() {
    insta::assert_snapshot!(screens(&fed(samples::redis_down)));
}

#[test]
fn overview_while_lag_grows() {
    insta::assert_snapshot!(screens(&fed(samples::lag_growing)));
}

#[test]
fn overview_of_a_silent_node_and_after() {
    let silent = screen(&console((0..23).map(samples::silent_and_back)), SIZES[2]);
    let back = screen(&console((0..30).map(samples::silent_and_back)), SIZES[2]);
    insta::assert_snapshot!(format!("{silent}\n{back}"));
}

#[test]
fn overview_just_started() {
    insta::assert_snapshot!(screens(&console([samples::idle(900)])));
}

#[test]
fn viewers_and_limits_are_of_the_same_nodes() {
    let shown = screen(&fed(samples::healthy), SIZES[2]);
    // The sum of the connections stands against the sum of the places, and who sends is no viewer.
    assert!(shown.contains("18k of 40k"), "{shown}");
    assert!(shown.contains("36 senders"), "{shown}");
}

#[test]
fn the_cluster() {
    insta::assert_snapshot!(screens(&at(fed(samples::healthy), Place::View(View::Cluster))));
}

#[test]
fn a_node_opened() {
    let node = crate::protocol::NodeId::new("edge-1");
    insta::assert_snapshot!(screens(&at(fed(samples::egress_limited), Place::Node(node))));
}

#[test]
fn two_hundred_nodes_and_five_thousand_streams() {
    let console = console((0..3).map(samples::large));
    let cluster = screen(&at(console, Place::View(View::Cluster)), SIZES[1]);
    assert!(cluster.contains("nodes 200") && cluster.contains(" more"), "{cluster}");
    insta::assert_snapshot!(cluster);
}

#[test]
fn no_limit_is_cut_on_a_classic_terminal() {
    let mut snapshot = samples::healthy(1);
    snapshot.nodes.iter_mut().for_each(|node| node.connections = node.max_connections);
    let mut console = console([snapshot]);
    console.go(Place::View(View::Cluster));
    let shown = screen(&console, SIZES[1]);
    assert!(shown.contains("if one is lost: too few places"), "{shown}");
    console.go(Place::Node(crate::protocol::NodeId::new("edge-1")));
    let shown = screen(&console, SIZES[1]);
    let [from, to] = ["─ limits", "─ delivery"].map(|title| shown.find(title).unwrap());
    assert!(shown.contains("clock +1 ms") && shown.contains("20k of 20k"), "{shown}");
    assert!(from < to && !shown[from..to].contains('…'), "{shown}");
    console.go(Place::View(View::Moderation));
    assert!(screen(&console, SIZES[1]).contains("since start"));
}

#[test]
fn engines_with_and_without_a_redis_node() {
    let well = screens(&at(fed(samples::healthy), Place::View(View::Engines)));
    let down = screen(&at(fed(samples::redis_down), Place::View(View::Engines)), SIZES[2]);
    insta::assert_snapshot!(format!("{well}\n{down}"));
}

#[test]
fn events_of_a_minute() {
    let feed = (0..=30)
        .map(samples::silent_and_back)
        .chain((31..=40).map(samples::throttled))
        .chain((41..=50).map(samples::redis_down));
    insta::assert_snapshot!(screens(&at(console(feed), Place::View(View::Events))));
}

#[test]
fn a_wide_screen_has_the_queue_beside_every_view() {
    let mut snapshot = samples::healthy(60);
    snapshot.moderation.queued = 30;
    let mut console = console([samples::healthy(59), snapshot]);
    console.set_size(200, 55);
    for view in [View::Streams, View::Cluster, View::Engines, View::Events] {
        console.go(Place::View(view));
        assert!(console.needs().reviews);
        assert!(screen(&console, SIZES[3]).contains("to review 30"), "{view:?}");
        assert!(!screen(&console, SIZES[2]).contains("to review 30"), "{view:?}");
    }
    let item = |number| {
        let comment = comment(number, "new_user7", "is this allowed?");
        ReviewItem {
            comment_id: comment.comment_id,
            stream_id: StreamId(7),
            user_id: comment.user_id,
            name: comment.name.to_string(),
            message: comment.message.to_string(),
            reason: "link".into(),
            flagged_at: comment.created_at,
            held: number == 0,
            shadowed: false,
            badges: Default::default(),
            parent_id: None,
            evidence: Default::default(),
            claimed_by: None,
            claim_expires_at: None,
            claimed_by_you: false,
            alike: 0,
        }
    };
    console.side.reviews = (0..30).map(item).collect();
    let shown = screen(&console, SIZES[3]);
    assert!(shown.contains("held link  is this allowed?"), "{shown}");
    assert!(shown.contains("more"), "{shown}");
    console.set_size(120, 36);
    assert!(!console.needs().reviews, "a small screen does not ask for it");
}
