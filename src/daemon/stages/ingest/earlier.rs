//! Comments that other nodes appended, read back from the log while the reservations of refs are
//! not certain.

use std::collections::BTreeSet;
use std::time::Duration;

use ahash::AHashMap;
use tokio::time::timeout;
use tracing::warn;

use super::refs::Refs;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::eventlog::repeats::{MAX_APART, records_before};
use crate::daemon::engines::eventlog::{LogError, SharedLog, Topic};
use crate::protocol::StreamId;
use crate::protocol::events::Event;

/// Submissions wait at most this long. Without an answer they are appended: a repeat is then in
/// the log twice, and its sender is told the second id.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Holds the next offset to read, by partition.
#[derive(Debug)]
pub(super) struct EarlierComments {
    log: SharedLog,
    clock: SharedClock,
    /// By partition, the offset that is read next.
    next: AHashMap<u32, u64>,
}

impl EarlierComments {
    pub(super) fn new(log: SharedLog, clock: SharedClock) -> Self {
        Self { log, clock, next: AHashMap::new() }
    }

    /// Remembers the refs of the comments that were appended to these streams lately.
    pub(super) async fn load(&mut self, streams: BTreeSet<StreamId>, refs: &mut Refs) {
        let partition = |stream: StreamId| self.log.partition_of(Topic::CommentEvents, stream.0);
        let partitions: BTreeSet<u32> = streams.into_iter().map(partition).collect();
        let loading = async {
            for partition in partitions {
                self.load_partition(partition, refs).await?;
            }
            Ok::<_, LogError>(())
        };
        match timeout(TIMEOUT, loading).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "comments that were sent before are not known"),
            Err(_) => warn!("comments that were sent before are not known: the log is slow"),
        }
    }

    async fn load_partition(&mut self, partition: u32, refs: &mut Refs) -> Result<(), LogError> {
        let end = self.log.bounds(Topic::CommentEvents, partition).await?.end;
        let known_to = self.next.get(&partition).copied().unwrap_or(0);
        let oldest_ms = self.clock.now_ms().saturating_sub(MAX_APART.as_millis() as u64);
        for record in records_before(&self.log, partition, end, known_to).await? {
            if record.timestamp_ms >= oldest_ms
                && let Ok(Event::CommentSubmitted(event)) = Event::decode(&record.payload)
            {
                refs.remember_first(&event, record.position.offset);
            }
        }
        self.next.insert(partition, end);
        Ok(())
    }
}
