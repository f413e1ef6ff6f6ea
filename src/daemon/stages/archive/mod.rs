//! The archiver: copies every comment, every deletion and every restoration from the log into the
//! comment store.
//!
//! In: the comment events of the log, as the consumer group `archiver`, from the earliest offset.
//! Out: batches in the comment store; records that cannot be decoded, in the dead-letter topic.
//!
//! Always holds: the position is committed only after the store has the batch, and writing a batch
//! again changes nothing, so a crash at any moment loses nothing and stores nothing twice. A store
//! that has less than the position says, because it was lost or restored from a backup, gets the
//! rest again from the log (`rebuild.rs`). A comment that is in the log twice is stored once
//! ([`crate::daemon::engines::eventlog::repeats`]). A record that cannot be decoded is skipped and
//! never blocks others.
//!
//! When full: one batch (`archive_batch` records) is in memory. While the store refuses it, nothing
//! more is read, and the log keeps the rest.

mod batch;
mod rebuild;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::batch::Batch;
use self::rebuild::StoreWatch;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::StoreConfig;
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::problems::Problems;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::telemetry::StageMeter;
use crate::daemon::engines::comments::{ArchiveBatch, SharedCommentStore};
use crate::daemon::engines::eventlog::repeats::RepeatFilter;
use crate::daemon::engines::eventlog::{
    ConsumerGroup, LogConsumer, LogError, SharedLog, StartAt, Topic,
};
use crate::net::backoff::BackoffBounds;
use crate::protocol::Epoch;

/// Wait of one poll while the log is quiet.
const IDLE_WAIT: Duration = Duration::from_secs(1);
/// Records per poll, decoded without yielding to other tasks.
const POLL_RECORDS: usize = 512;
const RETRY: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// The stage. Clones share everything, so that a supervisor can start it again.
#[derive(Debug, Clone)]
pub struct Archiver {
    pub log: SharedLog,
    pub store: SharedCommentStore,
    /// The breaker of the comment store.
    pub breaker: Arc<Breaker>,
    pub metrics: Metrics,
    pub meter: Arc<StageMeter>,
    pub problems: Problems,
    pub config: StoreConfig,
    pub clock: SharedClock,
}

/// A reason why the archiver stopped. Started again, it continues at its last commit.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archiver cannot read the log: {0}")]
    Read(#[source] LogError),
    #[error("the archiver cannot append to the dead-letter topic: {0}")]
    DeadLetter(#[source] LogError),
    #[error("the archiver cannot commit its position: {0}")]
    Commit(#[source] LogError),
    #[error("the event log was replaced: its epoch is {now}, it was {before}")]
    Replaced { before: Epoch, now: Epoch },
}

impl Archiver {
    /// Runs until `stop` is cancelled. Then it stores and commits the records read so far, if the
    /// store accepts them.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ArchiveError> {
        self.meter.join_group();
        let joined = self
            .log
            .consume(Topic::CommentEvents, ConsumerGroup::Archiver, StartAt::Earliest)
            .await;
        let mut consumer = joined.map_err(ArchiveError::Read)?;
        let mut repeats = RepeatFilter::new(self.log.clone());
        let mut watch = StoreWatch::new(self.log.epoch());
        while !stop.is_cancelled() {
            let mut batch = self.collect(&mut *consumer, &watch, &mut repeats, &stop).await?;
            let now = self.log.epoch();
            if now != watch.epoch() {
                return Err(ArchiveError::Replaced { before: watch.epoch(), now });
            }
            if !self.compare(&mut watch, &batch, &stop).await? {
                return Ok(());
            }
            if batch.is_empty() {
                continue;
            }
            if !self.store(&mut batch, &stop).await {
                warn!(
                    records = batch.len(),
                    "stopped before the comment store accepted the last batch"
                );
                return Ok(());
            }
            watch.written(batch.rows());
            self.append_dead_letters(&batch).await?;
            self.commit(&mut *consumer, &batch, &stop).await?;
            self.meter.set_queue(0);
        }
        Ok(())
    }

    /// Commits, and retries while the log does not answer: a partition without new records has no
    /// later commit that would make up for this one.
    async fn commit(
        &self,
        consumer: &mut dyn LogConsumer,
        batch: &Batch,
        stop: &CancellationToken,
    ) -> Result<(), ArchiveError> {
        let mut backoff = RETRY.start();
        loop {
            match consumer.commit(&batch.positions()).await {
                Err(error @ (LogError::Full(_) | LogError::Unavailable(_)))
                    if !stop.is_cancelled() =>
                {
                    warn!(%error, "archiver position not committed; retrying");
                }
                outcome => return outcome.map_err(ArchiveError::Commit),
            }
            let _ = tokio::time::timeout(backoff.next_pause(), stop.cancelled()).await;
        }
    }

    /// Reads until the batch is full, or `archive_interval` after its first record. Returns an
    /// empty batch when the store must be compared with the position.
    async fn collect(
        &self,
        consumer: &mut dyn LogConsumer,
        watch: &StoreWatch,
        repeats: &mut RepeatFilter,
        stop: &CancellationToken,
    ) -> Result<Batch, ArchiveError> {
        let mut batch = Batch::new(watch.epoch());
        let mut deadline = None;
        loop {
            let wait = deadline.map_or(IDLE_WAIT, |end: Instant| end - Instant::now());
            let room = self.config.archive_batch.max(1) - batch.len();
            let polled = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(batch),
                polled = consumer.poll(room.min(POLL_RECORDS), wait) => polled,
            };
            match polled {
                Ok(polled) => {
                    polled.record_assignment(&self.meter);
                    batch.add(polled, repeats).await.map_err(ArchiveError::Read)?;
                    self.meter.set_queue(batch.len() as u64);
                }
                Err(LogError::Unavailable(error)) => {
                    warn!(error, "archiver waits for the event log");
                    let _ = tokio::time::timeout(RETRY.first, stop.cancelled()).await;
                }
                Err(error) => return Err(ArchiveError::Read(error)),
            }
            let is_due = watch.is_due() || !batch.assigned.is_empty();
            if batch.len() >= self.config.archive_batch || (batch.is_empty() && is_due) {
                return Ok(batch);
            }
            if deadline.is_none() && !batch.is_empty() {
                deadline = Some(Instant::now() + self.config.archive_interval);
            }
            if deadline.is_some_and(|end| end <= Instant::now()) {
                return Ok(batch);
            }
        }
    }

    /// Writes the batch, and retries until the store has it. Returns false if `stop` was cancelled
    /// before that.
    async fn store(&self, batch: &mut Batch, stop: &CancellationToken) -> bool {
        let rows = batch.rows();
        if !self.write(rows, stop).await {
            return false;
        }
        self.metrics.comments_archived.inc_by(rows.comments.len() as u64);
        true
    }

    async fn write(&self, rows: &ArchiveBatch, stop: &CancellationToken) -> bool {
        let mut backoff = RETRY.start();
        loop {
            if self.breaker.permits() {
                let comments = rows.comments.len() as u64;
                let began = Instant::now();
                match self.breaker.observe(self.store.write(rows).await) {
                    Ok(()) => {
                        self.meter.record_latency(comments, began.elapsed());
                        return true;
                    }
                    Err(error) => {
                        self.meter.refuse(comments);
                        warn!(%error, "comment store refused a batch; retrying");
                    }
                }
            }
            if stop.is_cancelled() {
                return false;
            }
            // If stopped meanwhile, there is one last attempt.
            let wait = backoff.next_pause().max(self.breaker.retry_after());
            let _ = tokio::time::timeout(wait, stop.cancelled()).await;
        }
    }

    async fn append_dead_letters(&self, batch: &Batch) -> Result<(), ArchiveError> {
        if batch.dead_letters.is_empty() {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        let letters = batch.dead_letters.iter();
        let records = letters.map(|(key, letter)| letter.record(*key, now_ms)).collect();
        self.log.append(Topic::DeadLetters, records).await.map_err(ArchiveError::DeadLetter)?;
        self.metrics.dead_letters.inc_by(batch.dead_letters.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
