//! A registry whose commands fall back to the direct path.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tracing::debug;

use super::DirectPath;
use crate::daemon::engines::registry::{
    CommandHandler, ConnectionRegistry, KnownNode, NodeCommand, RegistrationId, RegistryError,
    SharedRegistry,
};
use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::{NodeId, StreamId, UserId};

/// Passes everything to the registry. Commands that it cannot deliver go through the log.
#[derive(Debug)]
pub struct FallbackRegistry {
    registry: SharedRegistry,
    direct: Arc<DirectPath>,
}

impl FallbackRegistry {
    pub fn new(registry: SharedRegistry, direct: Arc<DirectPath>) -> Self {
        Self { registry, direct }
    }
}

#[async_trait]
impl ConnectionRegistry for FallbackRegistry {
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        self.registry.register(user_id, connection, limit).await
    }

    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError> {
        self.registry.unregister(user_id, id).await
    }

    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        self.registry.locate(user_id).await
    }

    async fn report_viewers(
        &self,
        node: &NodeId,
        viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        self.registry.report_viewers(node, viewers).await
    }

    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        self.registry.viewers().await
    }

    async fn report(&self, report: NodeReport) -> Result<(), RegistryError> {
        self.registry.report(report).await
    }

    async fn leave(&self) -> Result<(), RegistryError> {
        self.registry.leave().await
    }

    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError> {
        self.registry.nodes().await
    }

    fn silences(&self) -> Vec<(NodeId, Duration)> {
        self.registry.silences()
    }

    fn set_command_handler(&self, endpoint: Arc<dyn CommandHandler>) {
        self.registry.set_command_handler(endpoint.clone());
        self.direct.set_command_handler(endpoint);
    }

    fn clock_offset_ms(&self) -> Option<i64> {
        self.registry.clock_offset_ms()
    }

    fn same_name(&self) -> Option<String> {
        self.registry.same_name()
    }

    /// A node may run a command twice, if the registry delivered it and lost the answer. Commands
    /// are idempotent, so this does no harm.
    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        match self.registry.command(node, command.clone()).await {
            Err(error @ (RegistryError::Unavailable(_) | RegistryError::Unreachable(_)))
                if !command.needs_registry() =>
            {
                debug!(%node, %error, "registry cannot deliver a command; sending it through the log");
                self.direct.command(node, command).await
            }
            answered => answered,
        }
    }
}
