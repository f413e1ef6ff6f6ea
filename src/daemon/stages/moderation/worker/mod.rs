//! Asynchronous moderation: reads what was published and appends what must go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pipeline::{Pipeline, Subject, Verdict};
use super::reviews::Reviews;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::metrics::{Metrics, count};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::dead_letter::DeadLetter;
use crate::daemon::engines::eventlog::{
    CommitOutcome, ConsumerGroup, LogConsumer, LogError, NewRecord, Polled, Position, Record,
    SharedLog, StartAt, Topic,
};
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::Comment;
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::{CommentModerated, CommentSubmitted, Decision, Event};
use crate::protocol::stream::ModerationMode;

/// How long a poll waits for comments, and so at most how long between two tries of a store that is
/// down.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Flagged comments that may wait for the metadata store; with more the worker stops reading.
const MAX_WAITING_REVIEWS: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the worker needs.
#[derive(Debug)]
pub struct ModerationWorker {
    log: SharedLog,
    streams: Streams,
    pipeline: Arc<Pipeline>,
    reviews: Reviews,
    metrics: Metrics,
    clock: SharedClock,
    batch_comments: usize,
}

/// What was decided on the records of one poll.
#[derive(Debug, Default)]
struct Outcome {
    /// For `comment_events`: decisions that delete.
    deletions: Vec<NewRecord>,
    /// For `moderation_events`: all but accept.
    decisions: Vec<NewRecord>,
    dead_letters: Vec<NewRecord>,
    reviews: Vec<ReviewItem>,
}

/// What is decided but not done with.
#[derive(Debug, Default)]
struct Unsettled {
    /// Bounded by [`MAX_WAITING_REVIEWS`] and one poll.
    reviews: VecDeque<ReviewItem>,
    /// By partition, the offset to commit once `reviews` is empty.
    next: BTreeMap<u32, u64>,
}

impl Unsettled {
    fn positions(&self) -> Vec<Position> {
        let next = self.next.iter();
        next.map(|(&partition, &offset)| Position { partition, offset }).collect()
    }
}

impl ModerationWorker {
    pub fn new(
        log: SharedLog,
        streams: Streams,
        pipeline: Arc<Pipeline>,
        (store, store_breaker): (SharedMetadataStore, Arc<Breaker>),
        metrics: Metrics,
        clock: SharedClock,
        batch_comments: usize,
    ) -> Self {
        let reviews = Reviews { store, breaker: store_breaker, clock: clock.clone() };
        Self { log, streams, pipeline, reviews, metrics, clock, batch_comments }
    }

    /// Moderates until `stop` is cancelled; then finishes what it has polled and commits. Engines
    /// that do not answer are waited for; an error means that the log cannot be read any more, and
    /// running again is right.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), LogError> {
        let mut consumer = self
            .log
            .consume(Topic::CommentEvents, ConsumerGroup::Moderator, StartAt::Earliest)
            .await?;
        let mut unsettled = Unsettled::default();
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let polled = tokio::select! {
                polled = consumer.poll(self.batch_comments, POLL_WAIT) => polled,
                () = stop.cancelled() => break,
            };
            match polled {
                Ok(polled) => {
                    pause = FIRST_PAUSE;
                    if !self.process(&mut *consumer, polled, &mut unsettled, &stop).await? {
                        return Ok(());
                    }
                }
                Err(LogError::Unavailable(error)) => {
                    warn!(error, "moderation cannot read the event log");
                    self.pause(&mut pause, &stop).await;
                }
                Err(error) => return Err(error),
            }
            self.settle(&mut *consumer, &mut unsettled).await?;
            while unsettled.reviews.len() >= MAX_WAITING_REVIEWS && !stop.is_cancelled() {
                self.pause(&mut pause, &stop).await;
                self.settle(&mut *consumer, &mut unsettled).await?;
            }
        }
        self.settle(&mut *consumer, &mut unsettled).await
    }

    /// Decides on a poll and makes the decisions durable, with the position if nothing else is to be
    /// waited for. `false`: stopped before they were.
    async fn process(
        &self,
        consumer: &mut dyn LogConsumer,
        polled: Polled,
        unsettled: &mut Unsettled,
        stop: &CancellationToken,
    ) -> Result<bool, LogError> {
        for partition in &polled.revoked {
            // Another member has it now, and decides anew from its last commit.
            unsettled.next.remove(partition);
        }
        let outcome = self.decide(&polled.records).await;
        for record in &polled.records {
            unsettled.next.insert(record.position.partition, record.position.offset + 1);
        }
        unsettled.reviews.extend(outcome.reviews);
        let outputs = [
            (Topic::CommentEvents, outcome.deletions),
            (Topic::ModerationEvents, outcome.decisions),
            (Topic::DeadLetters, outcome.dead_letters),
        ];
        if outputs.iter().all(|(_, records)| records.is_empty()) {
            return Ok(true);
        }
        self.append(consumer, &outputs, unsettled, stop).await
    }

    async fn decide(&self, records: &[Record]) -> Outcome {
        let mut outcome = Outcome::default();
        for record in records {
            match Event::decode(&record.payload) {
                Ok(Event::CommentSubmitted(event)) if self.is_due(&event) => {
                    let subject = Subject { comment: &event.comment, role: Some(event.role) };
                    let verdict = self.pipeline.check(&subject).await;
                    self.note(&event.comment, &verdict, &mut outcome);
                }
                Ok(_) => {}
                Err(error) => {
                    outcome.dead_letters.push(self.dead_letter(record, &error.to_string()));
                }
            }
        }
        outcome
    }

    /// Whether this comment is the worker's to check. A stream in synchronous mode may have comments
    /// from before it was.
    fn is_due(&self, event: &CommentSubmitted) -> bool {
        let stream = self.streams.get(event.comment.stream_id);
        !event.screened && stream.is_none_or(|stream| stream.moderation != ModerationMode::Off)
    }

    fn note(&self, comment: &Comment, verdict: &Verdict, outcome: &mut Outcome) {
        let finding = &verdict.finding;
        self.metrics.moderation_checked.inc();
        count(&self.metrics.moderation_decisions, finding.decision.as_str());
        if finding.decision == Decision::Accept {
            return;
        }
        count(&self.metrics.moderation_reasons, finding.reason);
        let now_ms = self.clock.now_ms();
        let payload: bytes::Bytes = moderated(comment, verdict, now_ms).encode().into();
        let record = |key| NewRecord { key, timestamp_ms: now_ms, payload: payload.clone() };
        if finding.decision.deletes() {
            outcome.deletions.push(record(comment.stream_id.0));
        }
        if finding.decision == Decision::Flag {
            outcome.reviews.push(self.reviews.item(comment, finding.reason, false));
        }
        outcome.decisions.push(record(comment.user_id.0));
    }

    fn dead_letter(&self, record: &Record, reason: &str) -> NewRecord {
        let Position { partition, offset } = record.position;
        warn!(partition, offset, reason, "moderation cannot read a record");
        self.metrics.dead_letters.inc();
        DeadLetter::new(Topic::CommentEvents, ConsumerGroup::Moderator, record, &reason)
            .record(record.key, self.clock.now_ms())
    }

    /// Appends until the log takes it. `false`: stopped before it did.
    async fn append(
        &self,
        consumer: &mut dyn LogConsumer,
        outputs: &[(Topic, Vec<NewRecord>)],
        unsettled: &mut Unsettled,
        stop: &CancellationToken,
    ) -> Result<bool, LogError> {
        let mut pause = FIRST_PAUSE;
        loop {
            // Comments that wait for review must be queued first; then the position is committed.
            let next =
                if unsettled.reviews.is_empty() { unsettled.positions() } else { Vec::new() };
            match consumer.append_and_commit(&*self.log, outputs, &next).await {
                Ok(CommitOutcome::Committed) if !next.is_empty() => {
                    unsettled.next.clear();
                    return Ok(true);
                }
                Ok(_) => return Ok(true),
                Err(error @ (LogError::Full(_) | LogError::Unavailable(_))) => {
                    warn!(%error, "moderation waits to append its decisions");
                }
                Err(error) => return Err(error),
            }
            if stop.is_cancelled() {
                return Ok(false);
            }
            self.pause(&mut pause, stop).await;
        }
    }

    /// Queues what waits for review, as far as the store takes it, and commits if nothing is left.
    async fn settle(
        &self,
        consumer: &mut dyn LogConsumer,
        unsettled: &mut Unsettled,
    ) -> Result<(), LogError> {
        while let Some(item) = unsettled.reviews.front() {
            match self.reviews.queue(item.clone()).await {
                Ok(()) => {}
                Err(StoreError::Unavailable(_)) => return Ok(()),
                Err(error) => {
                    // It would be refused for ever; the decision itself is in the log.
                    let comment_id = item.comment_id;
                    warn!(%error, %comment_id, "a flagged comment could not be queued for review");
                }
            }
            unsettled.reviews.pop_front();
        }
        if unsettled.next.is_empty() {
            return Ok(());
        }
        match consumer.commit(&unsettled.positions()).await {
            Ok(()) => unsettled.next.clear(),
            // Tried again after the next poll; until then a crash would only repeat decisions.
            Err(error @ (LogError::Full(_) | LogError::Unavailable(_))) => {
                warn!(%error, "moderation could not store its position");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn pause(&self, pause: &mut Duration, stop: &CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            () = stop.cancelled() => info!("moderation stops while waiting"),
        }
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }
}

/// The event of a decision.
pub(super) fn moderated(comment: &Comment, verdict: &Verdict, now_ms: u64) -> Event {
    Event::CommentModerated(CommentModerated {
        stream_id: comment.stream_id,
        comment_id: comment.comment_id,
        user_id: comment.user_id,
        decision: verdict.finding.decision,
        reason: verdict.finding.reason.into(),
        timestamp: now_ms,
        decided_by: verdict.decided_by.unwrap_or("pipeline").into(),
    })
}

#[cfg(test)]
mod tests;
