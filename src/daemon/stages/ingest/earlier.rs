//! Comments that other nodes appended, read back from the log while the reservations of refs are
//! not certain.

use std::collections::BTreeSet;
use std::time::Duration;

use ahash::AHashMap;
use tokio::time::{Instant, timeout};
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
/// After a failure the log is left alone for so long: submissions of all streams wait for each
/// other, so a log that answers slowly may take a tenth of their time, not all of it.
const PAUSE: Duration = Duration::from_secs(10);

/// Reads the refs of earlier comments back from the log.
#[derive(Debug)]
pub(super) struct EarlierComments {
    log: SharedLog,
    clock: SharedClock,
    /// By partition, the offset that is read next.
    next: AHashMap<u32, u64>,
    paused_until: Option<Instant>,
}

impl EarlierComments {
    pub(super) fn new(log: SharedLog, clock: SharedClock) -> Self {
        Self { log, clock, next: AHashMap::new(), paused_until: None }
    }

    /// Remembers the refs of the comments that were appended to these streams lately. Returns
    /// within [`TIMEOUT`], and at once for [`PAUSE`] after a failure.
    pub(super) async fn load(&mut self, streams: BTreeSet<StreamId>, refs: &mut Refs) {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let partition = |stream: StreamId| self.log.partition_of(Topic::CommentEvents, stream.0);
        let partitions: BTreeSet<u32> = streams.into_iter().map(partition).collect();
        let loading = async {
            for partition in partitions {
                self.load_partition(partition, refs).await?;
            }
            Ok::<_, LogError>(())
        };
        let loaded = timeout(TIMEOUT, loading).await;
        self.paused_until = match loaded {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some(Instant::now() + PAUSE),
        };
        match loaded {
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
