//! Conditions that are wrong, in words: since when, the effect on viewers, and the next step.
//!
//! Conditions are read off a snapshot. Each has a time for which it must hold before it becomes an
//! alarm, so that a figure that passes a threshold for a second alarms nobody.

use std::collections::BTreeMap;

use super::alarms::{Alarm, Severity, Subject};
use super::moment::{Moment, is_nearly_full};
use crate::protocol::NodeId;
use crate::protocol::admin::{
    Alert, AlertThresholds, BreakerState, BusNodeState, GroupLag, LagState, NodeStatus, StageName,
    StageStatus, TopSnapshot,
};
use crate::tui::figures;

/// The rules that are added to the alerts of the daemon until it tells the same itself: somebody
/// who watches must know within seconds.
const FIRST_SEEN: [&str; 2] = ["redis_node_down", "node_silent"];
/// Time for which a Redis node must not answer, in milliseconds. Less than the second of the
/// daemon: whoever watches wants to know now. A connection that was only closed is back by then.
const REDIS_HOLD_MS: u64 = 300;

/// A condition that holds now.
struct Condition {
    rule: &'static str,
    subject: Subject,
    severity: Severity,
    hold_ms: u64,
    /// For how long it has held, if the daemon knows.
    known_ms: u64,
    text: String,
    next: String,
}

/// The times since which conditions have held, and the last figures of nodes.
#[derive(Debug, Clone, Default)]
pub(super) struct AlarmMemory {
    since: BTreeMap<(String, Subject), u64>,
    nodes: BTreeMap<NodeId, u64>,
}

impl AlarmMemory {
    /// Returns the alarms of a moment, the gravest first, then the oldest.
    ///
    /// If the daemon told its alerts, they are the alarms: its thresholds are those of the
    /// configuration.
    pub(super) fn alarms(&mut self, moment: &Moment, told: Option<&[Alert]>) -> Vec<Alarm> {
        let now = moment.at_ms;
        for node in &moment.snapshot.nodes {
            self.nodes.insert(node.node.clone(), node.viewers());
        }
        let snapshot = &moment.snapshot;
        self.nodes
            .retain(|name, _| moment.node(name).is_some() || snapshot.unreachable.contains(name));
        let conditions = conditions(moment, &self.nodes);
        let mut since = BTreeMap::new();
        let mut alarms = Vec::new();
        for condition in conditions {
            let key = (condition.rule.to_owned(), condition.subject.clone());
            let seen = self.since.get(&key).copied().unwrap_or(now);
            let began = seen.min(now.saturating_sub(condition.known_ms));
            since.insert(key, began);
            if now - began >= condition.hold_ms {
                alarms.push(Alarm {
                    id: None,
                    acked_by: None,
                    rule: condition.rule.to_owned(),
                    subject: condition.subject,
                    severity: condition.severity,
                    since_ms: began,
                    text: condition.text,
                    next: condition.next,
                });
            }
        }
        self.since = since;
        if let Some(told) = told {
            let nodes = snapshot.nodes.len();
            let told: Vec<_> =
                told.iter().map(|alert| Alarm::of_daemon(alert, now, nodes)).collect();
            let is_told = |alarm: &Alarm| {
                told.iter().any(|known| known.rule == alarm.rule && known.subject == alarm.subject)
            };
            alarms.retain(|alarm| FIRST_SEEN.contains(&alarm.rule.as_str()) && !is_told(alarm));
            alarms.extend(told);
        }
        alarms.sort_by_key(|alarm| {
            let severity = std::cmp::Reverse(alarm.severity);
            (alarm.acked_by.is_some(), severity, alarm.since_ms)
        });
        alarms
    }

    #[cfg(test)]
    pub(super) fn known_nodes(&self) -> usize {
        self.nodes.len()
    }
}

fn conditions(moment: &Moment, nodes: &BTreeMap<NodeId, u64>) -> Vec<Condition> {
    let snapshot = &moment.snapshot;
    let mut found = Vec::new();
    found.extend(snapshot.unreachable.iter().map(|node| {
        let known_ms = moment.silent_ms(node).unwrap_or(0);
        silent(node, nodes.get(node), known_ms)
    }));
    found.extend(bus_servers(snapshot));
    found.extend(breakers(moment));
    found.extend(snapshot.problems.iter().map(|problem| Condition {
        rule: "problem",
        subject: problem_subject(problem, snapshot),
        severity: Severity::Warning,
        hold_ms: 0,
        known_ms: 0,
        text: problem.clone(),
        next: "lc status".to_owned(),
    }));
    found.extend(egress(moment));
    found.extend(places(moment));
    found.extend(moment.groups.iter().filter_map(|group| lag(group, moment)));
    found.extend(snapshot.stages.iter().filter_map(queue));
    found.extend(service(moment));
    let clock_off_ms = snapshot.thresholds.clock_off_ms;
    found.extend(snapshot.nodes.iter().filter_map(|node| clock(node, clock_off_ms)));
    found
}

fn silent(node: &NodeId, viewers: Option<&u64>, known_ms: u64) -> Condition {
    let effect = match viewers {
        None => "nothing is known of it".to_owned(),
        Some(0) => "it had no viewers".to_owned(),
        Some(some) => {
            format!("its {} reconnect to the others", figures::counted(*some, "viewer"))
        }
    };
    Condition {
        rule: "node_silent",
        subject: Subject::Node(node.clone()),
        severity: Severity::Broken,
        hold_ms: 0,
        known_ms,
        text: format!("Node {node} is silent: {effect}."),
        next: format!("look whether lcd runs on {node}"),
    }
}

fn bus_servers(snapshot: &TopSnapshot) -> impl Iterator<Item = Condition> + '_ {
    let failing = snapshot.bus.iter().filter(|server| server.state == BusNodeState::Fails);
    failing.map(move |server| {
        let hit = |node: &&NodeStatus| server.fails_for.contains(&node.node);
        let viewers = snapshot.nodes.iter().filter(hit).map(NodeStatus::viewers).sum();
        // At the end, where a narrow screen cuts: viewers come first.
        let error = server.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
        let nodes = server.fails_for.len() as u64;
        Condition {
            rule: "redis_node_down",
            subject: Subject::Engine(server.address.clone()),
            severity: Severity::Broken,
            hold_ms: REDIS_HOLD_MS,
            known_ms: server.since_ms,
            text: format!(
                "Redis node {} does not answer: comments of its channels reach {} through the log, \
                 later, none lost ({}{error}).",
                server.address,
                figures::counted(viewers, "viewer"),
                figures::counted(nodes, "node"),
            ),
            next: format!("redis-cli -h {} ping", host(&server.address)),
        }
    })
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Says what viewers notice while a dependency is away.
fn outage_effect(dependency: &str) -> (&'static str, Severity) {
    match dependency {
        "event log" => ("comments are refused, viewers stay connected", Severity::Unserved),
        "fan-out bus" => ("comments go through the log, later, none lost", Severity::Broken),
        "connection registry" => {
            ("commands go through the log; counts of viewers are old", Severity::Broken)
        }
        "recent cache" => ("returning viewers are served from the log", Severity::Broken),
        "reaction totals" => ("reactions are kept and added later", Severity::Broken),
        "comment store" => {
            ("history lacks the newest comments; the log keeps them", Severity::Broken)
        }
        "comment store (history)" => ("history cannot be read", Severity::Broken),
        "metadata store" | "metadata store (reads)" => {
            ("bans in force stay in force, changes are refused", Severity::Broken)
        }
        _ => ("what depends on it waits", Severity::Broken),
    }
}

fn breakers(moment: &Moment) -> Vec<Condition> {
    let condition = |breaker: &&crate::protocol::admin::BreakerStatus| {
        let dependency = &breaker.dependency;
        let (effect, severity) = outage_effect(dependency);
        let error = breaker.last_error.as_deref().unwrap_or("no answer");
        let trial = match breaker.state {
            BreakerState::HalfOpen => " It is being tried again.",
            BreakerState::Open | BreakerState::Closed => "",
        };
        Condition {
            rule: "breaker_open",
            subject: Subject::Engine(dependency.clone()),
            severity,
            hold_ms: 1_000,
            known_ms: breaker.since_ms,
            text: format!("{dependency} fails: {effect}. {error}.{trial}"),
            next: "4 shows it; it is taken back by itself".to_owned(),
        }
    };
    moment.failing().iter().map(condition).collect()
}

/// Finds the node that a sentence about a problem begins with.
fn problem_subject(problem: &str, snapshot: &TopSnapshot) -> Subject {
    let named = problem.split_once(": ").map(|(name, _)| NodeId::new(name));
    let known = named.filter(|name| snapshot.nodes.iter().any(|node| node.node == *name));
    known.map_or(Subject::Cluster, Subject::Node)
}

fn egress(moment: &Moment) -> Option<Condition> {
    let (limited, edges) = moment.at_egress_limit();
    let streams = moment.snapshot.streams.iter();
    let lowered = streams.filter(|stream| !stream.egress_share.is_all()).count();
    (limited > 0).then(|| Condition {
        rule: "egress_capped",
        subject: Subject::Cluster,
        severity: Severity::Warning,
        hold_ms: 5_000,
        known_ms: 0,
        text: format!(
            "{limited} of {} at their egress limit: {} shown partially, history has all.",
            figures::counted(edges as u64, "edge"),
            figures::counted(lowered as u64, "stream"),
        ),
        next: "3 shows which; t lowers a stream".to_owned(),
    })
}

fn places(moment: &Moment) -> Vec<Condition> {
    let mut found = Vec::new();
    let places = moment.places();
    let connections = moment.snapshot.connections;
    if is_nearly_full(connections, places) {
        found.push(Condition {
            rule: "places_low",
            subject: Subject::Cluster,
            severity: Severity::Warning,
            hold_ms: 0,
            known_ms: 0,
            text: format!(
                "{} of {} places are taken; viewers beyond that are turned away.",
                figures::count(connections),
                figures::count(places),
            ),
            next: "start another edge".to_owned(),
        });
    }
    let refused = moment.snapshot.rates.connections_refused;
    if refused >= 1.0 {
        found.push(Condition {
            rule: "viewers_refused",
            subject: Subject::Cluster,
            severity: Severity::Warning,
            hold_ms: 3_000,
            known_ms: 0,
            text: format!(
                "{} connections per second are turned away and told when to come back.",
                figures::plain_rate(Some(refused)),
            ),
            next: "3 shows the places of each edge".to_owned(),
        });
    }
    found
}

fn lag(group: &GroupLag, moment: &Moment) -> Option<Condition> {
    let effect = match group.group.as_str() {
        "archiver" => "history lacks the newest, live viewers notice nothing",
        "coordinator" => "viewers get comments late",
        "moderator" => "comments are checked late",
        _ => "what it writes is late",
    };
    let behind =
        group.oldest_ms.map_or(String::new(), |ms| format!(" ({})", figures::lateness(ms)));
    (moment.lag_state(group) == LagState::FallsBack).then(|| Condition {
        rule: "lag_growing",
        subject: Subject::Engine(group.group.clone()),
        severity: Severity::Warning,
        hold_ms: 10_000,
        known_ms: 0,
        text: format!(
            "{} is {}{behind} behind, {}: {effect}.",
            group.group,
            figures::counted(group.lag, "record"),
            figures::change(group.change_per_s.unwrap_or(0.0)),
        ),
        next: "4 shows its partitions".to_owned(),
    })
}

fn queue(stage: &StageStatus) -> Option<Condition> {
    // The queue of the gateway are the places for viewers, which have an alarm of their own.
    if stage.name == StageName::Gateway {
        return None;
    }
    let fullest = stage.fullest.as_ref().filter(|queue| queue.share() >= 0.5)?;
    Some(Condition {
        rule: "queue_half",
        subject: Subject::Node(fullest.node.clone()),
        severity: Severity::Warning,
        hold_ms: 3_000,
        known_ms: 0,
        text: format!(
            "The queue of {} on {} is {} full; at 100 % it refuses.",
            stage.name.as_str(),
            fullest.node,
            figures::percent(fullest.share()),
        ),
        next: format!("3 shows {}", fullest.node),
    })
}

fn service(moment: &Moment) -> Vec<Condition> {
    let mut found = Vec::new();
    let AlertThresholds { latency_high_ms, served_low, .. } = moment.snapshot.thresholds;
    let p95 = moment.snapshot.end_to_end.quantile_ms(0.95);
    if let Some(p95) = p95.filter(|p95| *p95 > latency_high_ms as f64) {
        found.push(Condition {
            rule: "latency_high",
            subject: Subject::Cluster,
            severity: Severity::Warning,
            hold_ms: 30_000,
            known_ms: 0,
            text: format!("Comments take {p95:.0} ms at p95, the goal is {latency_high_ms} ms."),
            next: "1 shows the slow stage".to_owned(),
        });
    }
    if let Some(served) = moment.served().filter(|served| *served < served_low) {
        found.push(Condition {
            rule: "served_low",
            subject: Subject::Cluster,
            severity: Severity::Warning,
            hold_ms: 30_000,
            known_ms: 0,
            text: format!(
                "{} of comments reach viewers, the goal is {}: slow viewers skip the others.",
                figures::percent(served),
                figures::percent(served_low),
            ),
            next: "2 shows the streams".to_owned(),
        });
    }
    found
}

fn clock(node: &NodeStatus, limit_ms: u64) -> Option<Condition> {
    let off = node.process.clock_ms.filter(|ms| ms.unsigned_abs() > limit_ms)?;
    let direction = if off > 0 { "ahead" } else { "behind" };
    Some(Condition {
        rule: "clock_off",
        subject: Subject::Node(node.node.clone()),
        severity: Severity::Warning,
        hold_ms: 10_000,
        known_ms: 0,
        text: format!(
            "The clock of {} is {} ms {direction}; latencies are wrong by as much.",
            node.node,
            off.unsigned_abs(),
        ),
        next: format!("chronyc tracking on {}", node.node),
    })
}
