//! Comments that other nodes appended, read back from the log while the reservations of refs are
//! not certain.

use std::collections::BTreeSet;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::refs::Refs;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::eventlog::repeats::{MAX_APART, records_before};
use crate::daemon::engines::eventlog::{LogError, Record, SharedLog, Topic};
use crate::protocol::StreamId;
use crate::protocol::events::Event;

/// Submissions wait at most this long. Without an answer they are appended: a repeat is then in
/// the log twice, and its sender is told the second id.
const TIMEOUT: Duration = Duration::from_secs(1);
/// After a failure a partition is left alone for so long: submissions of all streams wait for each
/// other, so a partition that answers slowly may take a tenth of their time, not all of it.
const PAUSE: Duration = Duration::from_secs(10);
/// Partitions that are read at the same time. Each may have many records.
const CONCURRENT_READS: usize = 4;

/// Reads the refs of earlier comments back from the log.
#[derive(Debug)]
pub(super) struct EarlierComments {
    log: SharedLog,
    clock: SharedClock,
    /// By partition, the offset that is read next.
    next: AHashMap<u32, u64>,
    /// By partition that failed, the end of its pause.
    paused_until: AHashMap<u32, Instant>,
}

/// The new records of a partition.
struct NewRecords {
    end: u64,
    records: Vec<Record>,
}

impl EarlierComments {
    pub(super) fn new(log: SharedLog, clock: SharedClock) -> Self {
        Self { log, clock, next: AHashMap::new(), paused_until: AHashMap::new() }
    }

    /// Remembers the refs of the comments that were appended to these streams lately. Returns
    /// within [`TIMEOUT`]. A partition that failed is not read for [`PAUSE`], the others are.
    pub(super) async fn load(&mut self, streams: BTreeSet<StreamId>, refs: &mut Refs) {
        let now = Instant::now();
        self.paused_until.retain(|_, until| now < *until);
        let partition = |stream: StreamId| self.log.partition_of(Topic::CommentEvents, stream.0);
        let mut missing: BTreeSet<u32> = streams.into_iter().map(partition).collect();
        missing.retain(|partition| !self.paused_until.contains_key(partition));
        let permits = Semaphore::new(CONCURRENT_READS);
        let log = self.log.clone();
        // All at once: those that do not answer must not keep the others from being asked.
        let mut reads: FuturesUnordered<_> = missing
            .iter()
            .map(|&partition| {
                let known_to = self.next.get(&partition).copied().unwrap_or(0);
                read_new(&log, partition, known_to, &permits).map(move |read| (partition, read))
            })
            .collect();
        let mut last_error = None;
        while let Ok(Some((partition, read))) = timeout_at(now + TIMEOUT, reads.next()).await {
            match read {
                Ok(new) => {
                    missing.remove(&partition);
                    self.remember(partition, &new, refs);
                }
                Err(error) => last_error = Some(error),
            }
        }
        if missing.is_empty() {
            return;
        }
        let error = last_error.map_or_else(|| "no answer".to_owned(), |error| error.to_string());
        warn!(partitions = ?missing, error, "comments that were sent before are not known");
        let until = Instant::now() + PAUSE;
        self.paused_until.extend(missing.into_iter().map(|partition| (partition, until)));
    }

    fn remember(&mut self, partition: u32, new: &NewRecords, refs: &mut Refs) {
        let oldest_ms = self.clock.now_ms().saturating_sub(MAX_APART.as_millis() as u64);
        for record in &new.records {
            if record.timestamp_ms >= oldest_ms
                && let Ok(Event::CommentSubmitted(event)) = Event::decode(&record.payload)
            {
                refs.remember_first(&event, record.position.offset);
            }
        }
        self.next.insert(partition, new.end);
    }
}

async fn read_new(
    log: &SharedLog,
    partition: u32,
    known_to: u64,
    permits: &Semaphore,
) -> Result<NewRecords, LogError> {
    let end = log.bounds(Topic::CommentEvents, partition).await?.end;
    // The semaphore is never closed.
    let _permit = permits.acquire().await;
    let records = records_before(log, partition, end, known_to).await?;
    Ok(NewRecords { end, records })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::base::clock::{Clock as _, TokioClock};
    use crate::daemon::base::config::IngestConfig;
    use crate::daemon::engines::eventlog::EventLog as _;
    use crate::daemon::engines::eventlog::NewRecord;
    use crate::daemon::testing::event_log::InMemoryLog;
    use crate::protocol::events::CommentSubmitted;
    use crate::protocol::{Comment, CommentId, Role, UserId};

    const USER: UserId = UserId(7);

    fn comment(stream_id: StreamId, timestamp_ms: u64) -> NewRecord {
        let comment = Arc::new(Comment {
            stream_id,
            comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000, 1, [3; 6]),
            user_id: USER,
            name: "ann".into(),
            message: "hi".into(),
            created_at: 1,
            badges: Default::default(),
        });
        let client_ref = Some("r".into());
        let role = Role::Viewer;
        let event = CommentSubmitted { comment, role, client_ref, shadow: false, screened: false };
        let payload = Event::CommentSubmitted(event).encode().into();
        NewRecord { key: stream_id.0, timestamp_ms, payload }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_is_down_stops_no_other() {
        let log = InMemoryLog::shaped(4, 1);
        let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(1_700_000_000)));
        let streams: Vec<StreamId> = (0..4).map(StreamId).collect();
        let now_ms = clock.now_ms();
        let records = streams.iter().map(|stream| comment(*stream, now_ms)).collect();
        log.append(Topic::CommentEvents, records).await.unwrap();
        // The first that is asked.
        log.hide_end_of(0);
        let mut refs = Refs::new(&IngestConfig::default());
        let mut earlier = EarlierComments::new(Arc::new(log.clone()), clock);
        earlier.load(streams.iter().copied().collect(), &mut refs).await;
        let mut is_known = |stream| refs.get(&(USER, stream, "r".into())).is_some();
        assert!(!is_known(streams[0]));
        assert!(streams[1..].iter().all(|stream| is_known(*stream)), "the others are read");

        let mut new = comment(streams[1], now_ms);
        new.payload = comment(StreamId(5), now_ms).payload;
        log.append(Topic::CommentEvents, vec![new]).await.unwrap();
        let began = Instant::now();
        earlier.load(BTreeSet::from([streams[0], streams[1]]), &mut refs).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "it is not asked again so soon");
        let known = refs.get(&(USER, StreamId(5), "r".into()));
        assert!(known.is_some(), "the others are read meanwhile");
    }
}
