//! The reaction totals with a meter in front.

use std::sync::Arc;

use async_trait::async_trait;

use super::{ReactionTotals, SharedReactionTotals, Totals};
use crate::daemon::base::telemetry::StoreMeter;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::measured::measured;
use crate::protocol::StreamId;

/// Measures the calls to a store.
#[derive(Debug)]
pub struct MeasuredTotals {
    store: SharedReactionTotals,
    meter: Arc<StoreMeter>,
}

impl MeasuredTotals {
    pub fn new(store: SharedReactionTotals, meter: Arc<StoreMeter>) -> Self {
        Self { store, meter }
    }
}

#[async_trait]
impl ReactionTotals for MeasuredTotals {
    async fn add(
        &self,
        counts: &[(StreamId, Totals)],
    ) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        measured(&self.meter, self.store.add(counts)).await
    }

    async fn totals(&self, stream_id: StreamId) -> Result<Totals, StoreError> {
        measured(&self.meter, self.store.totals(stream_id)).await
    }

    async fn all(&self) -> Result<Vec<(StreamId, Totals)>, StoreError> {
        measured(&self.meter, self.store.all()).await
    }
}
