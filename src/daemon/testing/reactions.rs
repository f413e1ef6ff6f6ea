//! The one double of the reaction totals.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::reactions::{ReactionTotals, Totals};
use crate::protocol::StreamId;

/// Totals in memory. A test can take the store down.
#[derive(Debug, Default)]
pub(crate) struct TestReactions {
    down: AtomicBool,
    totals: Mutex<BTreeMap<StreamId, Totals>>,
}

impl TestReactions {
    /// While down, nothing can be added.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

#[async_trait]
impl ReactionTotals for TestReactions {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("switched off by the test".to_owned()));
        }
        let mut all = self.totals.lock();
        let add_to_stream = |(stream_id, counts): &(StreamId, Totals)| {
            let totals = all.entry(*stream_id).or_default();
            let changed = counts.iter().map(|(reaction, count)| {
                let total = totals.entry(reaction.clone()).or_default();
                *total += count;
                (reaction.clone(), *total)
            });
            (*stream_id, changed.collect())
        };
        Ok(counts.iter().map(add_to_stream).collect())
    }

    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError> {
        Ok(self.totals.lock().get(&stream_id).cloned().unwrap_or_default())
    }

    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        Ok(self.totals.lock().clone().into_iter().collect())
    }
}
