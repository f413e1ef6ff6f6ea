//! Alerts of several nodes as one, and the state of the cluster that they make.

use super::*;

#[test]
fn an_alert_of_several_nodes_has_their_viewers() {
    let mut alert = alert_on("a", 1, 5_000);
    assert_eq!(
        alert.effect,
        "fan-out bus does not answer on a: 1 viewer sees comments through the log: later, none lost"
    );
    texts::join(&mut alert, &alert_on("b", 136_999, 9_000));
    texts::join(&mut alert, &alert_on("b", 136_999, 9_000));
    assert_eq!((alert.nodes.len(), alert.viewers, alert.since_ms), (2, 137_000, 9_000));
    assert!(alert.effect.contains("on 2 nodes: 137k viewers see"), "{}", alert.effect);
}

#[test]
fn the_texts_of_a_loss_are_kept_apart() {
    let on = |node: &str, rule: &str, effect: &str| {
        let id = Alert::id_of(rule, "events");
        Alert { id, rule: rule.to_owned(), effect: effect.to_owned(), ..alert_on(node, 1, 0) }
    };
    let mut merged = MergedAlert::new(&on("a", "log_replaced", "5 records"));
    merged.join(&on("b", "log_replaced", "7 records"));
    merged.join(&on("c", "log_replaced", "5 records"));
    assert_eq!(merged.losses.iter().collect::<Vec<_>>(), ["5 records", "7 records"]);
    assert_eq!(merged.alert.effect, "5 records; b: 7 records");
    assert_eq!(MergedAlert::new(&on("a", "disk_full", "full")).losses, NO_LOSS);
}

#[test]
fn the_worst_of_several_nodes_is_told() {
    let told = |rule: &str, values: [f64; 2]| {
        let [mut one, two] = ["a", "b"].map(|name| Alert {
            id: rule.to_owned(),
            rule: rule.to_owned(),
            subject: String::new(),
            ..alert_on(name, 500, 0)
        });
        one.value = Some(values[0]);
        one.threshold = Some(0.5);
        // The other has had it longer.
        let two = Alert { value: Some(values[1]), since_ms: 9_000, ..two };
        texts::join(&mut one, &two);
        assert_eq!(one.since_ms, 9_000);
        one.effect
    };
    for (rule, values, effect) in [
        (rule::SERVED_LOW, [0.9, 0.95], "90% of what 1k viewers of 2 nodes should see"),
        (rule::PLACES_LOW, [0.99, 0.95], "99% of the places of 2 nodes are taken, at worst;"),
        (rule::CLOCK_OFF, [-50.0, 30.0], "the clock of 2 nodes is 50 ms behind, at worst:"),
        (rule::DRAINING, [0.0, 0.0], "2 nodes are draining: no new viewers; 1k viewers remain"),
        (rule::DEAD_LETTERS, [3.0, 4.0], "4 records put aside, because"),
        (rule::NOT_READY, [0.0, 0.0], "2 nodes are not ready; new viewers are refused there"),
    ] {
        assert!(told(rule, values).starts_with(effect), "{}", told(rule, values));
    }
}

fn drain_of(node: &NodeStatus) -> Alert {
    let condition = conditions::of_readiness(true, true).unwrap();
    texts::alert(&condition, Duration::ZERO, Some(node))
}

#[test]
fn a_drain_of_two_nodes_names_neither_as_the_next() {
    let mut alert = drain_of(&named("a").node);
    texts::join(&mut alert, &drain_of(&named("b").node));
    assert!(alert.next.starts_with("lc nodes; then lc drain NODE"), "{}", alert.next);
}

#[test]
fn a_drain_of_all_nodes_that_take_viewers_fails() {
    let node = |name: &str, draining, max_connections| NodeStatus {
        draining,
        max_connections,
        seen_ms: 0,
        ..named(name).node
    };
    let drained = node("a", true, 10);
    let mut alerts = [drain_of(&drained)];
    assert_eq!(alerts[0].next, "lc drain a --undo, or stop the node");
    mark_unserved(&mut alerts, &[drained.clone(), node("d", false, 10)]);
    assert_eq!(health(&alerts, 2), Health::Degraded, "another node takes viewers");
    mark_unserved(&mut alerts, &[drained, node("b", false, 0), node("c", false, 0)]);
    assert_eq!(health(&alerts, 3), Health::Failing);
    assert!(alerts[0].effect.ends_with("no other node takes viewers"), "{}", alerts[0].effect);
}

#[test]
fn the_state_is_that_of_the_worst_alert() {
    let warning = alert_on("a", 1, 0);
    let critical = Alert { severity: Severity::Critical, ..warning.clone() };
    assert_eq!(health(&[], 3), Health::Well);
    assert_eq!(health(std::slice::from_ref(&warning), 1), Health::Degraded);
    assert_eq!(
        health(std::slice::from_ref(&critical), 3),
        Health::Degraded,
        "two of three nodes serve"
    );
    assert_eq!(health(&[warning, critical], 2), Health::Failing);
}

#[test]
fn an_acknowledged_warning_leaves_the_state_well() {
    let warning = alert_on("a", 1, 9_000);
    let acked = Alert { acked_by: Some("ann".to_owned()), ..warning.clone() };
    assert_eq!(health(std::slice::from_ref(&acked), 1), Health::Well);
    let both = [acked.clone(), Alert { since_ms: 5, ..warning }];
    assert_eq!(health(&both, 1), Health::Degraded);
    assert_eq!(unwell_ms(&both, 1, Health::Degraded), Some(5));
    let outage = Alert { severity: Severity::Critical, ..acked };
    assert_eq!(health(&[outage], 1), Health::Failing, "viewers are not served all the same");
}

#[test]
fn an_outage_is_as_old_as_what_causes_it() {
    let old = alert_on("a", 1, 900_000);
    let cause = Alert { severity: Severity::Critical, since_ms: 5_000, ..old.clone() };
    let alerts = [old, cause];
    assert_eq!(unwell_ms(&alerts, 1, Health::Failing), Some(5_000));
    assert_eq!(unwell_ms(&alerts, 3, Health::Degraded), Some(900_000));
    assert_eq!(unwell_ms(&alerts[..1], 1, Health::Failing), None, "the node just starts");
}
