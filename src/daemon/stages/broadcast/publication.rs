//! A batch on its way to the recent cache and the bus.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use crate::daemon::base::telemetry::StageMeter;
use crate::daemon::engines::bus::{Batch, BusError, BusMessage, SharedBus};
use crate::daemon::engines::recent::{RecentEvent, SharedRecentCache};
use crate::protocol::StreamId;

/// Where batches go.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) recent: SharedRecentCache,
    pub(super) bus: SharedBus,
    pub(super) meter: Arc<StageMeter>,
}

/// A batch to publish on one stream.
#[derive(Debug)]
pub(super) struct StreamBatch {
    pub(super) stream_id: StreamId,
    pub(super) batch: Arc<Batch>,
    pub(super) events: Vec<RecentEvent>,
    /// When its comments were ready to be shown, each with the number of that time.
    pub(super) ready_at: Vec<(Instant, u64)>,
}

impl StreamBatch {
    /// Writes to the recent cache first, so that a viewer that joins after the publication finds
    /// the batch there.
    pub(super) async fn publish(self, outlets: &Outlets) -> Result<(), BusError> {
        let Self { stream_id, batch, events, ready_at } = self;
        let stored = outlets.recent.append(stream_id, batch.from_seq, batch.to_seq, events).await;
        if let Err(error) = stored {
            // Resuming viewers are then served from the log. Operators see the open breaker.
            debug!(%stream_id, %error, "range not written to the recent cache");
        }
        outlets.bus.publish(stream_id, vec![BusMessage::Batch(batch)]).await?;
        for (at, comments) in ready_at {
            outlets.meter.record_latency(comments, at.elapsed());
        }
        Ok(())
    }
}
