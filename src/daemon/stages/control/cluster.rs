//! Sends commands to nodes and reports the nodes that did not answer.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tracing::warn;

use super::Control;
use crate::daemon::engines::registry::{NodeCommand, RegistryError};
use crate::protocol::{NodeId, UserId};

/// The time limit for the registry and for each node. A slower node is reported to the operator,
/// and catches up by its periodic reload.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// The results of a command that several nodes executed.
#[derive(Debug, Default)]
pub(super) struct CommandResults {
    /// The connections it affected on all nodes.
    pub(super) connections: u64,
    /// The number that each node answered.
    pub(super) answers: Vec<(NodeId, u64)>,
    pub(super) unreachable: Vec<NodeId>,
}

impl CommandResults {
    /// Adds the results of another command.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.connections += other.connections;
        self.answers.extend(other.answers);
        for node in other.unreachable {
            if !self.unreachable.contains(&node) {
                self.unreachable.push(node);
            }
        }
        self
    }
}

impl Control {
    /// Sends a command to every node.
    pub(super) async fn command_all_nodes(&self, command: NodeCommand) -> CommandResults {
        let nodes = self.known_nodes().await;
        self.command_nodes(nodes, command).await
    }

    /// Sends a command to the nodes that hold a connection of the user, or to every node while the
    /// registry does not answer.
    pub(super) async fn command_nodes_of_user(
        &self,
        user_id: UserId,
        command: NodeCommand,
    ) -> CommandResults {
        let located = in_time(self.parts.registry.locate(user_id)).await;
        let nodes = match located {
            Ok(connections) => connections.into_iter().map(|place| place.node).collect(),
            Err(error) => {
                warn!(%user_id, %error, "cannot locate a user; sending the command to every node");
                self.known_nodes().await
            }
        };
        self.command_nodes(nodes, command).await
    }

    /// Sends a command to some nodes.
    pub(super) async fn command_nodes(
        &self,
        nodes: BTreeSet<NodeId>,
        command: NodeCommand,
    ) -> CommandResults {
        let commands = nodes.into_iter().map(|node| {
            let command = command.clone();
            async move {
                let answer = self.command_node(&node, command).await;
                (node, answer)
            }
        });
        let mut results = CommandResults::default();
        for (node, answer) in join_all(commands).await {
            match answer {
                Ok(answer) => {
                    results.connections += answer;
                    results.answers.push((node, answer));
                }
                Err(error) => {
                    warn!(%node, %error, "a node did not execute a command");
                    results.unreachable.push(node);
                }
            }
        }
        results
    }

    async fn command_node(
        &self,
        node: &NodeId,
        command: NodeCommand,
    ) -> Result<u64, RegistryError> {
        if *node == self.parts.node {
            let executed = self.parts.endpoint.handle(command);
            return timeout(NODE_TIMEOUT, executed)
                .await
                .map_err(|_| RegistryError::Unreachable(node.clone()));
        }
        in_time(self.parts.registry.command(node, command)).await
    }

    /// Returns the nodes that the registry knows, and in any case this one.
    async fn known_nodes(&self) -> BTreeSet<NodeId> {
        let known = in_time(self.parts.registry.nodes()).await.unwrap_or_else(|error| {
            warn!(%error, "cannot list the nodes; sending the command only to this one");
            Vec::new()
        });
        let mut nodes: BTreeSet<_> = known.into_iter().map(|known| known.node).collect();
        nodes.insert(self.parts.node.clone());
        nodes
    }
}

/// Returns the registry's answer, or an error if it takes too long.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    timeout(NODE_TIMEOUT, answer).await.unwrap_or_else(|_| {
        Err(RegistryError::Unavailable(format!("no answer within {NODE_TIMEOUT:?}")))
    })
}
