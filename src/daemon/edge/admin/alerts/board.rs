//! Conditions that hold for a while become alerts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::conditions::Condition;
use super::texts;
use crate::protocol::admin::{Alert, NodeStatus};

/// Alerts that are kept.
pub(super) const MAX_ALERTS: usize = 64;

/// The conditions that hold now, and the alerts that some of them are.
#[derive(Debug, Default)]
pub(super) struct AlertBoard {
    by_id: BTreeMap<String, Standing>,
}

#[derive(Debug)]
struct Standing {
    since: Instant,
    /// Present once the condition has held for long enough.
    alert: Option<Alert>,
}

/// A change of the board.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Raised(Alert),
    Cleared { id: String, lasted: Duration },
}

impl AlertBoard {
    /// Takes the conditions that hold now, on this node or, without one, somewhere.
    pub(super) fn update(
        &mut self,
        now: Instant,
        conditions: Vec<Condition>,
        node: Option<&NodeStatus>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut holding = BTreeMap::new();
        for condition in conditions {
            holding.entry(condition.id()).or_insert(condition);
        }
        self.by_id.retain(|id, standing| {
            let holds = holding.contains_key(id);
            if !holds && standing.alert.is_some() {
                let lasted = now.saturating_duration_since(standing.since);
                changes.push(Change::Cleared { id: id.clone(), lasted });
            }
            holds
        });
        for (id, condition) in holding {
            if self.by_id.len() >= MAX_ALERTS && !self.by_id.contains_key(&id) {
                continue;
            }
            let began = now.checked_sub(condition.lasted).unwrap_or(now);
            let standing = self.by_id.entry(id).or_insert(Standing { since: began, alert: None });
            let lasted = now.saturating_duration_since(standing.since);
            if lasted < condition.hold {
                continue;
            }
            let alert = texts::alert(&condition, lasted, node);
            if standing.alert.replace(alert.clone()).is_none() {
                changes.push(Change::Raised(alert));
            }
        }
        changes
    }

    pub(super) fn raised(&self) -> impl Iterator<Item = &Alert> {
        self.by_id.values().filter_map(|standing| standing.alert.as_ref())
    }
}
