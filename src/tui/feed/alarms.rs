//! Alarms: what is wrong, about what, and how grave it is.

use serde::{Deserialize, Serialize};

use crate::protocol::admin::{self, Alert};
use crate::protocol::{NodeId, StreamId};
use crate::tui::tone::Health;

/// What an alarm is about, and so what opens when it is chosen.
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
    /// Returns an alert of the daemon as it is at a time.
    pub(super) fn of_daemon(alert: &Alert, now_ms: u64) -> Self {
        let Alert { id, rule, subject, nodes, since_ms, effect, next, acked_by, .. } = alert;
        let about = match (subject.is_empty(), &nodes[..]) {
            (false, _) if rule != "problem" => Subject::Engine(subject.clone()),
            (_, [node]) => Subject::Node(node.clone()),
            _ => Subject::Cluster,
        };
        let severity = match alert.severity {
            admin::Severity::Critical => Severity::Unserved,
            // Something does not answer, rather than being near a limit.
            admin::Severity::Warning if matches!(rule.as_str(), "node_silent" | "breaker_open") => {
                Severity::Broken
            }
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
