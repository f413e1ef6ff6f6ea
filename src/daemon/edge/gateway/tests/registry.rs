//! The registry in memory, as far as the gateway uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::daemon::engines::registry::{
    ConnectionRegistry, KnownNode, NodeCommand, NodeEndpoint, RegistrationId, RegistryError,
};
use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::{NodeId, StreamId, UserId};

/// One node's registry; counts what it holds.
#[derive(Debug, Default)]
pub(super) struct MemoryRegistry {
    pub(super) held: Mutex<Vec<(RegistrationId, UserId, ConnectionInfo)>>,
    pub(super) commands: Mutex<Vec<(NodeId, NodeCommand)>>,
    pub(super) is_down: AtomicBool,
    next: AtomicU64,
}

impl MemoryRegistry {
    fn check(&self) -> Result<(), RegistryError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(RegistryError::Unavailable("down".to_owned())),
            false => Ok(()),
        }
    }

    pub(super) fn held_by(&self, user_id: u64) -> usize {
        self.held.lock().iter().filter(|(_, user, _)| user.0 == user_id).count()
    }
}

#[async_trait]
impl ConnectionRegistry for MemoryRegistry {
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        self.check()?;
        if limit > 0 && self.held_by(user_id.0) >= limit as usize {
            return Err(RegistryError::TooManyConnections(limit));
        }
        let id = RegistrationId(self.next.fetch_add(1, Ordering::SeqCst));
        self.held.lock().push((id, user_id, connection));
        Ok(id)
    }

    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError> {
        self.check()?;
        self.held.lock().retain(|(held, user, _)| (*held, *user) != (id, user_id));
        Ok(())
    }

    async fn locate(&self, _user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        Ok(Vec::new())
    }

    async fn report_viewers(
        &self,
        _node: &NodeId,
        _viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        Ok(Vec::new())
    }

    async fn report(&self, _report: NodeReport) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn leave(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError> {
        let known = |name| KnownNode { node: NodeId::new(name), alive: true, report: None };
        Ok(["one", "two"].map(known).to_vec())
    }

    fn set_endpoint(&self, _endpoint: Arc<dyn NodeEndpoint>) {}

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        self.commands.lock().push((node.clone(), command));
        Ok(0)
    }
}
