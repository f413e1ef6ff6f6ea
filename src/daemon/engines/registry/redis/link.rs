//! One Redis node as the registry sees it: whether it answers, and what it has to be told again.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, ScriptInvocation};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::held::Held;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::registry::RegistryError;

/// A call that fails takes the link down; calls are then answered at once until its keeper has found
/// the node answering again. So a dead node costs its callers one timeout, not one each.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) index: usize,
    nodes: RedisNodes,
    breaker: Arc<Breaker>,
    pub(super) held: Held,
    /// Wakes the keeper.
    pub(super) attention: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    down: Option<String>,
    /// When it last came up.
    up_since: Instant,
    /// This life has not been heard of there yet.
    first_beat: bool,
    /// What this node holds may be missing there.
    incomplete: bool,
    /// What this node holds is being written there.
    rewriting: bool,
}

impl Link {
    pub(super) fn new(index: usize, nodes: RedisNodes, breaker: Arc<Breaker>) -> Self {
        let state = State {
            down: None,
            up_since: Instant::now(),
            first_beat: true,
            incomplete: false,
            rewriting: false,
        };
        let (held, attention) = (Held::default(), Notify::new());
        Self { index, nodes, breaker, held, attention, state: Mutex::new(state) }
    }

    pub(super) async fn script<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        let mut connection = self.connection()?;
        let answer = invocation.invoke_async(&mut connection).await;
        self.judge(answer)
    }

    pub(super) async fn command<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, RegistryError> {
        let mut connection = self.connection()?;
        let answer = command.query_async(&mut connection).await;
        self.judge(answer)
    }

    /// All or, if the link breaks, an unknown part of it.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<(), RegistryError> {
        let mut connection = self.connection()?;
        let answer = pipeline.exec_async(&mut connection).await;
        self.judge(answer)
    }

    /// Asks although the link is down, to see whether it still is.
    pub(super) async fn probe<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, RegistryError> {
        let mut connection = self.nodes.connection(self.index);
        let answer = invocation.invoke_async(&mut connection).await;
        self.judge(answer)
    }

    /// As [`Self::probe`], when there is nothing to say.
    pub(super) async fn ping(&self) -> Result<(), RegistryError> {
        let mut connection = self.nodes.connection(self.index);
        let answer = redis::cmd("PING").exec_async(&mut connection).await;
        self.judge(answer)
    }

    fn connection(&self) -> Result<ConnectionManager, RegistryError> {
        match self.outage() {
            None => Ok(self.nodes.connection(self.index)),
            Some(outage) => Err(outage),
        }
    }

    fn judge<T>(&self, answer: RedisResult<T>) -> Result<T, RegistryError> {
        answer.map_err(|error| self.fail(&error))
    }

    /// Takes it down.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display) -> RegistryError {
        let reason = format!("redis node {}: {error}", self.address());
        let mut state = self.state();
        if state.down.is_none() {
            warn!(%reason, "a redis node of the registry is out");
        }
        state.down = Some(reason.clone());
        // A node that was away may have lost anything.
        state.incomplete = true;
        drop(state);
        self.breaker.failed(&reason);
        self.attention.notify_one();
        RegistryError::Unavailable(reason)
    }

    /// It answered: calls are let through from now on.
    pub(super) fn restore(&self) {
        let mut state = self.state();
        if state.down.take().is_some() {
            state.up_since = Instant::now();
            info!(address = self.address(), "a redis node of the registry is back");
        }
    }

    /// Since when it has answered; `None` while it does not.
    pub(super) fn up_since(&self) -> Option<Instant> {
        let state = self.state();
        state.down.is_none().then_some(state.up_since)
    }

    /// Why it is down, if it is.
    pub(super) fn outage(&self) -> Option<RegistryError> {
        self.state().down.clone().map(RegistryError::Unavailable)
    }

    pub(super) fn is_up(&self) -> bool {
        self.up_since().is_some()
    }

    /// Whether this life has yet to be heard of there.
    pub(super) fn awaits_first_beat(&self) -> bool {
        self.state().first_beat
    }

    pub(super) fn first_beat_done(&self) {
        self.state().first_beat = false;
    }

    /// Everything held has to be written there again.
    pub(super) fn mark_incomplete(&self) {
        self.state().incomplete = true;
        self.attention.notify_one();
    }

    /// Begins to write everything again, if that is needed.
    pub(super) fn begin_rewrite(&self) -> bool {
        let mut state = self.state();
        let needed = state.down.is_none() && state.incomplete;
        if needed {
            state.incomplete = false;
            state.rewriting = true;
        }
        needed
    }

    pub(super) fn end_rewrite(&self) {
        self.state().rewriting = false;
    }

    /// Whether a removal can be sent now: while everything is written again, the entry may be on its
    /// way, and would be there for good if it came after its removal.
    pub(super) fn takes_removals(&self) -> bool {
        let state = self.state();
        state.down.is_none() && !state.rewriting
    }

    pub(super) fn address(&self) -> &str {
        self.nodes.address(self.index)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
