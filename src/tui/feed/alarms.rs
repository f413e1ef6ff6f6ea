//! Alarms: what is wrong, about what, and how grave it is.

use serde::{Deserialize, Serialize};

use crate::protocol::admin::{self, Alert};
use crate::protocol::{NodeId, StreamId};
use crate::tui::tone::Health;

/// The subject of an alarm, which opens when the alarm is chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Subject {
    Cluster,
    Node(NodeId),
    Stream(StreamId),
    /// A dependency, a server of the bus or a consumer group.
    Engine(String),
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    /// The id under which it is acknowledged; absent if only this console sees it.
    pub(crate) id: Option<String>,
    pub(crate) rule: String,
    pub(crate) subject: Subject,
    pub(crate) severity: Severity,
    pub(crate) since_ms: u64,
    pub(crate) text: String,
    /// A command or a key; empty if nothing is to be done.
    pub(crate) next: String,
    pub(crate) acked_by: Option<String>,
}

impl Alarm {
    /// Returns an alert of the daemon as it is at a time, in a cluster of so many nodes.
    pub(super) fn of_daemon(alert: &Alert, now_ms: u64, cluster_nodes: usize) -> Self {
        let Alert { id, rule, subject, nodes, since_ms, effect, next, acked_by, .. } = alert;
        let about = match (rule.as_str(), &nodes[..]) {
            // The node itself does not report it.
            ("node_silent", _) => Subject::Node(NodeId::new(subject)),
            (
                "breaker_open" | "redis_node_down" | "lag_high" | "lag_growing" | "records_gone",
                _,
            ) => Subject::Engine(subject.clone()),
            (_, [node]) => Subject::Node(node.clone()),
            _ => Subject::Cluster,
        };
        let does_not_answer =
            matches!(rule.as_str(), "node_silent" | "breaker_open" | "redis_node_down");
        let severity = match alert.severity {
            // As `lc status` counts: one node of many that serves nobody is no failure of all.
            // A critical drain is that of every node that takes viewers.
            admin::Severity::Critical
                if rule == "draining" || nodes.len() * 2 >= cluster_nodes.max(1) =>
            {
                Severity::Unserved
            }
            admin::Severity::Critical => Severity::Broken,
            admin::Severity::Warning if does_not_answer => Severity::Broken,
            admin::Severity::Warning => Severity::Warning,
        };
        Self {
            id: Some(id.clone()),
            rule: rule.clone(),
            subject: about,
            severity,
            since_ms: now_ms.saturating_sub(*since_ms),
            text: effect.clone(),
            next: next.clone(),
            acked_by: acked_by.clone(),
        }
    }

    /// Returns whether the cluster is not well by this alarm: somebody looks after one that is
    /// acknowledged, as long as viewers are served.
    pub(crate) fn lowers_state(&self) -> bool {
        self.acked_by.is_none() || self.severity == Severity::Unserved
    }

    /// Names the alarm as long as it lasts.
    pub(crate) fn key(&self) -> String {
        let Self { id, rule, subject, text, .. } = self;
        match id {
            Some(id) => id.clone(),
            // A node may have several problems, whose sentences do not change.
            None if rule == "problem" => format!("{rule} {subject:?} {text}"),
            None => format!("{rule} {subject:?}"),
        }
    }

    /// Returns the alarm in whole sentences: what it means, the next step, who looks after it.
    pub(crate) fn sentences(&self) -> String {
        let mut said = ended(&self.text);
        if !self.next.is_empty() {
            said.push_str(&format!(" Next: {}", ended(&self.next)));
        }
        if let Some(by) = &self.acked_by {
            said.push_str(&format!(" Acknowledged by {by}."));
        }
        said
    }
}

/// Ends a text with a full stop, unless it ends a sentence already.
fn ended(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '?', '!']) { text.to_owned() } else { format!("{text}.") }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Severity {
    Warning,
    /// Something is broken, but viewers are served.
    Broken,
    /// Viewers are not served.
    Unserved,
}

impl Severity {
    pub(crate) fn health(self) -> Health {
        match self {
            Self::Warning => Health::Warn,
            Self::Broken | Self::Unserved => Health::Bad,
        }
    }
}
