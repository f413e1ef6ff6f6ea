//! Drains the node that receives the request, so that it can be stopped or examined.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{DrainRequest, Outcome};

impl Control {
    /// Dismisses this node's viewers and refuses new ones, or accepts viewers again. Returns at
    /// once with the number of connections, which are closed within the reconnect jitter.
    pub async fn drain(
        &self,
        actor: &Actor,
        request: &DrainRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let target = format!("node {}", self.parts.node);
        let entry = self.entry(actor, "drain", target, request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let results = self.command_this_node(NodeCommand::Drain { undo: request.undo }).await;
        let connections = Some(results.connections);
        Ok(Outcome { connections, ..outcome(audit_id, results, started) })
    }
}
