//! The one double of the connection registry: the in-process engine with more nodes beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::daemon::engines::registry::in_process::InProcessRegistry;
use crate::daemon::engines::registry::{
    CommandHandler, ConnectionRegistry, KnownNode, NodeCommand, RegistrationId, RegistryError,
};
use crate::protocol::admin::{ConnectionInfo, NodeReport, TransportKind};
use crate::protocol::{NodeId, Role, StreamId, UserId};

type CommandObserver = Box<dyn Fn(&NodeId, &NodeCommand) + Send + Sync>;

/// Registers connections like [`InProcessRegistry`]. Commands to the other nodes are recorded; each
/// node answers that a user's command touched one connection, and that its losses are written. A
/// test can take the registry down, silence a node, or have one report something.
pub(crate) struct TestRegistry {
    registry: InProcessRegistry,
    other_nodes: Vec<NodeId>,
    down: AtomicBool,
    hanging: AtomicBool,
    silent_node: Mutex<Option<NodeId>>,
    reports: Mutex<BTreeMap<NodeId, Arc<NodeReport>>>,
    silences: Mutex<BTreeMap<NodeId, Duration>>,
    registered: Mutex<Vec<(UserId, RegistrationId)>>,
    commands: Mutex<Vec<(NodeId, NodeCommand)>>,
    observer: Option<CommandObserver>,
}

impl fmt::Debug for TestRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRegistry").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl TestRegistry {
    pub(crate) fn new(node: &str, other_nodes: &[&str]) -> Self {
        Self {
            registry: InProcessRegistry::new(NodeId::new(node)),
            other_nodes: other_nodes.iter().map(|name| NodeId::new(name)).collect(),
            down: AtomicBool::new(false),
            hanging: AtomicBool::new(false),
            silent_node: Mutex::default(),
            reports: Mutex::default(),
            silences: Mutex::default(),
            registered: Mutex::default(),
            commands: Mutex::default(),
            observer: None,
        }
    }

    /// Calls `observer` with each command that reaches another node.
    pub(crate) fn observed(
        self,
        observer: impl Fn(&NodeId, &NodeCommand) + Send + Sync + 'static,
    ) -> Self {
        Self { observer: Some(Box::new(observer)), ..self }
    }

    /// While down, connections are neither registered nor found. The list of nodes is the last one
    /// known, and commands still reach them.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// While hanging, the search for a user's connections does not end.
    pub(crate) fn set_hanging(&self, hanging: bool) {
        self.hanging.store(hanging, Ordering::SeqCst);
    }

    /// The node never answers a command from now on.
    pub(crate) fn silence(&self, node: &str) {
        *self.silent_node.lock() = Some(NodeId::new(node));
    }

    /// Another node reports this from now on.
    pub(crate) fn set_report(&self, node: &str, report: NodeReport) {
        self.reports.lock().insert(NodeId::new(node), Arc::new(report));
    }

    /// Another node has last reported so long ago, from now on.
    pub(crate) fn set_silence(&self, node: &str, age: Duration) {
        self.silences.lock().insert(NodeId::new(node), age);
    }

    /// Registers a connection of the user on stream 1 at a node.
    pub(crate) async fn place(&self, user_id: u64, node: &str) {
        self.place_as(Role::Viewer, user_id, node).await;
    }

    /// The same for a user with a role.
    pub(crate) async fn place_as(&self, role: Role, user_id: u64, node: &str) {
        self.place_on(StreamId(1), role, role, user_id, node).await;
    }

    /// Registers a connection to a stream of a user with a role there, and one on all streams.
    pub(crate) async fn place_on(
        &self,
        stream_id: StreamId,
        role: Role,
        everywhere: Role,
        user_id: u64,
        node: &str,
    ) {
        let connection = ConnectionInfo {
            node: NodeId::new(node),
            stream_id,
            connected_at: 0,
            role,
            transport: TransportKind::Websocket,
            address: None,
            everywhere,
        };
        self.register(UserId(user_id), connection, 0).await.expect("no limit");
    }

    /// Returns the number of connections registered for the user, or for all users.
    pub(crate) fn count(&self, user_id: Option<u64>) -> usize {
        let registered = self.registered.lock();
        registered.iter().filter(|(user, _)| user_id.is_none_or(|wanted| wanted == user.0)).count()
    }

    /// Returns the commands that reached other nodes.
    pub(crate) fn commands(&self) -> Vec<(NodeId, NodeCommand)> {
        self.commands.lock().clone()
    }

    fn check(&self) -> Result<(), RegistryError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(RegistryError::Unavailable("switched off by the test".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl ConnectionRegistry for TestRegistry {
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        self.check()?;
        let id = self.registry.register(user_id, connection, limit).await?;
        self.registered.lock().push((user_id, id));
        Ok(id)
    }

    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError> {
        self.check()?;
        self.registered.lock().retain(|registered| *registered != (user_id, id));
        self.registry.unregister(user_id, id).await
    }

    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        self.check()?;
        if self.hanging.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
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
        self.check()?;
        self.registry.viewers().await
    }

    async fn report(&self, report: NodeReport) -> Result<(), RegistryError> {
        self.registry.report(report).await
    }

    async fn leave(&self) -> Result<(), RegistryError> {
        self.registry.leave().await
    }

    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError> {
        let mut nodes = self.registry.nodes().await?;
        let reports = self.reports.lock();
        let other = |node: &NodeId| KnownNode {
            node: node.clone(),
            alive: true,
            report: reports.get(node).cloned(),
        };
        nodes.extend(self.other_nodes.iter().map(other));
        Ok(nodes)
    }

    fn clock_offset_ms(&self) -> Option<i64> {
        self.registry.clock_offset_ms()
    }

    fn same_name(&self) -> Option<String> {
        self.registry.same_name()
    }

    fn silences(&self) -> Vec<(NodeId, Duration)> {
        self.silences.lock().iter().map(|(node, age)| (node.clone(), *age)).collect()
    }

    fn set_command_handler(&self, handler: Arc<dyn CommandHandler>) {
        self.registry.set_command_handler(handler);
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        if !self.other_nodes.contains(node) {
            return self.registry.command(node, command).await;
        }
        if self.silent_node.lock().as_ref() == Some(node) {
            return std::future::pending().await;
        }
        if let Some(observer) = &self.observer {
            observer(node, &command);
        }
        let to_a_user = matches!(
            command,
            NodeCommand::Disconnect { .. }
                | NodeCommand::DisconnectBanned { .. }
                | NodeCommand::Direct { .. }
                | NodeCommand::Probe { .. }
        );
        let acknowledges = matches!(command, NodeCommand::Acknowledge { .. });
        self.commands.lock().push((node.clone(), command));
        Ok(u64::from(to_a_user || acknowledges))
    }
}
