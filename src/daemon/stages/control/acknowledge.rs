//! Acknowledges losses, which are shown until somebody knows of them.
//!
//! Only the losses end that a node shows, to `lc status` and in the answer of this operation: one
//! that nobody has seen stays. Nodes that are away keep their losses, because nothing tells them
//! later. While the registry is away nothing is done: other nodes would be left out unnoticed.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::cluster::in_time;
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::{KnownNode, NodeCommand};
use crate::protocol::admin::{AcknowledgeRequest, Outcome, Problem, ProblemCode};

impl Control {
    /// Ends the losses of a kind that the nodes show now, on every node that answers.
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
        let known = in_time(self.parts.registry.nodes()).await?;
        let shown = self.shown(&known, &problem);
        let entry = self.entry(actor, "acknowledge", format!("problem {problem}"), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let losses = shown.iter().map(|(_, text)| text.clone()).collect();
        let shown = shown.into_iter().collect();
        let mut nodes: BTreeSet<_> = known.into_iter().map(|known| known.node).collect();
        nodes.insert(self.parts.node.clone());
        let command = NodeCommand::Acknowledge { problem, shown };
        let results = self.command_nodes(nodes, command).await;
        Ok(Outcome { losses, ..outcome(audit_id, results, started) })
    }

    /// Returns subject and text of each loss that a node shows.
    fn shown(&self, nodes: &[KnownNode], code: &str) -> BTreeSet<(String, String)> {
        // The last report of this node may be older than what it shows.
        let here = self.parts.problems.list();
        let reports = nodes.iter().filter_map(|known| known.report.as_deref());
        let problems = reports.flat_map(|report| &report.problems).chain(&here);
        let shown = problems.filter(|known| known.code == code);
        shown.map(|Problem { subject, text, .. }| (subject.clone(), text.clone())).collect()
    }
}

fn not_a_loss() -> ControlError {
    let names = ProblemCode::LOSSES.map(ProblemCode::as_str).join(", ");
    let problem =
        format!("must be one of {names}; every other problem ends by itself when it is solved");
    ControlError::Invalid { field: "problem", problem }
}
