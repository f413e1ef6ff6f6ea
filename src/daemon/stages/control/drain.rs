//! Drains a node, so that it can be stopped or examined.
//!
//! Any node takes the request. It tells the node through the registry, as it does with every
//! command, and then waits for a report of that node that shows the change: what an operator is
//! told was seen, not hoped for.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::cluster::in_time;
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::NodeId;
use crate::protocol::admin::{DrainRequest, Outcome, audit_action};

/// The time for a report that shows the change. A node reports once per second.
const REPORT_TIMEOUT: Duration = Duration::from_secs(4);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The prefix of the target of an audit entry about a node.
const TARGET: &str = "node ";

impl Control {
    /// Lets a node dismiss its viewers and refuse new ones, or accept viewers again. Returns the
    /// number of its connections, which are closed within its reconnect jitter, and whether its
    /// report has shown the change.
    ///
    /// # Errors
    /// `UnknownNode` with the nodes that are known.
    pub async fn drain(
        &self,
        actor: &Actor,
        request: &DrainRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let node = request.node.clone().unwrap_or_else(|| self.parts.node.clone());
        self.check_node(&node).await?;
        let entry = self.entry(actor, audit_action::DRAIN, target(&node), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        Ok(self.drain_node(node, request.undo, audit_id, started).await)
    }

    /// Tells a node to drain, or to accept viewers again, which was recorded under `audit_id`.
    pub(super) async fn drain_node(
        &self,
        node: NodeId,
        undo: bool,
        audit_id: u64,
        started: Instant,
    ) -> Outcome {
        let nodes = BTreeSet::from([node.clone()]);
        let mut results = self.command_nodes(nodes, NodeCommand::Drain { undo }).await;
        let mut reported = None;
        if node != self.parts.node {
            let shows = self.reports_draining(&node, !undo).await;
            if shows {
                // Its answer was lost, or came too late.
                results.unreachable.clear();
            }
            reported = Some(shows);
        }
        let connections = results.answers.first().map(|(_, connections)| *connections);
        let node = Some(node);
        Outcome { connections, node, reported, ..outcome(audit_id, results, started) }
    }

    async fn check_node(&self, node: &NodeId) -> Result<(), ControlError> {
        if *node == self.parts.node {
            return Ok(());
        }
        let known = in_time(self.parts.registry.nodes()).await?;
        let known: Vec<_> = known.into_iter().map(|known| known.node).collect();
        if known.contains(node) {
            return Ok(());
        }
        Err(ControlError::UnknownNode { node: node.clone(), known })
    }

    /// Waits for a report of a node that shows its state. Returns false if none came in time.
    async fn reports_draining(&self, node: &NodeId, draining: bool) -> bool {
        let looking = async {
            loop {
                let known = self.parts.registry.nodes().await.unwrap_or_default();
                let of_node = known.iter().find(|known| known.node == *node && known.alive);
                let report = of_node.and_then(|known| known.report.as_ref());
                if report.is_some_and(|report| report.node.draining == draining) {
                    return;
                }
                sleep(LOOK_INTERVAL).await;
            }
        };
        timeout(REPORT_TIMEOUT, looking).await.is_ok()
    }
}

/// Returns the target of audit entries about a node.
fn target(node: &NodeId) -> String {
    format!("{TARGET}{node}")
}

/// Returns the node that an audit entry is about.
pub(super) fn node_of(target: &str) -> Option<NodeId> {
    target.strip_prefix(TARGET).map(NodeId::new)
}
