//! The connection registry with a meter in front.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    CommandHandler, ConnectionRegistry, KnownNode, NodeCommand, RegistrationId, RegistryError,
    SharedRegistry,
};
use crate::daemon::base::telemetry::StoreMeter;
use crate::daemon::engines::measured::measured_by;
use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::{NodeId, StreamId, UserId};

/// Measures the calls to the registry. Commands are not measured: other nodes carry them out.
#[derive(Debug)]
pub struct MeasuredRegistry {
    registry: SharedRegistry,
    meter: Arc<StoreMeter>,
}

impl MeasuredRegistry {
    pub fn new(registry: SharedRegistry, meter: Arc<StoreMeter>) -> Self {
        Self { registry, meter }
    }

    async fn measured<T>(
        &self,
        call: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let is_failure = |error: &RegistryError| matches!(error, RegistryError::Unavailable(_));
        measured_by(&self.meter, is_failure, call).await
    }
}

#[async_trait]
impl ConnectionRegistry for MeasuredRegistry {
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        self.measured(self.registry.register(user_id, connection, limit)).await
    }

    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError> {
        self.measured(self.registry.unregister(user_id, id)).await
    }

    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        self.measured(self.registry.locate(user_id)).await
    }

    async fn report_viewers(
        &self,
        node: &NodeId,
        viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        self.measured(self.registry.report_viewers(node, viewers)).await
    }

    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        self.measured(self.registry.viewers()).await
    }

    async fn report(&self, report: NodeReport) -> Result<(), RegistryError> {
        self.measured(self.registry.report(report)).await
    }

    async fn leave(&self) -> Result<(), RegistryError> {
        self.measured(self.registry.leave()).await
    }

    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError> {
        self.measured(self.registry.nodes()).await
    }

    fn set_command_handler(&self, handler: Arc<dyn CommandHandler>) {
        self.registry.set_command_handler(handler);
    }

    fn silences(&self) -> Vec<(NodeId, Duration)> {
        self.registry.silences()
    }

    fn clock_offset_ms(&self) -> Option<i64> {
        self.registry.clock_offset_ms()
    }

    fn same_name(&self) -> Option<String> {
        self.registry.same_name()
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        self.registry.command(node, command).await
    }
}
