//! Acknowledges losses, which are shown until somebody knows of them.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{AcknowledgeRequest, Outcome, ProblemCode};

impl Control {
    /// Ends the losses of a kind on every node.
    pub async fn acknowledge(
        &self,
        actor: &Actor,
        request: &AcknowledgeRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let Some(loss) = ProblemCode::loss(&request.problem) else {
            return Err(not_a_loss());
        };
        let problem = loss.as_str().to_owned();
        let entry = self.entry(actor, "acknowledge", format!("problem {problem}"), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let results = self.command_all_nodes(NodeCommand::Acknowledge { problem }).await;
        Ok(outcome(audit_id, results, started))
    }
}

fn not_a_loss() -> ControlError {
    let names = ProblemCode::LOSSES.map(ProblemCode::as_str).join(", ");
    let problem =
        format!("must be one of {names}; every other problem ends by itself when it is solved");
    ControlError::Invalid { field: "problem", problem }
}
