//! Alerts of reports that are made up, on a clock that the test moves.

mod causes;
mod merged;

use std::sync::Arc;

use super::*;
use crate::daemon::engines::registry::KnownNode;
use crate::daemon::engines::registry::conformance::report;
use crate::protocol::admin::{BreakerStatus, Problem};

fn settings() -> AlertsConfig {
    AlertsConfig::default()
}

fn named(name: &str) -> NodeReport {
    report(&NodeId::new(name))
}

fn breaker(dependency: &str, state: BreakerState) -> BreakerStatus {
    let last_error = Some("refused".to_owned());
    BreakerStatus { dependency: dependency.to_owned(), state, last_error, since_ms: 0 }
}

fn open_bus() -> Vec<Condition> {
    conditions::of_breakers(&[breaker("fan-out bus", BreakerState::Open)], &[], &settings())
}

fn ids(board: &AlertBoard) -> Vec<&str> {
    board.raised().map(|alert| alert.id.as_str()).collect()
}

fn alert_on(name: &str, viewers: u64, since_ms: u64) -> Alert {
    let mut node = named(name).node;
    node.connections = viewers;
    node.senders = 0;
    let [condition] = &open_bus()[..] else { panic!("one condition") };
    texts::alert(condition, Duration::from_millis(since_ms), Some(&node))
}

/// The texts of an alert that is no loss.
const NO_LOSS: BTreeSet<String> = BTreeSet::new();

#[test]
fn an_alert_waits_for_its_hold_and_ends_once() {
    let mut board = AlertBoard::default();
    let node = named("a").node;
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(board.update(at(0), open_bus(), Some(&node)), []);
    assert_eq!(ids(&board), Vec::<&str>::new());
    assert_eq!(board.update(at(900), open_bus(), Some(&node)), []);
    let [Change::Raised(alert)] = &board.update(at(1_100), open_bus(), Some(&node))[..] else {
        panic!("one alert")
    };
    assert_eq!((alert.id.as_str(), alert.since_ms), ("breaker_open/fan-out_bus", 1_100));
    assert_eq!(board.update(at(2_000), open_bus(), Some(&node)), []);
    assert_eq!(board.raised().next().unwrap().since_ms, 2_000);
    let cleared = board.update(at(3_000), Vec::new(), Some(&node));
    let id = "breaker_open/fan-out_bus".to_owned();
    assert_eq!(cleared, [Change::Cleared { id, lasted: Duration::from_secs(3) }]);
    assert_eq!(board.update(at(4_000), Vec::new(), Some(&node)), []);
}

#[test]
fn a_silent_node_is_told_at_the_age_of_its_hold() {
    let mut board = AlertBoard::default();
    let start = Instant::now();
    let mut look = |after_ms: u64, age_ms: u64| {
        let silences = [(NodeId::new("b"), Duration::from_millis(age_ms))];
        let found = conditions::of_silences(&silences, &BTreeMap::new(), &settings());
        board.update(start + Duration::from_millis(after_ms), found, None).len()
    };
    // Reports that are late, as on a busy machine.
    assert_eq!([look(0, 900), look(1_000, 1_900), look(2_000, 2_900), look(3_000, 400)], [0; 4]);
    // The node was killed: the last report is looked at once per second.
    assert_eq!([look(4_000, 1_400), look(5_000, 2_400), look(6_000, 3_400)], [0; 3]);
    assert_eq!(look(7_000, 4_400), 1, "raised within five seconds");
    assert_eq!(look(8_000, 5_400), 0);
    // A board without that condition has lost it: the node is back.
    assert_eq!(look(9_000, 300), 1);
    let late = [(NodeId::new("b"), Duration::from_secs(3))];
    let found = conditions::of_silences(&late, &BTreeMap::new(), &settings());
    let [condition] = &found[..] else { panic!("three seconds are late") };
    assert_eq!((condition.id().as_str(), condition.lasted.as_secs()), ("node_silent/b", 3));
}

#[test]
fn a_silent_node_is_told_with_its_viewers() {
    let view = |known: &[bool]| {
        let known = known.iter().map(|alive| KnownNode {
            node: NodeId::new("b"),
            alive: *alive,
            report: Some(Arc::new(named("b"))),
        });
        ClusterView::new(named("a"), known.collect())
    };
    let mut inner = Inner::default();
    inner.remember_viewers(&view(&[true]));
    inner.remember_viewers(&view(&[false]));
    let silences = [(NodeId::new("b"), Duration::from_secs(4))];
    let told = |last_viewers: &BTreeMap<NodeId, u64>| {
        let found = conditions::of_silences(&silences, last_viewers, &settings());
        texts::alert(&found[0], found[0].lasted, None)
    };
    let alert = told(&inner.last_viewers);
    let effect = "node b does not report: its 6 viewers reconnect to other nodes, and its \
                  partitions move";
    assert_eq!((alert.viewers, alert.effect.as_str()), (6, effect));
    let mut merged = told(&BTreeMap::new());
    texts::join(&mut merged, &alert);
    assert_eq!((merged.viewers, merged.effect.as_str()), (6, effect));
    inner.remember_viewers(&view(&[]));
    assert!(!inner.last_viewers.contains_key(&NodeId::new("b")), "it has left");
}

#[test]
fn viewers_of_an_alert_are_no_senders() {
    let mut node = named("a").node;
    node.connections = 35;
    node.senders = 5;
    let alert = texts::alert(&open_bus()[0], Duration::ZERO, Some(&node));
    assert_eq!(alert.viewers, 30);
}

#[test]
fn alerts_beyond_the_bound_wait() {
    let problem = |number: usize| Problem {
        code: "disk_low".to_owned(),
        subject: format!("/disk/{number:03}"),
        text: "almost full".to_owned(),
        since_ms: 10,
    };
    let problems: Vec<_> = (0..board::MAX_ALERTS + 3).map(problem).collect();
    let mut board = AlertBoard::default();
    let found = conditions::of_problems(&problems, true);
    assert_eq!(board.update(Instant::now(), found, None).len(), board::MAX_ALERTS);
    let found = conditions::of_problems(&problems[3..], true);
    board.update(Instant::now(), found.clone(), None);
    board.update(Instant::now(), found, None);
    assert_eq!(board.raised().count(), board::MAX_ALERTS);
}

#[test]
fn an_acknowledgement_lasts_as_long_as_its_alert() {
    let mut acks = Acks::default();
    let start = Instant::now();
    let ack =
        |by: &str, at| AlertAck { id: "x".to_owned(), by: by.to_owned(), at, shown: Vec::new() };
    acks.add(ack("ann", 100), start);
    let active = ["x".to_owned()];
    acks.merge([ack("bob", 50)].iter(), &active, start);
    assert_eq!(
        acks.of("x", &NO_LOSS).as_deref(),
        Some("bob"),
        "the first one counts on every node"
    );
    acks.merge([].iter(), &active, start + Duration::from_secs(500));
    assert_eq!(acks.of("x", &NO_LOSS).as_deref(), Some("bob"));
    acks.merge([].iter(), &[], start + Duration::from_secs(559));
    assert_eq!(acks.list().len(), 1, "it may come back at once");
    // An acknowledgement that others still report of an ended alert is not learned again.
    acks.merge([ack("bob", 50)].iter(), &[], start + Duration::from_secs(561));
    assert_eq!(acks.list(), []);
}

#[test]
fn a_further_loss_is_not_acknowledged() {
    let mut acks = Acks::default();
    let start = Instant::now();
    let active = ["log_replaced/events".to_owned()];
    let texts = |texts: &[&str]| -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    };
    let ack = |by: &str, at, shown: &BTreeSet<String>| AlertAck {
        id: active[0].clone(),
        by: by.to_owned(),
        at,
        shown: acks::digests(shown),
    };
    let first = texts(&["5 records"]);
    let both = texts(&["5 records", "7 records"]);
    acks.add(ack("ann", 100, &first), start);
    assert_eq!(acks.of(&active[0], &first).as_deref(), Some("ann"));
    assert_eq!(acks.of(&active[0], &both), None, "another node has lost more");
    assert_eq!(acks.of(&active[0], &texts(&["7 records"])), None, "it has grown");
    acks.merge([ack("bob", 200, &both)].iter(), &active, start);
    assert_eq!(acks.of(&active[0], &both).as_deref(), Some("bob"));
    acks.merge([ack("ann", 100, &first)].iter(), &active, start);
    assert_eq!(acks.of(&active[0], &both).as_deref(), Some("bob"), "the newest counts");
    assert_eq!(acks.of(&active[0], &first).as_deref(), Some("bob"), "one node is gone");
}
