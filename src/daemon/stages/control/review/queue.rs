//! The review queue as this node last read it. All readers of a node share one reading per second:
//! the store counts comments of the same text for each row, which is too dear to do for each
//! console.

use std::time::Duration;

use crate::daemon::base::shared_reading::SharedReading;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::admin::{ReviewItem, Shadow};

/// The age up to which a reading is shared. Claims, decisions and undos through this node are seen
/// at once; those through another node, and comments just flagged, after this time.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Rows that are read for a reader that wants fewer, so that those of different lists share: as
/// many as a console shows.
const LEAST_ROWS: usize = 200;

/// The reading that is shared.
#[derive(Debug, Default)]
pub(crate) struct SharedQueue(SharedReading<QueueReading>);

#[derive(Debug)]
struct QueueReading {
    /// The most rows that it could have.
    limit: usize,
    rows: Result<Vec<ReviewItem>, StoreError>,
}

impl SharedQueue {
    /// Returns the oldest undecided comments, at most `limit`. Held ones are marked if their sender
    /// is shadow-banned `now_ms` (milliseconds since the Unix epoch).
    pub(super) async fn oldest(
        &self,
        metadata: &SharedMetadataStore,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<ReviewItem>, StoreError> {
        let read = async {
            let limit = limit.max(LEAST_ROWS);
            QueueReading { limit, rows: read_marked(metadata, now_ms, limit).await }
        };
        let reading = self.0.latest(SHARED_FOR, |reading| reading.limit >= limit, read).await;
        reading.rows.clone().map(|mut rows| {
            rows.truncate(limit);
            rows
        })
    }

    /// Makes later readers see a change of the queue.
    pub(crate) fn changed(&self) {
        self.0.invalidate();
    }
}

async fn read_marked(
    metadata: &SharedMetadataStore,
    now_ms: u64,
    limit: usize,
) -> Result<Vec<ReviewItem>, StoreError> {
    let mut rows = metadata.review_queue(limit).await?;
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
