//! Reaction totals in memory.

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::reactions::{ReactionTotals, Totals};
use crate::protocol::StreamId;

/// Totals that were set, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct FakeReactions {
    pub(crate) totals: Mutex<Vec<(StreamId, Totals)>>,
}

#[async_trait]
impl ReactionTotals for FakeReactions {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        self.totals.lock().extend_from_slice(counts);
        Ok(counts.to_vec())
    }

    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError> {
        let all = self.totals.lock();
        Ok(all.iter().find(|(id, _)| *id == stream_id).map(|(_, t)| t.clone()).unwrap_or_default())
    }

    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        Ok(self.totals.lock().clone())
    }
}
