use super::*;
use crate::protocol::NodeId;
use crate::protocol::admin::{self, EventKind};
use crate::tui::tone::Health;
use samples::{alert, healthy, idle, silent_and_back};

fn fed(snapshots: impl IntoIterator<Item = TopSnapshot>) -> Feed {
    let mut feed = Feed::default();
    snapshots.into_iter().for_each(|snapshot| feed.add(snapshot));
    feed
}

#[test]
fn time_follows_the_uptime_of_the_daemon() {
    let mut second = idle(12_000);
    // The wall clock was set back, which must not matter.
    second.taken_at = 0;
    let feed = fed([idle(10_000), second]);
    let first = idle(10_000).taken_at;
    assert_eq!(feed.latest().unwrap().at_ms, first + 2_000);
    assert_eq!(feed.restarts(), 0);
}

#[test]
fn a_restart_is_counted_and_time_goes_on() {
    let mut restarted = healthy(0);
    restarted.uptime_ms = 500;
    restarted.taken_at = healthy(5).taken_at + 2_000;
    let feed = fed([healthy(4), healthy(5), restarted]);
    assert_eq!(feed.restarts(), 1);
    assert_eq!(feed.latest().unwrap().at_ms, healthy(5).taken_at + 2_000);
}

/// Rates are what nodes measured, so no rate ever exceeds what all nodes together delivered.
#[test]
fn a_node_that_returns_makes_no_rate_jump() {
    let feed = fed((0..40).map(silent_and_back));
    let now = feed.latest().unwrap().at_ms;
    let most = (0..40).map(|second| healthy(second).rates.delivered).fold(0.0, f64::max);
    let chart = feed.series().window(Metric::Delivered, now, 60_000, 60);
    let known: Vec<f64> = chart.into_iter().flatten().collect();
    assert_eq!(known.len(), 40);
    assert!(known.iter().all(|rate| *rate <= most * 1.001), "{known:?}");
    let lowest = known.iter().copied().fold(f64::MAX, f64::min);
    assert!(lowest >= most / 2.5, "the edge that stayed was always counted: {lowest}");
    let told: Vec<_> = feed.happenings().iter().map(|h| h.text.as_str()).collect();
    assert_eq!(told, ["stopped answering", "answers again"]);
}

#[test]
fn a_silent_node_is_an_alarm_with_its_viewers() {
    let feed = fed((0..22).map(silent_and_back));
    let alarms = &feed.latest().unwrap().alarms;
    assert_eq!(alarms[0].rule, "node_silent");
    let now = feed.latest().unwrap().at_ms;
    assert_eq!(now - alarms[0].since_ms, 5_000, "the daemon knows for how long");
    assert!(alarms[0].text.contains("its 9k viewers reconnect"), "{}", alarms[0].text);
    let feed = fed((0..30).map(silent_and_back));
    assert!(feed.latest().unwrap().alarms.is_empty());
}

#[test]
fn a_redis_node_is_named_with_what_viewers_notice() {
    let feed = fed((0..3).map(samples::redis_down));
    let alarms = &feed.latest().unwrap().alarms;
    let redis = alarms.iter().find(|alarm| alarm.rule == "redis_node_down").unwrap();
    assert!(redis.text.contains("10.0.3.12:6379"), "{}", redis.text);
    assert!(redis.text.contains("reach 18k viewers through"), "{}", redis.text);
    let now = feed.latest().unwrap().at_ms;
    assert_eq!(now - redis.since_ms, 43_000, "the daemon knows for how long");
}

#[test]
fn a_redis_node_is_named_in_the_next_snapshot() {
    let failing_for = |second, since_ms| {
        let mut snapshot = samples::redis_down(second);
        snapshot.bus.iter_mut().for_each(|server| server.since_ms = since_ms);
        snapshot
    };
    let names_it = |feed: &Feed| {
        feed.latest().unwrap().alarms.iter().any(|alarm| alarm.rule == "redis_node_down")
    };
    assert!(names_it(&fed([healthy(0), failing_for(1, 400)])));
    let mut feed = fed([healthy(0), failing_for(1, 20)]);
    assert!(!names_it(&feed), "its connection may only have been closed");
    feed.add(failing_for(2, 1_020));
    assert!(names_it(&feed));
}

#[test]
fn a_condition_alarms_only_after_its_time() {
    let feed = |seconds: u64| fed((0..seconds).map(samples::lag_growing));
    let rules = |feed: &Feed| -> Vec<String> {
        feed.latest().unwrap().alarms.iter().map(|alarm| alarm.rule.clone()).collect()
    };
    assert!(rules(&feed(8)).is_empty());
    let feed = feed(20);
    assert_eq!(rules(&feed), ["lag_growing"]);
    let alarm = &feed.latest().unwrap().alarms[0];
    assert!(
        alarm
            .text
            .contains("archiver is 11k records (6 s) behind, +60/s: history lacks the newest"),
        "{}",
        alarm.text
    );
}

#[test]
fn the_thresholds_are_those_of_the_daemon() {
    let rules = |change: fn(&mut TopSnapshot)| -> Vec<String> {
        let snapshot = |second| {
            let mut snapshot = samples::lag_growing(second);
            change(&mut snapshot);
            snapshot
        };
        let feed = fed((0..40).map(snapshot));
        feed.latest().unwrap().alarms.iter().map(|alarm| alarm.rule.clone()).collect()
    };
    assert_eq!(rules(|_| ()), ["lag_growing"]);
    assert!(rules(|snapshot| snapshot.thresholds.lag_growing_ms = 20_000).is_empty());
    let strict = rules(|snapshot| {
        snapshot.thresholds.latency_high_ms = 10;
        snapshot.thresholds.served_low = 0.999_999;
        snapshot.thresholds.clock_off_ms = 0;
    });
    for rule in ["latency_high", "served_low", "clock_off", "lag_growing"] {
        assert!(strict.iter().any(|found| found == rule), "{rule}: {strict:?}");
    }
}

#[test]
fn the_past_is_kept_for_an_hour_and_thinned() {
    let feed = fed((0..4_000).map(|second| idle(second * 1_000)));
    let start = idle(0).taken_at;
    let now = feed.latest().unwrap().at_ms;
    assert_eq!(now, start + 3_999_000);
    let first = feed.first_ms().unwrap();
    assert!(now - first <= 3_600_000 && now - first > 3_500_000, "{}", now - first);
    let recent = feed.at(now - 7_000).unwrap();
    assert_eq!(recent.at_ms, now - 7_000);
    let old = feed.at(now - 2_000_500).unwrap();
    assert!(now - 2_000_500 - old.at_ms < 10_000);
    assert_eq!(feed.neighbour(now - 7_000, false), Some(now - 8_000));
    assert_eq!(feed.neighbour(now, true), None);
}

#[test]
fn lost_contact_leaves_a_gap_in_the_charts() {
    let mut feed = fed((0..5).map(healthy));
    feed.interrupt();
    feed.add(healthy(15));
    feed.add(healthy(16));
    let now = feed.latest().unwrap().at_ms;
    let chart = feed.series().window(Metric::In, now, 17_000, 17);
    let known: String = chart.iter().map(|point| if point.is_some() { '#' } else { '.' }).collect();
    assert_eq!(known, "#####..........##");
}

#[test]
fn a_lag_that_cannot_be_read_is_unknown() {
    let mut unread = healthy(2);
    unread.lag.clear();
    let feed = fed([healthy(1), unread]);
    let now = feed.latest().unwrap().at_ms;
    let chart = feed.series().window(Metric::Behind, now, 2_000, 2);
    assert_eq!(chart, [Some(52.0), None]);
}

#[test]
fn a_throttle_is_told_once() {
    let feed = fed([healthy(1), samples::throttled(2), samples::throttled(3)]);
    let throttles: Vec<_> =
        feed.happenings().iter().filter(|h| h.kind == "throttle").map(|h| &h.text).collect();
    assert_eq!(throttles.len(), 2, "{throttles:?}");
    assert!(
        throttles.iter().any(|text| text.contains("shows 10% instead of all: throttle level 2"))
    );
}

#[test]
fn events_from_before_the_attach_are_told_once() {
    let mut feed = fed((0..30).map(silent_and_back));
    let event = |at, kind, subject: &str, text: &str| EventItem {
        id: at,
        at,
        node: NodeId::new("edge-1"),
        kind,
        subject: subject.to_owned(),
        text: text.to_owned(),
        audit_id: None,
    };
    let start = healthy(0).taken_at;
    let events = [
        event(start - 9_000, EventKind::Breaker, "fan-out bus", "fails: broken pipe"),
        event(start - 5_000, EventKind::Audit, "user 42", "ann: ban"),
        event(start - 3_000, EventKind::Throttle, "stream 7", "all → 50% by the throttle"),
        event(start + 20_000, EventKind::Node, "edge-2", "falls silent"),
    ];
    let numbers = |feed: &Feed| -> Vec<u64> { feed.numbered().map(|(number, _)| number).collect() };
    let before = numbers(&feed);
    feed.fill_events(&events);
    feed.fill_events(&events);
    assert_eq!(numbers(&feed)[2..], before, "a happening keeps its number");
    let told: Vec<_> = feed.happenings().iter().map(|h| (h.name.as_str(), h.health)).collect();
    let expected = [
        ("fan-out bus", Health::Bad),
        ("stream 7", Health::Warn),
        ("edge-2", Health::Bad),
        ("edge-2", Health::Good),
    ];
    assert_eq!(told, expected);
    assert_eq!(feed.happenings()[1].subject, Subject::Stream(crate::protocol::StreamId(7)));
}

#[test]
fn a_redis_node_is_told_once() {
    let mut feed = fed((0..3).map(samples::redis_down));
    feed.set_alerts(Some(Vec::new()));
    feed.add(samples::redis_down(3));
    let rules = |feed: &Feed| -> Vec<String> {
        feed.latest().unwrap().alarms.iter().map(|alarm| alarm.key()).collect()
    };
    assert_eq!(rules(&feed).len(), 1, "the daemon has not noticed it yet: {:?}", rules(&feed));
    feed.set_alerts(Some(vec![alert("redis_node_down", "10.0.3.12:6379", &["edge-1"])]));
    feed.add(samples::redis_down(4));
    assert_eq!(rules(&feed), ["redis_node_down/10.0.3.12:6379"]);
    let told = feed.happenings().iter().filter(|happening| happening.kind == "alert");
    assert_eq!(told.count(), 0, "it failed before this console was started");
    feed.set_alerts(None);
    feed.add(samples::redis_down(5));
    assert_eq!(rules(&feed).len(), 2, "without the daemon's, those that the console sees");
}

#[test]
fn a_silent_node_is_named_before_its_alert() {
    let mut feed = fed((0..20).map(silent_and_back));
    feed.set_alerts(Some(Vec::new()));
    feed.add(silent_and_back(20));
    let subjects = |feed: &Feed| -> Vec<Subject> {
        feed.latest().unwrap().alarms.iter().map(|alarm| alarm.subject.clone()).collect()
    };
    let edge = Subject::Node(NodeId::new("edge-2"));
    assert_eq!(subjects(&feed), std::slice::from_ref(&edge));
    assert_eq!(feed.latest().unwrap().alarms[0].id, None);
    feed.set_alerts(Some(vec![alert("node_silent", "edge-2", &["edge-1", "coord-1"])]));
    feed.add(silent_and_back(21));
    assert_eq!(subjects(&feed), [edge], "once");
    assert_eq!(feed.latest().unwrap().alarms[0].id.as_deref(), Some("node_silent/edge-2"));
}

#[test]
fn a_node_that_drains_offers_no_places() {
    let mut snapshot = healthy(1);
    let before = samples::moment(snapshot.clone()).places();
    snapshot.nodes[0].draining = true;
    let nodes = &snapshot.nodes;
    let free = nodes[0].max_connections - nodes[0].connections;
    assert_eq!(samples::moment(snapshot).places(), before - free);
}

#[test]
fn an_alert_opens_what_it_is_about() {
    let about = |alert: &Alert| Alarm::of_daemon(alert, 0, 3).subject;
    let silent = alert("node_silent", "edge-2", &["edge-1", "edge-3"]);
    assert_eq!(about(&silent), Subject::Node(NodeId::new("edge-2")));
    let queue = alert("queue_half", "ingest", &["edge-1"]);
    assert_eq!(about(&queue), Subject::Node(NodeId::new("edge-1")));
    let lag = alert("lag_high", "archiver", &["edge-1"]);
    assert_eq!(about(&lag), Subject::Engine("archiver".to_owned()));
    assert_eq!(about(&alert("settings_differ", "a", &["edge-1", "edge-2"])), Subject::Cluster);
}

#[test]
fn one_broken_node_of_many_is_no_failure_of_all() {
    let critical = Alert {
        severity: admin::Severity::Critical,
        ..alert("disk_full", "/var/lib/lcd", &["edge-1"])
    };
    assert_eq!(Alarm::of_daemon(&critical, 0, 3).severity, Severity::Broken);
    assert_eq!(Alarm::of_daemon(&critical, 0, 2).severity, Severity::Unserved);
}

#[test]
fn an_acknowledged_warning_does_not_lower_the_state() {
    let warning = alert("certificate", "", &["edge-1"]);
    let acked = Alert { acked_by: Some("ann".to_owned()), ..warning.clone() };
    assert!(Alarm::of_daemon(&warning, 0, 1).lowers_state());
    assert!(!Alarm::of_daemon(&acked, 0, 1).lowers_state());
    let drained =
        Alert { severity: admin::Severity::Critical, rule: "draining".to_owned(), ..acked };
    assert!(Alarm::of_daemon(&drained, 0, 9).lowers_state(), "no node takes viewers");
}

#[test]
fn an_alarm_is_read_in_whole_sentences() {
    let acked = Alert { acked_by: Some("ann".to_owned()), ..alert("queue_half", "ingest", &[]) };
    let said = Alarm::of_daemon(&acked, 0, 1).sentences();
    assert_eq!(said, "comments go through the log. Next: lc shards. Acknowledged by ann.");
}

#[test]
fn nodes_that_left_are_forgotten() {
    let mut feed = Feed::default();
    for number in 0..50 {
        let mut snapshot = healthy(number);
        snapshot.nodes[1].node = NodeId::new(&format!("edge-{number}"));
        feed.add(snapshot);
    }
    assert_eq!(feed.memory.known_nodes(), 3);
}

#[test]
fn the_alerts_of_the_daemon_come_before_own_ones() {
    let mut feed = fed((0..3).map(samples::redis_down));
    let alert =
        Alert { acked_by: Some("ann".to_owned()), ..alert("breaker_open", "fan-out bus", &[]) };
    feed.set_alerts(Some(vec![alert]));
    feed.add(samples::redis_down(3));
    let alarms = &feed.latest().unwrap().alarms;
    let rules: Vec<_> = alarms.iter().map(|alarm| alarm.rule.as_str()).collect();
    assert_eq!(rules, ["redis_node_down", "breaker_open"], "the acknowledged one comes last");
    assert_eq!(alarms[1].id.as_deref(), Some("breaker_open/fan-out_bus"));
    assert_eq!(alarms[1].severity, Severity::Broken);
}
