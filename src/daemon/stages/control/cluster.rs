//! Carrying commands to nodes, and knowing which did not answer.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tracing::warn;

use super::Control;
use crate::daemon::engines::registry::{NodeCommand, RegistryError};
use crate::protocol::{NodeId, UserId};

/// How long the registry or one node may take. A node that is slower catches up by its periodic
/// reload, and the operator is told its name.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// What commands to several nodes came to.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) connections: u64,
    pub(super) unreachable: Vec<NodeId>,
}

impl Reached {
    /// Adds up two rounds of commands.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.connections += other.connections;
        for node in other.unreachable {
            if !self.unreachable.contains(&node) {
                self.unreachable.push(node);
            }
        }
        self
    }
}

impl Control {
    /// Tells every node.
    pub(super) async fn tell_all(&self, command: NodeCommand) -> Reached {
        let nodes = self.alive().await;
        self.tell(nodes, command).await
    }

    /// Tells the nodes that hold a connection of the user; all of them while the registry cannot say.
    pub(super) async fn tell_holders(&self, user_id: UserId, command: NodeCommand) -> Reached {
        let located = in_time(self.parts.registry.locate(user_id)).await;
        let nodes = match located {
            Ok(connections) => connections.into_iter().map(|place| place.node).collect(),
            Err(error) => {
                warn!(%user_id, %error, "cannot locate a user, asking every node");
                self.alive().await
            }
        };
        self.tell(nodes, command).await
    }

    /// Tells this node alone.
    pub(super) async fn tell_self(&self, command: NodeCommand) -> Reached {
        self.tell(BTreeSet::from([self.parts.node.clone()]), command).await
    }

    async fn tell(&self, nodes: BTreeSet<NodeId>, command: NodeCommand) -> Reached {
        let asked = nodes.into_iter().map(|node| {
            let command = command.clone();
            async move {
                let answer = self.ask(&node, command).await;
                (node, answer)
            }
        });
        let mut reached = Reached::default();
        for (node, answer) in join_all(asked).await {
            match answer {
                Ok(connections) => reached.connections += connections,
                Err(error) => {
                    warn!(%node, %error, "a node did not obey");
                    reached.unreachable.push(node);
                }
            }
        }
        reached
    }

    async fn ask(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        if *node == self.parts.node {
            let obeyed = self.parts.endpoint.handle(command);
            return timeout(NODE_TIMEOUT, obeyed)
                .await
                .map_err(|_| RegistryError::Unreachable(node.clone()));
        }
        in_time(self.parts.registry.command(node, command)).await
    }

    /// The nodes the registry knows, and this one in any case.
    async fn alive(&self) -> BTreeSet<NodeId> {
        let known = in_time(self.parts.registry.nodes()).await.unwrap_or_else(|error| {
            warn!(%error, "cannot list the nodes, telling this one alone");
            Vec::new()
        });
        let mut nodes: BTreeSet<_> = known.into_iter().map(|known| known.node).collect();
        nodes.insert(self.parts.node.clone());
        nodes
    }
}

/// What the registry says, if it says it in time.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    timeout(NODE_TIMEOUT, answer).await.unwrap_or_else(|_| {
        Err(RegistryError::Unavailable(format!("no answer within {NODE_TIMEOUT:?}")))
    })
}
