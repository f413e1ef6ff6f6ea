//! The registry with two more nodes behind it, and this node's viewers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Journal, STARTED_MS, Switch};
use crate::daemon::base::handoff::{Bearer, ConnectionId, NewViewer, Permit, ViewerSink};
use crate::daemon::engines::registry::{
    ConnectionRegistry, KnownNode, NodeCommand, NodeEndpoint, RegistrationId, RegistryError,
};
use crate::protocol::admin::{ConnectionInfo, NodeReport};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, NodeId, StreamId, UserId};

/// Knows nodes `a`, `b` and `c`; every remote node holds one connection of
/// whatever user is asked for.
#[derive(Debug)]
pub(crate) struct FakeRegistry {
    journal: Journal,
    placed: Mutex<Vec<(UserId, NodeId)>>,
    /// Answers nothing about users and nodes.
    pub(crate) down: Switch,
    /// Node `c` does not answer.
    pub(crate) c_is_gone: Switch,
}

impl FakeRegistry {
    pub(crate) fn new(journal: Journal) -> Self {
        let (down, c_is_gone) = Default::default();
        Self { journal, placed: Mutex::default(), down, c_is_gone }
    }

    pub(crate) fn place(&self, user_id: u64, node: &str) {
        self.placed.lock().push((UserId(user_id), NodeId::new(node)));
    }

    fn answers(&self) -> Result<(), RegistryError> {
        match self.down.is_on() {
            true => Err(RegistryError::Unavailable("switched off".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl ConnectionRegistry for FakeRegistry {
    async fn register(
        &self,
        _user_id: UserId,
        _connection: ConnectionInfo,
        _limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        Err(RegistryError::Unavailable("nobody connects here".to_owned()))
    }

    async fn unregister(&self, _user_id: UserId, _id: RegistrationId) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn locate(&self, user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        self.answers()?;
        let placed = self.placed.lock();
        let here = placed.iter().filter(|(user, _)| *user == user_id);
        let info = |node: &NodeId| ConnectionInfo {
            node: node.clone(),
            stream_id: StreamId(1),
            connected_at: STARTED_MS,
        };
        Ok(here.map(|(_, node)| info(node)).collect())
    }

    async fn report_viewers(
        &self,
        _node: &NodeId,
        _viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        self.answers()?;
        Ok(vec![(StreamId(1), 12)])
    }

    async fn report(&self, _report: NodeReport) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn leave(&self) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<KnownNode>, RegistryError> {
        // An engine keeps the list it last knew, so that it can still ask every node.
        let known = |name| KnownNode { node: NodeId::new(name), alive: true, report: None };
        Ok(["a", "b", "c"].map(known).to_vec())
    }

    fn set_endpoint(&self, _endpoint: Arc<dyn NodeEndpoint>) {}

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        if self.c_is_gone.is_on() && node.as_str() == "c" {
            return std::future::pending().await;
        }
        self.journal.note(format!("{node}: {command:?}"));
        let touches =
            matches!(command, NodeCommand::Disconnect { .. } | NodeCommand::Direct { .. });
        Ok(u64::from(touches))
    }
}

/// Two connections of whatever user is asked for, three altogether.
#[derive(Debug)]
pub(crate) struct FakeSink {
    journal: Journal,
}

impl FakeSink {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }
}

impl ViewerSink for FakeSink {
    fn attach(&self, _viewer: NewViewer) {}

    fn authenticated(
        &self,
        _connection: ConnectionId,
        _outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    ) {
    }

    fn disconnect_user(&self, user_id: UserId, code: CloseCode) -> BoxFuture<'static, u64> {
        self.journal.note(format!("a: disconnect {user_id} {}", code.as_str()));
        async { 2 }.boxed()
    }

    fn direct(
        &self,
        user_id: UserId,
        from: Arc<str>,
        message: Arc<str>,
    ) -> BoxFuture<'static, u64> {
        self.journal.note(format!("a: direct {user_id} {from}: {message}"));
        async { 2 }.boxed()
    }

    fn dismiss_all(&self, code: CloseCode, jitter: Duration) -> BoxFuture<'static, u64> {
        self.journal.note(format!("a: dismiss all {} {jitter:?}", code.as_str()));
        async { 3 }.boxed()
    }

    fn connections(&self) -> u64 {
        3
    }
}
