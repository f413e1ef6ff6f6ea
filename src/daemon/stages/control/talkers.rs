//! Asks nodes to report the users that say most on a stream.

use std::collections::BTreeSet;

use super::Control;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::{NodeId, StreamId};

impl Control {
    /// Asks nodes to put the talkers of a stream into their reports of the next seconds. Returns
    /// the nodes that did not answer within two seconds.
    pub async fn request_talkers(
        &self,
        nodes: BTreeSet<NodeId>,
        stream_id: StreamId,
    ) -> Vec<NodeId> {
        let command = NodeCommand::ReportTalkers { stream_id };
        self.command_nodes(nodes, command).await.unreachable
    }
}
