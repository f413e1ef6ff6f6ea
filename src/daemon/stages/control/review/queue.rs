//! The review queue as this node last read it. All readers of a node share one reading per second,
//! and those of one stream another: the store counts comments of the same text for each row, which
//! is too dear to do for each console.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::daemon::base::shared_reading::SharedReading;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::StreamId;
use crate::protocol::admin::{ReviewItem, Shadow};

/// The age up to which a reading is shared. Claims, decisions and undos through this node are seen
/// at once; those through another node, and comments just flagged, after this time.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Rows that are read for a reader that wants fewer, so that those of different lists share: as
/// many as a console shows.
const LEAST_ROWS: usize = 200;
/// Streams whose readings are kept, each up to about a megabyte. All are dropped when another one
/// is asked for, and then read again.
const MAX_STREAMS: usize = 64;

/// The readings that are shared.
#[derive(Debug, Default)]
pub(crate) struct SharedQueue {
    of_all: SharedReading<QueueReading>,
    of_streams: Mutex<AHashMap<StreamId, Arc<SharedReading<QueueReading>>>>,
}

#[derive(Debug)]
struct QueueReading {
    /// The most rows that it could have.
    limit: usize,
    rows: Result<Vec<ReviewItem>, StoreError>,
}

impl SharedQueue {
    /// Returns the oldest undecided comments of one stream or of all, at most `limit`. Held ones
    /// are marked if their sender is shadow-banned `now_ms` (milliseconds since the Unix epoch).
    pub(super) async fn oldest(
        &self,
        metadata: &SharedMetadataStore,
        only: Option<StreamId>,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        let read = async {
            let limit = limit.max(LEAST_ROWS);
            QueueReading { limit, rows: read_marked(metadata, only, now_ms, limit).await }
        };
        let of_stream = only.map(|stream_id| self.of_stream(stream_id));
        let shared = of_stream.as_deref().unwrap_or(&self.of_all);
        let reading = shared.latest(SHARED_FOR, |reading| reading.limit >= limit, read).await;
        reading.rows.clone().map(|mut rows| {
            rows.truncate(limit);
            rows
        })
    }

    /// Makes later readers see a change of the queue.
    pub(crate) fn changed(&self) {
        self.of_all.invalidate();
        self.of_streams.lock().clear();
    }

    fn of_stream(&self, stream_id: StreamId) -> Arc<SharedReading<QueueReading>> {
        let mut of_streams = self.of_streams.lock();
        if of_streams.len() >= MAX_STREAMS && !of_streams.contains_key(&stream_id) {
            of_streams.clear();
        }
        of_streams.entry(stream_id).or_default().clone()
    }
}

async fn read_marked(
    metadata: &SharedMetadataStore,
    only: Option<StreamId>,
    now_ms: u64,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let mut rows = match only {
        Some(stream_id) => metadata.review_queue_of(stream_id, limit).await?,
        None => metadata.review_queue(limit).await?,
    };
    // The others know themselves who sees them.
    if rows.iter().any(|item| item.held) {
        let shadows = metadata.shadows(now_ms).await?;
        for item in rows.iter_mut().filter(|item| item.held) {
            item.shadowed |= is_shadowed(item, &shadows);
        }
    }
    Ok(rows)
}

/// Returns whether new comments of an item's sender are shown to the sender only.
pub(super) fn is_shadowed(item: &ReviewItem, shadows: &[Shadow]) -> bool {
    shadows.iter().any(|shadow| {
        shadow.user_id == item.user_id && shadow.stream_id.is_none_or(|only| only == item.stream_id)
    })
}
