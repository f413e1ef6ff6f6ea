//! Calls to the Redis nodes, each bounded by `redis.timeout`. A node that is known to be away is
//! not called.

use redis::{FromRedisValue, Script, ScriptInvocation};

use super::keys::{NodeKeys, StreamKeys};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::protocol::Seq;

/// Scripts run atomically inside Redis.
#[derive(Debug)]
pub(super) struct RecentScripts {
    pub(super) append: Script,
    pub(super) after: Script,
    pub(super) earlier: Script,
    pub(super) add_tombstone: Script,
    pub(super) restore_comment: Script,
    pub(super) deletion_states: Script,
    pub(super) is_complete: Script,
    pub(super) mark_complete: Script,
    pub(super) mark_incomplete: Script,
}

impl Default for RecentScripts {
    fn default() -> Self {
        Self {
            append: Script::new(include_str!("append.lua")),
            after: Script::new(include_str!("after.lua")),
            earlier: Script::new(include_str!("earlier.lua")),
            add_tombstone: Script::new(include_str!("add_tombstone.lua")),
            restore_comment: Script::new(include_str!("restore_comment.lua")),
            deletion_states: Script::new(include_str!("deletion_states.lua")),
            is_complete: Script::new(include_str!("is_complete.lua")),
            mark_complete: Script::new(include_str!("mark_complete.lua")),
            mark_incomplete: Script::new(include_str!("mark_incomplete.lua")),
        }
    }
}

#[derive(Debug)]
pub(super) struct RecentCalls {
    pub(super) nodes: RedisNodes,
    pub(super) keys: NodeKeys,
    pub(super) scripts: RecentScripts,
}

impl RecentCalls {
    pub(super) fn new(nodes: RedisNodes) -> Self {
        let keys = NodeKeys::new(&nodes, rand::random());
        Self { nodes, keys, scripts: RecentScripts::default() }
    }

    /// Runs a script on a node.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        node: usize,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let invoke = |mut node| async move { call.invoke_async(&mut node).await };
        Ok(self.nodes.guarded(node).run(invoke).await?)
    }

    /// Returns the last two epochs in which a stream was appended to, the later one first.
    pub(super) async fn epochs(&self, keys: &StreamKeys) -> Result<[Option<u32>; 2], StoreError> {
        let mut epochs = redis::cmd("HMGET");
        epochs.arg(&keys.epochs).arg("now").arg("before");
        Ok(self.nodes.guarded(keys.node).query(&epochs).await?)
    }

    /// Returns the end of the last range appended to a stream. A plain command, because the answer
    /// does not depend on tombstones.
    pub(super) async fn head(&self, keys: &StreamKeys) -> Result<Option<Seq>, StoreError> {
        let mut head = redis::cmd("HGET");
        head.arg(&keys.stream).arg("head");
        Ok(self.nodes.guarded(keys.node).query(&head).await?)
    }
}
