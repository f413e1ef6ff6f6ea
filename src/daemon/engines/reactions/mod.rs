//! Reactions: counted where they arrive, added up in windows, told as running totals.
//!
//! In: counts by stream and kind from the delivery workers. Out: durable totals, and on the bus the
//! totals that changed, once a window (500 ms). Engines of the totals: [`sqlite`];
//! [`redis`] (`HINCRBY reactions:stream:{id}`) is the distributed one.
//!
//! Always holds: a total never shrinks. Reactions counted but not yet flushed are lost by a crash,
//! at most one window of them; nothing promises more for a reaction.
//!
//! When full: a window holds one number per stream and kind, so it cannot; workers that cannot hand
//! over keep adding up.

#[cfg(test)]
pub(crate) mod conformance;
pub mod redis;
pub mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;
use crate::protocol::StreamId;

/// The running totals of a stream, by reaction.
pub type Totals = BTreeMap<Arc<str>, u64>;

/// The contract of an engine that keeps totals.
#[async_trait]
pub trait ReactionTotals: Send + Sync + std::fmt::Debug + 'static {
    /// Adds counts, durably, and returns the new totals of exactly the reactions that changed. After
    /// an error, which may come though some were added, the caller adds the same counts again,
    /// with those that have come since: they are counted once.
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError>;

    /// All totals of a stream.
    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError>;

    /// All totals of all streams; an engine may leave out those nobody has reacted to for long.
    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError>;
}

pub type SharedReactionTotals = Arc<dyn ReactionTotals>;
