//! Calls to the nodes, each bounded by `redis.timeout`; a node that is known not to answer is not asked.

use redis::{FromRedisValue, ScriptInvocation};

use super::keys::{NodeKeys, StreamKeys};
use super::scripts::Scripts;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::redis_nodes::{RedisFailure, RedisNodes};
use crate::protocol::Seq;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) nodes: RedisNodes,
    pub(super) keys: NodeKeys,
    pub(super) scripts: Scripts,
}

impl Link {
    pub(super) fn new(nodes: RedisNodes) -> Self {
        let keys = NodeKeys::new(&nodes, rand::random());
        Self { nodes, keys, scripts: Scripts::default() }
    }

    /// Runs a script on a node.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        node: usize,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let invoke = |mut node| async move { call.invoke_async(&mut node).await };
        self.nodes.guarded(node).run(invoke).await.map_err(|failure| unavailable(&failure))
    }

    /// The end of what was appended for a stream. One command, no script: it says nothing of what
    /// is deleted.
    pub(super) async fn head(&self, keys: &StreamKeys) -> Result<Option<Seq>, StoreError> {
        let mut head = redis::cmd("HGET");
        head.arg(&keys.stream).arg("head");
        self.nodes.guarded(keys.node).query(&head).await.map_err(|failure| unavailable(&failure))
    }
}

fn unavailable(failure: &RedisFailure) -> StoreError {
    StoreError::Unavailable(failure.to_string())
}
