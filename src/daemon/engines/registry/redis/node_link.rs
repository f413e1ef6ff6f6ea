//! The registry's link to one Redis node: whether the node answers, and whether it must be
//! rewritten.

use std::sync::Arc;

use parking_lot::Mutex;
use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, ScriptInvocation};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::clock_offset::ClockOffset;
use super::local_connections::LocalConnections;
use crate::daemon::base::supervise::breaker::{Breaker, BreakerHalf};
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::RegistryError;

/// A call that fails takes the link down. Calls then fail at once until the reconciler finds that
/// the node answers again, so a dead node costs its callers one timeout together.
#[derive(Debug)]
pub(super) struct NodeLink {
    pub(super) index: usize,
    nodes: RedisNodes,
    breaker: Arc<Breaker>,
    /// Open while commands do not arrive on this link.
    commands: BreakerHalf,
    pub(super) connections: LocalConnections,
    /// Compares the clock of this node with that of the Redis node.
    pub(super) clock: ClockOffset,
    /// Wakes the reconciler.
    pub(super) wake: Notify,
    state: Mutex<LinkState>,
}

#[derive(Debug)]
struct LinkState {
    /// The reason of an outage.
    outage: Option<String>,
    /// The time of the last recovery.
    up_since: Instant,
    /// This run has not sent a heartbeat to the node yet.
    first_heartbeat: bool,
    /// Entries of this node may be missing there.
    needs_rewrite: bool,
    /// The entries of this node are being written there.
    rewriting: bool,
}

impl NodeLink {
    pub(super) fn new(index: usize, nodes: RedisNodes, breaker: Arc<Breaker>) -> Self {
        let state = LinkState {
            outage: None,
            up_since: Instant::now(),
            first_heartbeat: true,
            needs_rewrite: false,
            rewriting: false,
        };
        Self {
            index,
            commands: breaker.half(format!("commands on {}", nodes.address(index))),
            nodes,
            breaker,
            connections: LocalConnections::default(),
            clock: ClockOffset::default(),
            wake: Notify::new(),
            state: Mutex::new(state),
        }
    }

    pub(super) async fn script<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        let mut connection = self.connection()?;
        let answer = invocation.invoke_async(&mut connection).await;
        self.check(answer)
    }

    pub(super) async fn command<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, RegistryError> {
        let mut connection = self.connection()?;
        let answer = command.query_async(&mut connection).await;
        self.check(answer)
    }

    /// Runs a pipeline. If the link breaks, an unknown part of it was executed.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<(), RegistryError> {
        let mut connection = self.connection()?;
        let answer = pipeline.exec_async(&mut connection).await;
        self.check(answer)
    }

    /// Runs a script even if the link is down, to find out whether the node answers again.
    pub(super) async fn probe<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        let mut connection = self.nodes.connection(self.index);
        let answer = invocation.invoke_async(&mut connection).await;
        self.check(answer)
    }

    /// Like [`Self::probe`], without a script.
    pub(super) async fn ping(&self) -> Result<(), RegistryError> {
        let mut connection = self.nodes.connection(self.index);
        let answer = redis::cmd("PING").exec_async(&mut connection).await;
        self.check(answer)
    }

    fn connection(&self) -> Result<ConnectionManager, RegistryError> {
        match self.outage() {
            None => Ok(self.nodes.connection(self.index)),
            Some(outage) => Err(outage),
        }
    }

    fn check<T>(&self, answer: RedisResult<T>) -> Result<T, RegistryError> {
        answer.map_err(|error| self.mark_down(&error))
    }

    /// Records that commands arrive on this link.
    pub(super) fn subscribed(&self) {
        self.commands.succeeded();
    }

    /// Records that no commands arrive on this link.
    pub(super) fn not_subscribed(&self, error: &dyn std::fmt::Display) {
        let address = self.address();
        self.commands.failed(&format!("redis node {address} brings no commands: {error}"));
    }

    /// Takes the link down.
    pub(super) fn mark_down(&self, error: &dyn std::fmt::Display) -> RegistryError {
        let reason = format!("redis node {}: {error}", self.address());
        let mut state = self.state.lock();
        if state.outage.is_none() {
            warn!(%reason, "Redis node of the registry does not answer");
        }
        state.outage = Some(reason.clone());
        // A node that was away may have lost everything.
        state.needs_rewrite = true;
        drop(state);
        self.breaker.failed(&reason);
        self.wake.notify_one();
        RegistryError::Unavailable(reason)
    }

    /// Brings the link up after an answer.
    pub(super) fn mark_up(&self) {
        let mut state = self.state.lock();
        if state.outage.take().is_some() {
            state.up_since = Instant::now();
            info!(address = self.address(), "Redis node of the registry answers again");
        }
    }

    /// Returns the time since which the node answers, or `None` if it does not.
    pub(super) fn up_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.outage.is_none().then_some(state.up_since)
    }

    /// Returns the reason of an outage.
    pub(super) fn outage(&self) -> Option<RegistryError> {
        self.state.lock().outage.clone().map(RegistryError::Unavailable)
    }

    pub(super) fn is_up(&self) -> bool {
        self.up_since().is_some()
    }

    /// Returns whether this run has not sent a heartbeat to the node yet.
    pub(super) fn needs_first_heartbeat(&self) -> bool {
        self.state.lock().first_heartbeat
    }

    pub(super) fn first_heartbeat_sent(&self) {
        self.state.lock().first_heartbeat = false;
    }

    /// Requests that all entries of this node are written again.
    pub(super) fn request_rewrite(&self) {
        self.state.lock().needs_rewrite = true;
        self.wake.notify_one();
    }

    /// Starts a rewrite if one is needed and returns whether it is.
    pub(super) fn begin_rewrite(&self) -> bool {
        let mut state = self.state.lock();
        let needed = state.outage.is_none() && state.needs_rewrite;
        if needed {
            state.needs_rewrite = false;
            state.rewriting = true;
        }
        needed
    }

    pub(super) fn end_rewrite(&self) {
        self.state.lock().rewriting = false;
    }

    /// Returns whether a removal can be sent now. During a rewrite the entry may be in flight; if
    /// it arrived after its removal, it would stay.
    pub(super) fn accepts_removals(&self) -> bool {
        let state = self.state.lock();
        state.outage.is_none() && !state.rewriting
    }

    pub(super) fn address(&self) -> &str {
        self.nodes.address(self.index)
    }
}
