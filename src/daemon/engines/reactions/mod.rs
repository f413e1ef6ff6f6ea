//! The totals of reactions per stream.
//!
//! In: counts per stream and kind, once per window (500 ms), from the reactions stage. Out: the new
//! totals. Engines: [`sqlite`]; [`redis`] (`HINCRBY reactions:stream:{id}`) is the distributed one.
//!
//! Always holds: a total never shrinks, and counts that were added survive a crash. Counts that the
//! stage has not added yet, at most one window of them, do not.

#[cfg(test)]
pub(crate) mod conformance;
pub mod measured;
#[cfg(feature = "engines")]
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
    /// Adds counts durably and returns the new totals of exactly the reactions that changed.
    ///
    /// After an error some counts may have been added. The caller then adds the same counts again,
    /// together with those that arrived since; every count is added once.
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError>;

    /// Returns all totals of a stream.
    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError>;

    /// Returns the totals of all streams. An engine may leave out streams without recent reactions.
    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError>;
}

pub type SharedReactionTotals = Arc<dyn ReactionTotals>;

/// A number of reactions of one kind on a stream.
#[derive(Debug)]
struct ReactionCount {
    stream_id: StreamId,
    reaction: Arc<str>,
    count: u64,
}

/// Adds up counts of the same stream and reaction, and leaves out zeros.
fn merge_counts(counts: &[(StreamId, Totals)]) -> Vec<ReactionCount> {
    let mut by_key: BTreeMap<(StreamId, &Arc<str>), u64> = BTreeMap::new();
    for (stream_id, totals) in counts {
        for (reaction, count) in totals.iter().filter(|(_, count)| **count > 0) {
            *by_key.entry((*stream_id, reaction)).or_default() += count;
        }
    }
    let row = |((stream_id, reaction), count): ((StreamId, &Arc<str>), u64)| ReactionCount {
        stream_id,
        reaction: reaction.clone(),
        count,
    };
    by_key.into_iter().map(row).collect()
}
