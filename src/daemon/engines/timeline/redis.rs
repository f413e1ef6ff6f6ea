//! Blocks of the timeline on Redis: each is written to every Redis node, so that the loss of one
//! node loses none.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::TimelineBlocks;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::redis_nodes::{RedisFailure, RedisNodes};

const LIFETIME: Duration = Duration::from_secs(3_600);
/// Blocks per call, which then has less than a megabyte.
const BLOCKS_PER_CALL: u64 = 30;

#[derive(Debug)]
pub struct RedisTimelineBlocks {
    nodes: RedisNodes,
}

impl RedisTimelineBlocks {
    pub fn new(nodes: RedisNodes) -> Self {
        Self { nodes }
    }

    fn key(&self, interval: u64) -> String {
        self.nodes.key(&format!("timeline:{interval}"))
    }

    async fn read(
        &self,
        index: usize,
        intervals: Range<u64>,
    ) -> Result<Vec<Option<Vec<u8>>>, RedisFailure> {
        let connection = self.nodes.guarded(index);
        let mut blocks = Vec::new();
        let mut next = intervals.start;
        while next < intervals.end {
            let end = intervals.end.min(next + BLOCKS_PER_CALL);
            let mut calls = redis::pipe();
            (next..end).for_each(|interval| {
                calls.cmd("GET").arg(self.key(interval));
            });
            blocks.extend(connection.query_all::<Vec<Option<Vec<u8>>>>(&calls).await?);
            next = end;
        }
        Ok(blocks)
    }
}

#[async_trait]
impl TimelineBlocks for RedisTimelineBlocks {
    async fn put(&self, interval: u64, block: Vec<u8>) -> Result<(), StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(self.key(interval)).arg(block).arg("PX").arg(LIFETIME.as_millis() as u64);
        let connections: Vec<_> =
            (0..self.nodes.count()).map(|index| self.nodes.guarded(index)).collect();
        let writes = connections.iter().map(|connection| connection.query::<()>(&command));
        let outcomes = join_all(writes).await;
        let is_stored = outcomes.iter().any(Result::is_ok);
        match outcomes.into_iter().find_map(Result::err) {
            Some(failure) if !is_stored => Err(failure.into()),
            _ => Ok(()),
        }
    }

    /// A Redis node that was away lacks blocks: those of all nodes are joined.
    async fn get(&self, intervals: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut blocks = vec![None; (intervals.end.saturating_sub(intervals.start)) as usize];
        let mut failure = None;
        let mut has_answer = false;
        for index in 0..self.nodes.count() {
            match self.read(index, intervals.clone()).await {
                Ok(read) => {
                    has_answer = true;
                    for (block, read) in blocks.iter_mut().zip(read) {
                        *block = block.take().or(read);
                    }
                }
                Err(error) => failure = Some(error),
            }
            if blocks.iter().all(Option::is_some) {
                break;
            }
        }
        match failure {
            Some(failure) if !has_answer => Err(failure.into()),
            _ => Ok(blocks.into_iter().flatten().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing::redis_server::{RedisServer, SHORT_TIMEOUT, config_of};

    #[tokio::test]
    #[ignore = "needs scripts/stack up"]
    async fn blocks_survive_the_loss_of_a_server() {
        let mut servers = [RedisServer::start().await, RedisServer::start().await];
        let nodes =
            RedisNodes::open(&config_of(&[&servers[0], &servers[1]], SHORT_TIMEOUT)).unwrap();
        let blocks = RedisTimelineBlocks::new(nodes);
        for interval in 100..165 {
            blocks.put(interval, vec![interval as u8; 3]).await.unwrap();
        }
        let read = blocks.get(90..170).await.unwrap();
        assert_eq!(read, (100..165).map(|interval| vec![interval as u8; 3]).collect::<Vec<_>>());
        servers[0].kill();
        blocks.put(165, vec![9]).await.unwrap();
        assert_eq!(blocks.get(164..166).await.unwrap(), [vec![164; 3], vec![9]]);
        servers[1].kill();
        assert!(blocks.get(164..166).await.is_err());
        assert!(blocks.put(166, vec![9]).await.is_err());
    }
}
