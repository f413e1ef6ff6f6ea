//! The blocks of the timeline, which the node that keeps it shares with all others.
//!
//! In: a block per ten seconds, from one node. Out: the blocks of the last hour, to any node.
//! Engine: [`redis`]. A single process needs none.
//!
//! Always holds: a block that was stored is returned for an hour, unless every server that has it
//! was lost. Blocks are not interpreted here.
//!
//! When full: nothing waits. A block that cannot be stored is lost, and its ten seconds are unknown
//! to the others.

#[cfg(feature = "engines")]
pub mod redis;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;

/// The contract.
#[async_trait]
pub trait TimelineBlocks: Send + Sync + std::fmt::Debug + 'static {
    /// Stores the block of an interval.
    async fn put(&self, interval: u64, block: Vec<u8>) -> Result<(), StoreError>;

    /// Returns the blocks of the intervals that are stored, in order.
    async fn get(&self, intervals: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError>;
}

pub type SharedTimelineBlocks = Arc<dyn TimelineBlocks>;
