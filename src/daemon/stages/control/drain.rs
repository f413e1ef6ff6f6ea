//! Emptying the node that answers, so that it can be stopped or looked at.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{DrainRequest, Outcome};

impl Control {
    /// Sends this node's viewers elsewhere and takes no new ones, or takes them again. It answers at
    /// once with the number of connections; they leave within the reconnect jitter.
    pub async fn drain(
        &self,
        actor: &Actor,
        request: &DrainRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let target = format!("node {}", self.parts.node);
        let entry = self.entry(actor, "drain", target, request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let reached = self.tell_self(NodeCommand::Drain { undo: request.undo }).await;
        Ok(outcome(audit_id, reached, started))
    }
}
