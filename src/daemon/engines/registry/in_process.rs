//! The registry of a single process: every connection is on this node, and entries end with it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    CommandHandler, ConnectionRegistry, KnownNode, NodeCommand, RegistrationId, RegistryError,
};
use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::{NodeId, StreamId, UserId};

/// The embedded engine.
#[derive(Debug)]
pub struct InProcessRegistry {
    node: NodeId,
    handler: OnceLock<Arc<dyn CommandHandler>>,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    last_id: u64,
    by_user: AHashMap<UserId, Vec<(RegistrationId, ConnectionInfo)>>,
    viewers: AHashMap<NodeId, Vec<(StreamId, u64)>>,
    report: Option<Arc<NodeReport>>,
}

impl InProcessRegistry {
    pub fn new(node: NodeId) -> Self {
        Self { node, handler: OnceLock::new(), entries: Mutex::default() }
    }
}

#[async_trait]
impl ConnectionRegistry for InProcessRegistry {
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        let mut entries = self.entries.lock();
        let count = entries.by_user.get(&user_id).map_or(0, Vec::len);
        if limit > 0 && count >= limit as usize {
            return Err(RegistryError::TooManyConnections(
                u32::try_from(count).unwrap_or(u32::MAX),
            ));
        }
        entries.last_id += 1;
        let id = RegistrationId(entries.last_id);
        entries.by_user.entry(user_id).or_default().push((id, connection));
        Ok(id)
    }

    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError> {
        let mut entries = self.entries.lock();
        if let Some(held) = entries.by_user.get_mut(&user_id) {
            held.retain(|(other, _)| *other != id);
            if held.is_empty() {
                entries.by_user.remove(&user_id);
            }
        }
        Ok(())
    }

    fn silences(&self) -> Vec<(NodeId, Duration)> {
        Vec::new()
    }

    fn clock_offset_ms(&self) -> Option<i64> {
        None
    }

    fn same_name(&self) -> Option<String> {
        None
    }

    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        let entries = self.entries.lock();
        let held = entries.by_user.get(&user_id).map(Vec::as_slice).unwrap_or_default();
        let mut connections: Vec<_> = held.iter().map(|(_, info)| info.clone()).collect();
        drop(entries);
        connections.sort_by_key(|info| info.connected_at);
        Ok(connections)
    }

    async fn report_viewers(
        &self,
        node: &NodeId,
        viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        self.entries.lock().viewers.insert(node.clone(), viewers);
        Ok(())
    }

    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        let mut totals: AHashMap<StreamId, u64> = AHashMap::new();
        for (stream_id, count) in self.entries.lock().viewers.values().flatten() {
            *totals.entry(*stream_id).or_default() += count;
        }
        let mut totals: Vec<_> = totals.into_iter().filter(|(_, count)| *count > 0).collect();
        totals.sort_unstable();
        Ok(totals)
    }

    async fn report(&self, report: NodeReport) -> Result<(), RegistryError> {
        self.entries.lock().report = Some(Arc::new(report));
        Ok(())
    }

    /// Does nothing: the entries end with the process.
    async fn leave(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError> {
        let report = self.entries.lock().report.clone();
        Ok(vec![KnownNode { node: self.node.clone(), alive: true, report }])
    }

    fn set_command_handler(&self, handler: Arc<dyn CommandHandler>) {
        let _ = self.handler.set(handler);
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        match self.handler.get() {
            Some(handler) if *node == self.node => Ok(handler.handle(command).await),
            _ => Err(RegistryError::Unreachable(node.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::registry::conformance::{self, Member, RecordingHandler};

    async fn open() -> (Member, ()) {
        let node = NodeId::new("n");
        let handler = Arc::new(RecordingHandler::default());
        let registry = Arc::new(InProcessRegistry::new(node.clone()));
        registry.set_command_handler(handler.clone());
        (Member { node, registry, handler }, ())
    }

    conformance::registry_suite!(open());

    #[tokio::test]
    async fn without_a_handler_the_node_is_unreachable() {
        let node = NodeId::new("n");
        let registry = InProcessRegistry::new(node.clone());
        let answer = registry.command(&node, NodeCommand::ReloadSanctions).await;
        assert!(matches!(answer, Err(RegistryError::Unreachable(_))));
    }

    #[tokio::test]
    async fn users_without_connections_cost_nothing() {
        let registry = InProcessRegistry::new(NodeId::new("n"));
        for user in 1..=1000 {
            let info = conformance::connection(&NodeId::new("n"), 1, 0);
            let id = registry.register(UserId(user), info, 1).await.unwrap();
            registry.unregister(UserId(user), id).await.unwrap();
        }
        assert!(registry.entries.lock().by_user.is_empty());
    }
}
