//! Comments that were appended before, read back from the log: before a batch is appended, while
//! the reservations of refs are not certain; after it, for comments that are sent again, because
//! an append that failed or is not answered may be stored all the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::refs::Refs;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::supervise::early_end;
use crate::daemon::engines::eventlog::repeats::{MAX_APART, records_before};
use crate::daemon::engines::eventlog::{LogError, Position, Record, SharedLog, Topic};
use crate::protocol::StreamId;
use crate::protocol::events::Event;

/// A read takes at most this long. Before an append, submissions of all streams wait for it; those
/// without an answer are appended, so that a repeat is in the log twice, and its sender is told the
/// second id. After an append, the answers of its batch and of later ones wait; without an answer
/// of the log, the sender of a repeat is told the second place.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A partition that failed is left alone for so long. One that answers slowly then takes a tenth of
/// the time of submissions, which wait for each other, not all of it.
const PAUSE: Duration = Duration::from_secs(10);
/// Partitions that are read at the same time. Each may have many records.
const CONCURRENT_READS: usize = 4;

/// Reads the refs of earlier comments back from the log.
#[derive(Debug)]
pub(super) struct EarlierComments {
    log: SharedLog,
    clock: SharedClock,
    progress: Arc<Mutex<Progress>>,
}

#[derive(Debug, Default)]
struct Progress {
    /// By partition, the offset that is read next.
    next: AHashMap<u32, u64>,
    /// By partition that failed, the end of its pause.
    paused_until: AHashMap<u32, Instant>,
    /// Records that were read and are not remembered yet: of each partition in order, each once.
    found: Vec<Record>,
}

impl Progress {
    /// Keeps what was read of a partition from `known_to` on. Reads may overlap: what another one
    /// has kept meanwhile is left out.
    fn keep(&mut self, partition: u32, known_to: u64, new: NewRecords) {
        let NewRecords { end, records } = new;
        let next = self.next.entry(partition).or_default();
        let from = *next;
        // The topic was created again if it is shorter than before.
        *next = if end < known_to { end } else { from.max(end) };
        self.found.extend(records.into_iter().filter(|record| record.position.offset >= from));
    }
}

/// The new records of a partition.
#[derive(Debug)]
struct NewRecords {
    end: u64,
    records: Vec<Record>,
}

impl EarlierComments {
    pub(super) fn new(log: SharedLog, clock: SharedClock) -> Self {
        Self { log, clock, progress: Arc::default() }
    }

    /// Remembers the refs of the comments that were appended to these streams lately. Returns
    /// within [`TIMEOUT`]. A partition that failed is not read for [`PAUSE`], the others are.
    pub(super) async fn load(&mut self, streams: BTreeSet<StreamId>, refs: &mut Refs) {
        self.read(streams).await;
        self.remember(refs);
    }

    /// Waits for an append, and then reads what these streams have had lately, within [`TIMEOUT`]:
    /// nothing can come before the appended records any more. Both happen in a task of their own,
    /// so that the reads of several batches overlap although they are answered in order. The task
    /// ends with the returned future.
    pub(super) fn read_after(
        &self,
        append: BoxFuture<'static, Result<Vec<Position>, LogError>>,
        streams: BTreeSet<StreamId>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        if streams.is_empty() {
            return append;
        }
        let read = self.read(streams);
        let task = tokio::spawn(async move {
            let positions = append.await?;
            read.await;
            Ok::<_, LogError>(positions)
        });
        let ended_early = |error: JoinError| {
            let text = format!("the task that appends {}", early_end(&error));
            Err(LogError::Unavailable(text))
        };
        AbortOnDropHandle::new(task).unwrap_or_else(ended_early).boxed()
    }

    fn read(&self, streams: BTreeSet<StreamId>) -> impl Future<Output = ()> + Send + use<> {
        let log = self.log.clone();
        let progress = self.progress.clone();
        async move {
            let now = Instant::now();
            let partition = |stream: StreamId| log.partition_of(Topic::CommentEvents, stream.0);
            let mut missing: BTreeSet<u32> = streams.into_iter().map(partition).collect();
            let known_to = {
                let mut progress = progress.lock();
                progress.paused_until.retain(|_, until| now < *until);
                missing.retain(|partition| !progress.paused_until.contains_key(partition));
                progress.next.clone()
            };
            let permits = Semaphore::new(CONCURRENT_READS);
            // All at once: those that do not answer must not keep the others from being asked.
            let mut reads: FuturesUnordered<_> = missing
                .iter()
                .map(|&partition| {
                    let known_to = known_to.get(&partition).copied().unwrap_or(0);
                    let read = read_new(&log, partition, known_to, &permits);
                    read.map(move |read| (partition, known_to, read))
                })
                .collect();
            let mut found = Vec::new();
            let mut last_error = None;
            while let Ok(Some(read)) = timeout_at(now + TIMEOUT, reads.next()).await {
                let (partition, known_to, read) = read;
                match read {
                    Ok(new) => {
                        progress.lock().keep(partition, known_to, new);
                        found.push(partition);
                    }
                    Err(error) => last_error = Some(error),
                }
            }
            drop(reads);
            for partition in &found {
                missing.remove(partition);
            }
            if !missing.is_empty() {
                let error = last_error.map_or_else(|| "no answer".to_owned(), |e| e.to_string());
                warn!(partitions = ?missing, error, "comments that were sent before are not known");
                let until = Instant::now() + PAUSE;
                let paused = missing.into_iter().map(|partition| (partition, until));
                progress.lock().paused_until.extend(paused);
            }
        }
    }

    /// Remembers the refs of what was read so far.
    pub(super) fn remember(&self, refs: &mut Refs) {
        let oldest_ms = self.clock.now_ms().saturating_sub(MAX_APART.as_millis() as u64);
        let found = std::mem::take(&mut self.progress.lock().found);
        for record in &found {
            if record.timestamp_ms >= oldest_ms
                && let Ok(Event::CommentSubmitted(event)) = Event::decode(&record.payload)
            {
                refs.remember_first(&event, record.position.offset);
            }
        }
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
            parent_id: None,
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
