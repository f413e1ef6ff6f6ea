//! Alerts and events: what is wrong now, and what has changed.

use serde::{Deserialize, Serialize};

use crate::protocol::NodeId;

/// How much an alert matters to viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Viewers are served.
    Warning,
    /// Viewers are not served, or their comments are refused.
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Thresholds of `[alerts]` by which a console judges the same figures, as the node that answers
/// has them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AlertThresholds {
    /// Age of the oldest unread record from which a growing lag is told, in milliseconds.
    pub lag_growing_ms: u64,
    /// The most that 19 of 20 comments may take from creation to write, in milliseconds.
    pub latency_high_ms: u64,
    /// The least share of deliveries that are not skipped, 0 to 1.
    pub served_low: f64,
    /// The largest offset of a node's clock, in milliseconds.
    pub clock_off_ms: u64,
}

impl AlertThresholds {
    /// The defaults of `[alerts]`.
    pub const DEFAULT: Self =
        Self { lag_growing_ms: 5_000, latency_high_ms: 150, served_low: 0.995, clock_off_ms: 20 };
}

/// A daemon that does not tell its thresholds has these.
impl Default for AlertThresholds {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// `GET /v1/alerts`: something that is wrong, on one node or on several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Alert {
    /// The rule and the subject. The same on every node, and as long as the alert lasts.
    pub id: String,
    /// The rule in `[alerts]` of the configuration, or the code of a problem.
    pub rule: String,
    /// The dependency, consumer group or setting that it is about; empty if it is about the nodes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    pub severity: Severity,
    /// Milliseconds since it began, on the node that has had it longest.
    pub since_ms: u64,
    /// The nodes that it was seen on.
    pub nodes: Vec<NodeId>,
    /// Viewers of these nodes.
    pub viewers: u64,
    /// The effect on viewers, as a sentence.
    pub effect: String,
    /// The next step; empty if nothing is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// The measured value, and the threshold of the rule that it has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The operator who has acknowledged it for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_by: Option<String>,
}

impl Alert {
    /// Returns the id of an alert. It has no spaces, so that it can be typed.
    pub fn id_of(rule: &str, subject: &str) -> String {
        if subject.is_empty() {
            return rule.to_owned();
        }
        let subject: String =
            subject.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
        format!("{rule}/{subject}")
    }

    /// Returns the rule in the id of an alert.
    pub fn rule_of(id: &str) -> &str {
        id.split('/').next().unwrap_or(id)
    }
}

/// An operator's acknowledgement of an alert, as nodes tell it to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AlertAck {
    /// The [`Alert::id`].
    pub id: String,
    pub by: String,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// For a loss: the digests of the texts that were shown. Another text is a further loss, which
    /// nobody has acknowledged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<u32>,
}

/// `POST /v1/alerts/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// The [`Alert::id`].
    pub id: String,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// The state of a cluster, for people and exit codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    #[default]
    Well,
    /// Viewers are served, and something is wrong.
    Degraded,
    /// Viewers are not served, or their comments are refused.
    Failing,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A dependency fails, or works again.
    Breaker,
    /// A node drains, accepts viewers again, or has reloaded a file or failed to.
    Node,
    /// The share of a stream that viewers see changes.
    Throttle,
    /// An alert begins, ends or is acknowledged.
    Alert,
    /// An operator changed something.
    Audit,
}

impl EventKind {
    pub const ALL: [Self; 5] =
        [Self::Breaker, Self::Node, Self::Throttle, Self::Alert, Self::Audit];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Node => "node",
            Self::Throttle => "throttle",
            Self::Alert => "alert",
            Self::Audit => "audit",
        }
    }
}

/// `GET /v1/events?where=&after=&limit=&follow=`: one change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventItem {
    /// The place in the order of the node that was asked; `after` continues behind it.
    pub id: u64,
    /// Milliseconds since the Unix epoch, on the clock of the node that saw it.
    pub at: u64,
    /// The node that saw it.
    pub node: NodeId,
    pub kind: EventKind,
    /// The dependency, node, stream, alert or target of the change.
    pub subject: String,
    pub text: String,
    /// The audit entry of a change by an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<u64>,
}
