//! The archiver: copies every comment and every deletion from the log into the comment store.
//!
//! In: the comment events of the log, as the consumer group `archiver`, from the earliest offset.
//! Out: batches in the comment store; records that cannot be decoded, in the dead-letter topic.
//!
//! Always holds: the position is committed only after the store has the batch, and writing a batch
//! again changes nothing, so a crash at any moment loses nothing and stores nothing twice. A record
//! that cannot be decoded is skipped and never blocks others.
//!
//! When full: one batch (`archive_batch` records) is in memory. While the store refuses it, nothing
//! more is read, and the log keeps the rest.

mod batch;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::batch::Batch;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::StoreConfig;
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::eventlog::{
    ConsumerGroup, LogConsumer, LogError, SharedLog, StartAt, Topic,
};
use crate::net::backoff::BackoffBounds;

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
}

impl Archiver {
    /// Runs until `stop` is cancelled. Then it stores and commits the records read so far, if the
    /// store accepts them.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ArchiveError> {
        let joined = self
            .log
            .consume(Topic::CommentEvents, ConsumerGroup::Archiver, StartAt::Earliest)
            .await;
        let mut consumer = joined.map_err(ArchiveError::Read)?;
        while !stop.is_cancelled() {
            let batch = self.collect(&mut *consumer, &stop).await?;
            if batch.is_empty() {
                continue;
            }
            if !self.store(&batch, &stop).await {
                warn!(
                    records = batch.len(),
                    "stopped before the comment store accepted the last batch"
                );
                return Ok(());
            }
            self.append_dead_letters(&batch).await?;
            self.commit(&mut *consumer, &batch, &stop).await?;
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

    /// Reads until the batch is full, or `archive_interval` after its first record.
    async fn collect(
        &self,
        consumer: &mut dyn LogConsumer,
        stop: &CancellationToken,
    ) -> Result<Batch, ArchiveError> {
        let mut batch = Batch::default();
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
                Ok(polled) => batch.add(polled),
                Err(LogError::Unavailable(error)) => {
                    warn!(error, "archiver waits for the event log");
                    let _ = tokio::time::timeout(RETRY.first, stop.cancelled()).await;
                }
                Err(error) => return Err(ArchiveError::Read(error)),
            }
            if batch.len() >= self.config.archive_batch {
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
    async fn store(&self, batch: &Batch, stop: &CancellationToken) -> bool {
        if batch.comments.is_empty() && batch.tombstones.is_empty() {
            return true;
        }
        let mut backoff = RETRY.start();
        loop {
            if self.breaker.permits() {
                let written = self.store.write(&batch.comments, &batch.tombstones).await;
                match self.breaker.observe(written) {
                    Ok(()) => {
                        self.metrics.comments_archived.inc_by(batch.comments.len() as u64);
                        return true;
                    }
                    Err(error) => warn!(%error, "comment store refused a batch; retrying"),
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
