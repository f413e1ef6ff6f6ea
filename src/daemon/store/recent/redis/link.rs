//! Calls to the nodes, each bounded by `redis.timeout`.

use redis::{FromRedisValue, RedisResult, ScriptInvocation};

use super::keys::{NodeKeys, StreamKeys};
use super::scripts::Scripts;
use crate::daemon::redis_nodes::RedisNodes;
use crate::daemon::store::StoreError;
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
        let mut connection = self.nodes.connection(node);
        self.bounded(node, call.invoke_async(&mut connection)).await
    }

    /// The end of what was appended for a stream. One command, no script: it says nothing of what
    /// is deleted.
    pub(super) async fn head(&self, keys: &StreamKeys) -> Result<Option<Seq>, StoreError> {
        let mut connection = self.nodes.connection(keys.node);
        let mut head = redis::cmd("HGET");
        head.arg(&keys.stream).arg("head");
        self.bounded(keys.node, head.query_async(&mut connection)).await
    }

    async fn bounded<T>(
        &self,
        node: usize,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, StoreError> {
        self.nodes.bounded(node, answer).await.map_err(StoreError::Unavailable)
    }
}
