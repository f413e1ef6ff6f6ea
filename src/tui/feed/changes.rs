//! Happenings: the differences between two moments that an operator wants to know later.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alarms::{Alarm, Subject};
use super::moment::Moment;
use crate::protocol::NodeId;
use crate::protocol::admin::{BreakerState, EventItem, EventKind, NodeStatus, StreamStatus};
use crate::protocol::quantity::show_share;
use crate::tui::figures;
use crate::tui::tone::Health;

/// Something that happened in the cluster, as this console saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Happening {
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) health: Health,
    pub(crate) subject: Subject,
    /// The name of the subject.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Happening {
    /// Returns an event that the daemon kept. Acts of operators are in the audit log.
    pub(super) fn of_daemon(event: &EventItem) -> Option<Self> {
        let EventItem { at, kind, subject: name, text, .. } = event;
        let stream = name.strip_prefix("stream ").and_then(|id| id.parse().ok());
        let subject = match (kind, stream) {
            (EventKind::Audit, _) => return None,
            (EventKind::Throttle, Some(stream_id)) => Subject::Stream(stream_id),
            (EventKind::Node, _) => Subject::Node(NodeId::new(name)),
            (EventKind::Breaker, _) => Subject::Engine(name.clone()),
            _ => Subject::Cluster,
        };
        let health = match kind {
            EventKind::Breaker if text.starts_with("fails") => Health::Bad,
            EventKind::Breaker => Health::Good,
            EventKind::Throttle if text.contains("→ all") => Health::Good,
            EventKind::Throttle => Health::Warn,
            EventKind::Node | EventKind::Alert | EventKind::Audit => Health::Idle,
        };
        let kind = Cow::Borrowed(kind.as_str());
        Some(Self { at_ms: *at, kind, health, subject, name: name.clone(), text: text.clone() })
    }
}

/// Returns the changes from one moment to the next. Alarms are compared only if both moments have
/// them from the same source, the daemon or this console.
pub(super) fn changes(before: &Moment, now: &Moment, same_source: bool) -> Vec<Happening> {
    let mut found = Vec::new();
    let at_ms = now.at_ms;
    let mut add = |kind, health, subject, name: String, text: String| {
        let kind = Cow::Borrowed(kind);
        found.push(Happening { at_ms, kind, health, subject, name, text });
    };
    node_changes(before, now, &mut add);
    breaker_changes(before, now, &mut add);
    stream_changes(before, now, &mut add);
    if same_source {
        alarm_changes(before, now, &mut add);
    }
    found
}

fn alarm_changes(
    before: &Moment,
    now: &Moment,
    add: &mut impl FnMut(&'static str, Health, Subject, String, String),
) {
    // Silent nodes and failing dependencies have happenings of their own.
    let untold = |moment: &Moment| -> BTreeMap<String, Alarm> {
        let alarms = moment.alarms.iter();
        let untold =
            alarms.filter(|alarm| !matches!(alarm.rule.as_str(), "node_silent" | "breaker_open"));
        untold.map(|alarm| (what(alarm), alarm.clone())).collect()
    };
    let known = untold(before);
    let still = untold(now);
    for (_, alarm) in still.iter().filter(|(what, _)| !known.contains_key(*what)) {
        let health = alarm.severity.health();
        // It is raised some time after it began, which is the time that the alert tells.
        let text = match now.at_ms.saturating_sub(alarm.since_ms) {
            0..1_000 => alarm.text.clone(),
            _ => format!("{} (since {})", alarm.text, figures::clock(alarm.since_ms)),
        };
        add("alert", health, alarm.subject.clone(), alarm.rule.clone(), text);
    }
    for (_, alarm) in known.iter().filter(|(what, _)| !still.contains_key(*what)) {
        let text = format!("Over: {}", alarm.text);
        add("alert", Health::Good, alarm.subject.clone(), alarm.rule.clone(), text);
    }
}

/// Names an alarm. A server of the bus is the same whoever saw first that it fails.
fn what(alarm: &Alarm) -> String {
    match &alarm.subject {
        Subject::Engine(name) => format!("{} {name}", alarm.rule),
        _ => alarm.key(),
    }
}

fn node_changes(
    before: &Moment,
    now: &Moment,
    add: &mut impl FnMut(&'static str, Health, Subject, String, String),
) {
    let known: BTreeMap<&NodeId, &NodeStatus> =
        before.snapshot.nodes.iter().map(|node| (&node.node, node)).collect();
    for node in &now.snapshot.nodes {
        let subject = Subject::Node(node.node.clone());
        let name = node.node.to_string();
        match known.get(&node.node) {
            None if before.snapshot.unreachable.contains(&node.node) => {
                add("node", Health::Good, subject, name, "answers again".to_owned());
            }
            None => add("node", Health::Good, subject, name, "joined".to_owned()),
            Some(earlier) if node.uptime_ms < earlier.uptime_ms => {
                add("node", Health::Warn, subject, name, "was restarted".to_owned());
            }
            Some(earlier) if node.draining != earlier.draining => {
                let text = if node.draining { "is draining" } else { "accepts viewers again" };
                add("node", Health::Idle, subject, name, text.to_owned());
            }
            Some(_) => {}
        }
    }
    for node in &now.snapshot.unreachable {
        if !before.snapshot.unreachable.contains(node) {
            let subject = Subject::Node(node.clone());
            add("node", Health::Bad, subject, node.to_string(), "stopped answering".to_owned());
        }
    }
    let gone = before.snapshot.nodes.iter().filter(|node| {
        now.node(&node.node).is_none() && !now.snapshot.unreachable.contains(&node.node)
    });
    for node in gone {
        let subject = Subject::Node(node.node.clone());
        add("node", Health::Idle, subject, node.node.to_string(), "left".to_owned());
    }
}

fn breaker_changes(
    before: &Moment,
    now: &Moment,
    add: &mut impl FnMut(&'static str, Health, Subject, String, String),
) {
    for breaker in &now.snapshot.breakers {
        let Some(earlier) = before.breaker(&breaker.dependency) else { continue };
        let failed = earlier.state != BreakerState::Closed;
        let fails = breaker.state != BreakerState::Closed;
        let subject = Subject::Engine(breaker.dependency.clone());
        let name = breaker.dependency.clone();
        if fails && !failed {
            let error = breaker.last_error.as_deref().unwrap_or("no answer");
            add("breaker", Health::Bad, subject, name, format!("fails: {error}"));
        } else if failed && !fails {
            add("breaker", Health::Good, subject, name, "works again".to_owned());
        }
    }
}

fn stream_changes(
    before: &Moment,
    now: &Moment,
    add: &mut impl FnMut(&'static str, Health, Subject, String, String),
) {
    let known: BTreeMap<_, &StreamStatus> =
        before.snapshot.streams.iter().map(|stream| (stream.stream_id, stream)).collect();
    for stream in &now.snapshot.streams {
        let Some(earlier) = known.get(&stream.stream_id) else { continue };
        let subject = Subject::Stream(stream.stream_id);
        let name = format!("stream {}", stream.stream_id);
        if stream.state != earlier.state {
            let text = format!("{} → {}", earlier.state.as_str(), stream.state.as_str());
            add("stream", Health::Idle, subject.clone(), name.clone(), text);
        }
        // While an egress limit is felt out the share moves all the time; its steps are told once.
        let fixed = stream.throttle_override != earlier.throttle_override;
        let level = stream.throttle_level != earlier.throttle_level;
        let capped = stream.egress_share.is_all() != earlier.egress_share.is_all();
        if fixed || level || capped {
            let text = format!(
                "shows {} instead of {}: {}",
                show_share(stream.shown()),
                show_share(earlier.shown()),
                throttle_reason(stream),
            );
            let health = if stream.shown().is_all() { Health::Good } else { Health::Warn };
            add("throttle", health, subject, name, text);
        }
    }
}

/// Says what sets the share of a stream.
pub(crate) fn throttle_reason(stream: &StreamStatus) -> String {
    let throttle = match (stream.throttle_override, stream.throttle_level) {
        (Some(share), _) => {
            let end = stream.throttle_until_ms.map(|at| format!(" until {}", figures::clock(at)));
            format!("fixed at {} by hand{}", show_share(share), end.unwrap_or_default())
        }
        (None, 0) => "the throttle shows all".to_owned(),
        (None, level) => {
            format!("throttle level {level} shows {}", show_share(stream.sample_rate))
        }
    };
    if stream.egress_share.is_all() {
        return throttle;
    }
    format!("{throttle}, egress limits show {} of it", show_share(stream.egress_share))
}
