//! Asynchronous moderation: reads published comments and appends decisions about them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::ready;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::context::{CommentContext, ModerationContext};
use super::pipeline::{Pipeline, Subject, Verdict};
use super::reviews::{MAX_BATCH, ReviewQueue, review_item};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::metrics::{Metrics, count, count_decided};
use crate::daemon::base::moderation_state::{ModerationState, StoppedWorker};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::telemetry::StageMeter;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::dead_letter::DeadLetter;
use crate::daemon::engines::eventlog::repeats::RepeatFilter;
use crate::daemon::engines::eventlog::{
    CommitOutcome, ConsumerGroup, LogConsumer, LogError, NewRecord, Polled, Position, Record,
    SharedLog, StartAt, Topic,
};
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::net::backoff::{Backoff, BackoffBounds};
use crate::protocol::admin::ReviewItem;
use crate::protocol::events::{
    BadEvent, CommentModerated, CommentSubmitted, Decision, Event, ModeratedText,
};
use crate::protocol::stream::ModerationMode;
use crate::protocol::{Comment, UserId};

/// Wait of one poll for comments, and so the longest time between two attempts on a store that is
/// down.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Flagged comments that may wait for the metadata store; at this number the worker stops reading.
const MAX_WAITING_REVIEWS: usize = 1024;
const RETRY: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

/// The dependencies of a [`ModerationWorker`].
#[derive(Debug)]
pub struct ModerationWorkerParts {
    pub log: SharedLog,
    pub streams: Streams,
    pub pipeline: Arc<Pipeline>,
    pub context: Arc<ModerationContext>,
    pub metadata: SharedMetadataStore,
    pub metadata_breaker: Arc<Breaker>,
    /// Told while the worker does not read because the metadata store is down.
    pub state: ModerationState,
    pub metrics: Metrics,
    pub meter: Arc<StageMeter>,
    pub clock: SharedClock,
    pub batch_comments: usize,
}

/// The worker. One call of [`Self::run`] is one member of the consumer group.
#[derive(Debug)]
pub struct ModerationWorker {
    log: SharedLog,
    streams: Streams,
    pipeline: Arc<Pipeline>,
    context: Arc<ModerationContext>,
    reviews: ReviewQueue,
    state: ModerationState,
    metrics: Metrics,
    meter: Arc<StageMeter>,
    clock: SharedClock,
    batch_comments: usize,
}

/// The results of checking the records of one poll.
#[derive(Debug, Default)]
struct BatchResults {
    /// Decisions that delete, for `comment_events`.
    deletions: Vec<NewRecord>,
    /// All decisions other than accept, for `moderation_events`.
    decisions: Vec<NewRecord>,
    dead_letters: Vec<NewRecord>,
    reviews: Vec<ReviewItem>,
    /// Number of comments checked.
    checked: u64,
}

/// A comment of a poll, and the verdict on it so far.
#[derive(Debug)]
struct CommentCheck {
    event: CommentSubmitted,
    context: CommentContext,
    verdict: Verdict,
    /// Whether the stages that wait may still change the verdict.
    is_open: bool,
}

impl CommentCheck {
    fn subject(&self) -> Subject<'_> {
        let Self { event, context, .. } = self;
        Subject {
            comment: &event.comment,
            role: Some(event.role),
            lowered: context.lowered(),
            raised: context.raised(),
            deadline: None,
        }
    }
}

/// Decided records whose position is not committed yet.
#[derive(Debug, Default)]
struct Uncommitted {
    /// Items not yet in the review queue. Bounded by [`MAX_WAITING_REVIEWS`] and one poll.
    reviews: VecDeque<ReviewItem>,
    /// By partition, the offset to commit once `reviews` is empty.
    next: BTreeMap<u32, u64>,
}

impl Uncommitted {
    fn positions(&self) -> Vec<Position> {
        let next = self.next.iter();
        next.map(|(&partition, &offset)| Position { partition, offset }).collect()
    }
}

impl ModerationWorker {
    pub fn new(parts: ModerationWorkerParts) -> Self {
        let reviews = ReviewQueue { store: parts.metadata, breaker: parts.metadata_breaker };
        Self {
            log: parts.log,
            streams: parts.streams,
            pipeline: parts.pipeline,
            context: parts.context,
            reviews,
            state: parts.state,
            metrics: parts.metrics,
            meter: parts.meter,
            clock: parts.clock,
            batch_comments: parts.batch_comments,
        }
    }

    /// Moderates until `stop` is cancelled; then finishes the polled records and commits. Waits for
    /// engines that do not answer. An error means that this consumer cannot continue; the caller
    /// should run the worker again.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), LogError> {
        self.meter.join_group();
        let mut consumer = self
            .log
            .consume(Topic::CommentEvents, ConsumerGroup::Moderator, StartAt::Earliest)
            .await?;
        let mut repeats = RepeatFilter::new(self.log.clone());
        let mut uncommitted = Uncommitted::default();
        let mut stopped: Option<StoppedWorker> = None;
        let mut backoff = RETRY.start();
        while !stop.is_cancelled() {
            let polled = tokio::select! {
                polled = consumer.poll(self.batch_comments, POLL_WAIT) => polled,
                () = stop.cancelled() => break,
            };
            match polled {
                Ok(polled) => {
                    backoff.reset();
                    polled.record_assignment(&self.meter);
                    if polled.records.len() < self.batch_comments {
                        // It has caught up with what was published while it was stopped.
                        stopped = None;
                    }
                    let _undecided = self.meter.hold(polled.records.len() as u64);
                    let read_at = Instant::now();
                    let results = self.decide(&polled, &mut repeats).await?;
                    let checked = results.checked;
                    self.context.store_points().await;
                    let outputs =
                        self.process(&mut *consumer, polled, results, &mut uncommitted, &stop);
                    if !outputs.await? {
                        return Ok(());
                    }
                    self.meter.record_latency(checked, read_at.elapsed());
                }
                Err(LogError::Unavailable(error)) => {
                    warn!(error, "moderation cannot read the event log; retrying");
                    pause(&mut backoff, &stop).await;
                }
                Err(error) => return Err(error),
            }
            self.queue_and_commit(&mut *consumer, &mut uncommitted).await?;
            while uncommitted.reviews.len() >= MAX_WAITING_REVIEWS && !stop.is_cancelled() {
                stopped.get_or_insert_with(|| self.state.stop_worker());
                pause(&mut backoff, &stop).await;
                self.queue_and_commit(&mut *consumer, &mut uncommitted).await?;
            }
        }
        self.queue_and_commit(&mut *consumer, &mut uncommitted).await
    }

    /// Makes the decisions on polled records durable, together with the position if no review is
    /// pending. Returns false if stopped before that.
    async fn process(
        &self,
        consumer: &mut dyn LogConsumer,
        polled: Polled,
        results: BatchResults,
        uncommitted: &mut Uncommitted,
        stop: &CancellationToken,
    ) -> Result<bool, LogError> {
        for partition in &polled.revoked {
            // Another member has the partition now, and continues from the last commit.
            uncommitted.next.remove(partition);
        }
        for record in &polled.records {
            uncommitted.next.insert(record.position.partition, record.position.offset + 1);
        }
        uncommitted.reviews.extend(results.reviews);
        let outputs = vec![
            (Topic::CommentEvents, results.deletions),
            (Topic::ModerationEvents, results.decisions),
            (Topic::DeadLetters, results.dead_letters),
        ];
        if outputs.iter().all(|(_, records)| records.is_empty()) {
            return Ok(true);
        }
        self.append(consumer, outputs, uncommitted, stop).await
    }

    /// Checks the comments of a poll. A comment that is in the log twice is checked once.
    async fn decide(
        &self,
        polled: &Polled,
        repeats: &mut RepeatFilter,
    ) -> Result<BatchResults, LogError> {
        repeats.follow_assignment(polled);
        let mut results = BatchResults::default();
        let mut checks = Vec::new();
        let events: Vec<_> =
            polled.records.iter().map(|record| Event::decode(&record.payload)).collect();
        self.context.look_up(&self.users_to_check(&events)).await;
        for (record, event) in polled.records.iter().zip(events) {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    results.dead_letters.push(self.dead_letter(record, &error.to_string()));
                    continue;
                }
            };
            let is_repeat = repeats.is_repeated_event(record, &event).await?;
            match event {
                Event::CommentSubmitted(event) if !is_repeat && self.needs_check(&event) => {
                    let role = Some(event.role);
                    let context = self.context.of_comment(&event.comment, role);
                    let subject = Subject {
                        comment: &event.comment,
                        role,
                        lowered: context.lowered(),
                        raised: context.raised(),
                        deadline: None,
                    };
                    let verdict = self.pipeline.check_in_order(&subject).await;
                    let is_open =
                        !verdict.is_final() && self.pipeline.concurrent_checks().is_some();
                    if !is_open {
                        self.context.record(&subject, &context, &verdict);
                    }
                    checks.push(CommentCheck { event, context, verdict, is_open });
                }
                Event::CommentSubmitted(_)
                | Event::CommentModerated(_)
                | Event::CommentRestored(_) => {}
            }
        }
        self.finish_checks(&mut checks).await;
        for CommentCheck { event, verdict, .. } in &checks {
            self.record_verdict(event, verdict, &mut results);
        }
        Ok(results)
    }

    /// Completes checks by the stages that wait, of several comments at once. Each verdict stays at
    /// its place.
    async fn finish_checks(&self, checks: &mut [CommentCheck]) {
        let Some(at_once) = self.pipeline.concurrent_checks() else { return };
        let open = checks.iter_mut().filter(|check| check.is_open);
        let finishing: Vec<_> = open.map(|check| self.finish_check(check)).collect();
        stream::iter(finishing).buffer_unordered(at_once).for_each(|()| ready(())).await;
        for check in checks.iter().filter(|check| check.is_open) {
            self.context.record(&check.subject(), &check.context, &check.verdict);
        }
    }

    async fn finish_check(&self, check: &mut CommentCheck) {
        let CommentCheck { event, context, verdict, .. } = check;
        let subject = Subject {
            comment: &event.comment,
            role: Some(event.role),
            lowered: context.lowered(),
            raised: context.raised(),
            deadline: None,
        };
        self.pipeline.check_waiting(&subject, verdict).await;
    }

    /// Returns the authors of the comments that are checked.
    fn users_to_check(&self, events: &[Result<Event, BadEvent>]) -> Vec<UserId> {
        let user = |event: &Result<Event, BadEvent>| match event {
            Ok(Event::CommentSubmitted(event)) if self.needs_check(event) => {
                Some(event.comment.user_id)
            }
            _ => None,
        };
        events.iter().filter_map(user).collect()
    }

    /// Returns whether the worker has to check this comment. Even a stream in synchronous mode may
    /// have unscreened comments, from before it was.
    fn needs_check(&self, event: &CommentSubmitted) -> bool {
        let stream = self.streams.get(event.comment.stream_id);
        !event.screened && stream.is_none_or(|stream| stream.moderation != ModerationMode::Off)
    }

    fn record_verdict(
        &self,
        event: &CommentSubmitted,
        verdict: &Verdict,
        results: &mut BatchResults,
    ) {
        let comment = &*event.comment;
        let finding = &verdict.finding;
        self.metrics.moderation_checked.inc();
        self.metrics.moderation_scores.observe(&verdict.scores);
        results.checked += 1;
        count(&self.metrics.moderation_decisions, finding.decision.as_str());
        if finding.decision == Decision::Accept {
            return;
        }
        count(&self.metrics.moderation_reasons, finding.reason);
        let stage = verdict.decided_by.unwrap_or("pipeline");
        count_decided(&self.metrics, stage, finding.reason, finding.decision.as_str());
        let now_ms = self.clock.now_ms();
        let was_hidden = event.shadow;
        let decided = CommentModerated { was_hidden, ..moderated(comment, verdict, now_ms) };
        let record = |key, decided| {
            let payload = Event::CommentModerated(decided).encode().into();
            NewRecord { key, timestamp_ms: now_ms, payload }
        };
        if finding.decision.deletes() {
            results.deletions.push(record(comment.stream_id.0, decided.without_text()));
        }
        if finding.decision == Decision::Flag {
            let item = review_item(comment, finding.reason, &verdict.evidence(), now_ms);
            results.reviews.push(ReviewItem { shadowed: event.shadow, ..item });
        }
        results.decisions.push(record(comment.user_id.0, decided));
    }

    fn dead_letter(&self, record: &Record, reason: &str) -> NewRecord {
        let Position { partition, offset } = record.position;
        warn!(partition, offset, reason, "skipped a record that moderation cannot decode");
        self.metrics.dead_letters.inc();
        DeadLetter::new(Topic::CommentEvents, ConsumerGroup::Moderator, record, &reason)
            .record(record.key, self.clock.now_ms())
    }

    /// Appends the outputs, and retries until the log accepts them; those that it has accepted are
    /// not appended again. Returns false if stopped before that.
    async fn append(
        &self,
        consumer: &mut dyn LogConsumer,
        mut outputs: Vec<(Topic, Vec<NewRecord>)>,
        uncommitted: &mut Uncommitted,
        stop: &CancellationToken,
    ) -> Result<bool, LogError> {
        let mut backoff = RETRY.start();
        loop {
            // The position is committed only once all flagged comments are queued for review.
            let next =
                if uncommitted.reviews.is_empty() { uncommitted.positions() } else { Vec::new() };
            match consumer.append_and_commit(&*self.log, &mut outputs, &next).await {
                Ok(CommitOutcome::Committed) if !next.is_empty() => {
                    uncommitted.next.clear();
                    return Ok(true);
                }
                Ok(_) => return Ok(true),
                Err(error @ (LogError::Full(_) | LogError::Unavailable(_))) => {
                    warn!(%error, "moderation decisions not appended; retrying");
                }
                Err(error) => return Err(error),
            }
            if stop.is_cancelled() {
                return Ok(false);
            }
            pause(&mut backoff, stop).await;
        }
    }

    /// Queues pending reviews, batch by batch, as long as the store answers, and commits if none is
    /// left.
    async fn queue_and_commit(
        &self,
        consumer: &mut dyn LogConsumer,
        uncommitted: &mut Uncommitted,
    ) -> Result<(), LogError> {
        while !uncommitted.reviews.is_empty() {
            let batch = uncommitted.reviews.iter().take(MAX_BATCH).cloned().collect();
            for outcome in self.reviews.queue(batch).await {
                if let Err(StoreError::Unavailable(_)) = outcome {
                    return Ok(());
                }
                // One that is refused would be so forever; the decision itself is in the log.
                if let (Some(item), Err(error)) = (uncommitted.reviews.pop_front(), outcome) {
                    let comment_id = item.comment_id;
                    warn!(%error, %comment_id, "flagged comment not queued for review");
                }
            }
        }
        if uncommitted.next.is_empty() {
            return Ok(());
        }
        match consumer.commit(&uncommitted.positions()).await {
            Ok(()) => uncommitted.next.clear(),
            // Retried after the next poll; until then a crash would only repeat decisions.
            Err(error @ (LogError::Full(_) | LogError::Unavailable(_))) => {
                warn!(%error, "moderation position not committed; retrying");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Waits for the next attempt, or until `stop` is cancelled.
async fn pause(backoff: &mut Backoff, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(backoff.next_pause()) => {}
        () = stop.cancelled() => info!("moderation stopped while waiting"),
    }
}

/// Returns the event of a decision, with the text that it is about and what was measured of it.
pub(super) fn moderated(comment: &Comment, verdict: &Verdict, now_ms: u64) -> CommentModerated {
    CommentModerated {
        stream_id: comment.stream_id,
        comment_id: comment.comment_id,
        user_id: comment.user_id,
        decision: verdict.finding.decision,
        reason: verdict.finding.reason.into(),
        timestamp: now_ms,
        decided_by: verdict.decided_by.unwrap_or("pipeline").into(),
        text: Some(ModeratedText { evidence: Some(verdict.evidence()), ..comment.into() }),
        was_hidden: false,
        in_bulk: false,
    }
}

#[cfg(test)]
mod tests;
