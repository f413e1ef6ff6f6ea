//! Acknowledges losses, which are shown until somebody knows of them.
//!
//! Only the losses end that a node shows, to `lc status` and in the answer of this operation: one
//! that nobody has seen stays. Nodes that are away keep their losses, because nothing tells them
//! later. While the registry is away the nodes and losses last known are used.
//!
//! When a node cannot write that its losses ended, it is named in the answer: it would show them
//! again after a restart.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::time::Instant;

use super::cluster::in_time;
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::{KnownNode, NodeCommand};
use crate::protocol::NodeId;
use crate::protocol::admin::{AcknowledgeRequest, Outcome, Problem, ProblemCode, audit_action};

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
        let detail = Detail {
            problem: &request.problem,
            losses: shown.keys().map(|(_, text)| text.as_str()).collect(),
        };
        let entry =
            self.entry(actor, audit_action::ACKNOWLEDGE, format!("problem {problem}"), &detail);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let mut nodes: BTreeSet<_> = known.into_iter().map(|known| known.node).collect();
        nodes.insert(self.parts.node.clone());
        let command = NodeCommand::Acknowledge { problem, shown: shown.keys().cloned().collect() };
        let mut results = self.command_nodes(nodes, command).await;
        // These are no connections.
        results.connections = 0;
        let unwritten = results.answers.iter().filter(|(_, is_kept)| *is_kept == 0);
        let unwritten = unwritten.map(|(node, _)| node.clone()).collect();
        let is_ended =
            |nodes: &BTreeSet<NodeId>| nodes.iter().any(|node| !results.unreachable.contains(node));
        let ended = shown.into_iter().filter(|(_, nodes)| is_ended(nodes));
        let hint = loss.acknowledge_hint();
        let without_hint = |text: String| text.replace(&format!(" {hint}"), "");
        let losses = ended.map(|((_, text), _)| without_hint(text)).collect();
        Ok(Outcome { losses, unwritten, ..outcome(audit_id, results, started) })
    }

    /// Returns subject and text of each loss that is shown, and the nodes that show it.
    fn shown(
        &self,
        known: &[KnownNode],
        code: &str,
    ) -> BTreeMap<(String, String), BTreeSet<NodeId>> {
        // The last report of this node may be older than what it shows.
        let here = self.parts.problems.list().into_iter();
        let here = here.map(|problem| (self.parts.node.clone(), problem));
        let others = known.iter().filter(|known| known.node != self.parts.node);
        let reports = others.filter_map(|known| Some((&known.node, known.report.as_ref()?)));
        let elsewhere = reports.flat_map(|(node, report)| {
            report.problems.iter().map(|problem| (node.clone(), problem.clone()))
        });
        let mut shown: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (node, Problem { subject, text, .. }) in
            elsewhere.chain(here).filter(|(_, problem)| problem.code == code)
        {
            shown.entry((subject, text)).or_default().insert(node);
        }
        shown
    }
}

/// The detail of the audit entry.
#[derive(Serialize)]
struct Detail<'a> {
    problem: &'a str,
    losses: Vec<&'a str>,
}

fn not_a_loss() -> ControlError {
    let names = ProblemCode::LOSSES.map(ProblemCode::as_str).join(", ");
    let problem =
        format!("must be one of {names}; every other problem ends by itself when it is solved");
    ControlError::Invalid { field: "problem", problem }
}
