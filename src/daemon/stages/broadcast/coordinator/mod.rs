//! The coordinator: one loop that reads the partitions assigned to this node and publishes batches.

mod delayed;

use std::sync::Arc;
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use futures_util::{TryStreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::daemon::base::config::BroadcastConfig;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::bus::{BusError, BusMessage, SharedBus, UNNUMBERED};
use crate::daemon::engines::directory::Delays;
use crate::daemon::engines::eventlog::repeats::RepeatFilter;
use crate::daemon::engines::eventlog::{
    ConsumerGroup, LogConsumer, LogError, LogTelemetry, Polled, Position, Record, SharedLog,
    StartAt, Topic,
};
use crate::daemon::engines::recent::SharedRecentCache;
use crate::daemon::stages::broadcast::held::{CommentTimes, StreamRecord};
use crate::daemon::stages::broadcast::moved::MovedRecords;
use crate::daemon::stages::broadcast::overrides::RateOverrides;
use crate::daemon::stages::broadcast::pending::TakenBatch;
use crate::daemon::stages::broadcast::publication::{Outlets, StreamBatch};
use crate::daemon::stages::broadcast::stream_state::StreamState;
use crate::policy::THROTTLE_TICK;
use crate::policy::throttle::{ThrottlePolicy, ThrottleRules};
use crate::protocol::admin::StageName;
use crate::protocol::events::{
    CommentModerated, CommentRestored, CommentSubmitted, Event, HiddenFrom, Removal,
};
use crate::protocol::{Seq, StreamId};

const MAX_POLL_RECORDS: usize = 4096;
/// The node that broadcasts this partition keeps the timeline of the cluster.
const TIMELINE_PARTITION: u32 = 0;
/// Streams whose batches are published at the same time.
const CONCURRENT_PUBLISHES: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum BroadcastError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Bus(#[from] BusError),
}

#[derive(Debug, Clone)]
pub struct CoordinatorParts {
    pub log: SharedLog,
    pub log_telemetry: LogTelemetry,
    pub bus: SharedBus,
    pub recent: SharedRecentCache,
    pub board: StatusBoard,
    pub config: Arc<BroadcastConfig>,
    pub overrides: RateOverrides,
    /// `None` shows every comment at once.
    pub delays: Option<Delays>,
}

/// Runs the broadcast stage for the partitions assigned to this node.
#[derive(Debug)]
pub struct Coordinator {
    parts: CoordinatorParts,
    outlets: Outlets,
    rules: ThrottleRules,
    streams: AHashMap<StreamId, StreamState>,
    /// Streams with something to publish.
    waiting: AHashSet<StreamId>,
    /// Streams with records that a message delay holds back.
    delayed: AHashSet<StreamId>,
    /// The offset at which reading of each partition began.
    started_at: AHashMap<u32, u64>,
    /// The end of each partition when reading of it began. Records before it are replayed.
    replayed_to: AHashMap<u32, u64>,
    /// The offset that is read next in each partition.
    next: AHashMap<u32, u64>,
    repeats: RepeatFilter,
    moved: MovedRecords,
    /// When the records being processed were read.
    read_at: Instant,
    /// Whether the last commit succeeded.
    is_committed: bool,
}

impl Coordinator {
    pub fn new(parts: CoordinatorParts) -> Self {
        let repeats = RepeatFilter::new(parts.log.clone());
        let outlets = Outlets {
            recent: parts.recent.clone(),
            bus: parts.bus.clone(),
            meter: parts.board.telemetry().stage(StageName::Broadcast),
        };
        Self {
            rules: parts.config.throttle_rules(),
            parts,
            outlets,
            streams: AHashMap::new(),
            waiting: AHashSet::new(),
            delayed: AHashSet::new(),
            started_at: AHashMap::new(),
            replayed_to: AHashMap::new(),
            next: AHashMap::new(),
            is_committed: true,
            moved: MovedRecords::default(),
            read_at: Instant::now(),
            repeats,
        }
    }

    /// Runs until cancelled. Then it publishes all pending batches and commits.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), BroadcastError> {
        let log = self.parts.log.clone();
        self.outlets.meter.join_group();
        let mut consumer = log
            .consume(Topic::CommentEvents, ConsumerGroup::Coordinator, StartAt::Earliest)
            .await?;
        let mut next_tick = Instant::now() + THROTTLE_TICK;
        let mut next_commit = Instant::now() + self.parts.config.commit_interval;
        loop {
            let wait = self.time_until_due(next_tick);
            let polled = tokio::select! {
                polled = consumer.poll(MAX_POLL_RECORDS, wait) => polled,
                () = stop.cancelled() => break,
            };
            match polled {
                Ok(polled) => self.process(polled).await?,
                Err(LogError::Unavailable(error)) => {
                    // The state stays valid: the log continues where it stopped.
                    warn!(error, "event log unavailable; broadcast waits");
                    let _ = tokio::time::timeout(THROTTLE_TICK, stop.cancelled()).await;
                }
                Err(error) => return Err(error.into()),
            }
            self.release_due().await?;
            self.publish_due(false).await?;
            let now = Instant::now();
            if now >= next_tick {
                self.tick(now).await?;
                next_tick = now + THROTTLE_TICK;
            }
            if now >= next_commit {
                self.commit(consumer.as_mut()).await?;
                next_commit = now + self.parts.config.commit_interval;
            }
        }
        self.commit(consumer.as_mut()).await
    }

    /// Returns the time until the next batch or tick is due.
    fn time_until_due(&self, next_tick: Instant) -> Duration {
        let now = Instant::now();
        let due =
            self.waiting.iter().filter_map(|id| self.streams[id].due(&self.parts.config)).min();
        let held = self.delayed.iter().filter_map(|id| self.streams[id].held.next_due()).min();
        let next = due.into_iter().chain(held).chain([next_tick]).min().unwrap_or(next_tick);
        next.saturating_duration_since(now)
    }

    async fn process(&mut self, polled: Polled) -> Result<(), BroadcastError> {
        self.read_at = Instant::now();
        polled.record_assignment(&self.outlets.meter);
        for position in &polled.assigned {
            self.started_at.insert(position.partition, position.offset);
            self.next.insert(position.partition, position.offset);
        }
        self.find_replayed(&polled.assigned).await;
        self.repeats.follow_assignment(&polled);
        let has_lost_some = !polled.revoked.is_empty();
        for partition in polled.revoked {
            self.next.remove(&partition);
            let removed: Vec<_> = self
                .streams
                .extract_if(|_, state| state.partition == partition)
                .map(|(stream_id, _)| stream_id)
                .collect();
            self.parts.board.forget_streams(&removed);
            let streams = &self.streams;
            self.waiting.retain(|id| streams.contains_key(id));
            self.delayed.retain(|id| streams.contains_key(id));
        }
        if has_lost_some {
            self.report_held(&self.positions());
        }
        for record in polled.records {
            self.next.insert(record.position.partition, record.position.offset + 1);
            let event = match Event::decode(&record.payload) {
                Ok(event) => event,
                Err(error) => {
                    // The archiver reads the same records and writes this one to the dead letters.
                    warn!(offset = record.position.offset, %error, "record skipped");
                    continue;
                }
            };
            let of_stream = self.parts.log.partition_of(Topic::CommentEvents, event.stream_id().0);
            if of_stream != record.position.partition {
                self.skip_moved(record.position, &event).await?;
                continue;
            }
            let is_repeat = self.repeats.is_repeated_event(&record, &event).await?;
            match event {
                Event::CommentSubmitted(event) => {
                    self.add_comment(&record, &event, is_repeat).await?;
                }
                Event::CommentModerated(event) => self.add_decision(&record, &event).await?,
                Event::CommentRestored(event) => self.add_restoration(&record, &event).await?,
            }
        }
        Ok(())
    }

    /// Passes over a record whose stream has moved to another partition. Its number belongs to an
    /// earlier epoch, when the log had fewer partitions; viewers of this one find its comment in
    /// the history. A deletion needs no number, and viewers may show the comment; what takes it
    /// back needs none either.
    async fn skip_moved(
        &mut self,
        position: Position,
        event: &Event,
    ) -> Result<(), BroadcastError> {
        self.moved.add(position);
        match event {
            Event::CommentModerated(event) => match event.removal() {
                Some(deletion) => {
                    self.publish_deletion(event.stream_id, UNNUMBERED, &deletion).await
                }
                None => Ok(()),
            },
            Event::CommentRestored(event) => self.publish_restoration(UNNUMBERED, event).await,
            Event::CommentSubmitted(_) => Ok(()),
        }
    }

    async fn add_comment(
        &mut self,
        record: &Record,
        event: &CommentSubmitted,
        is_repeat: bool,
    ) -> Result<(), BroadcastError> {
        let stream_id = event.comment.stream_id;
        if is_repeat {
            self.parts.board.metrics().comments_repeated.inc();
        } else {
            let talkers = self.parts.board.telemetry().talkers();
            talkers.record_comment(&event.comment, self.read_at);
        }
        if is_repeat {
            return self.accept(record.position, stream_id, StreamRecord::Nothing, None).await;
        }
        let created_at = event.comment.created_at;
        let delays = self.parts.delays.as_ref();
        let left = delays.and_then(|delays| delays.left(stream_id, created_at));
        let due = left.map(|left| Instant::now() + left);
        let delay_ms = delays.map_or(0, |delays| delays.delay_ms(stream_id));
        let times = CommentTimes { ready_at: self.read_at, delay_ms };
        let is_replayed = self.is_replayed(record.position);
        let state = self.state(stream_id, record.position);
        if !is_replayed {
            state.rate.add(1, Instant::now());
        }
        let comment = StreamRecord::Comment { event: event.clone(), times };
        self.accept(record.position, stream_id, comment, due).await
    }

    /// Deletes a comment from the recent cache and from the lists of the viewers that are told.
    async fn publish_deletion(
        &self,
        stream_id: StreamId,
        seq: Seq,
        deletion: &Removal,
    ) -> Result<(), BroadcastError> {
        let recent = &self.parts.recent;
        let comment_id = deletion.comment_id;
        let added = match deletion.hidden_from() {
            HiddenFrom::Everybody => recent.add_tombstone(stream_id, comment_id, seq).await,
            HiddenFrom::Others => recent.hide_from_others(stream_id, comment_id, seq).await,
        };
        if let Err(error) = added {
            warn!(%stream_id, %error, "deletion not written to the recent cache");
        }
        let message = BusMessage::Deleted { seq, deletion: deletion.clone() };
        self.parts.bus.publish(stream_id, vec![message]).await?;
        self.parts.board.metrics().comments_deleted.inc();
        Ok(())
    }

    /// Makes the recent cache hand a comment out again, and edges forget pages without it. Viewers
    /// that saw it vanish are sent nothing.
    async fn publish_restoration(
        &self,
        seq: Seq,
        event: &CommentRestored,
    ) -> Result<(), BroadcastError> {
        let CommentRestored { stream_id, comment_id, .. } = *event;
        let restored = self.parts.recent.restore_comment(stream_id, comment_id, seq).await;
        if let Err(error) = restored {
            warn!(%stream_id, %error, "restoration not written to the recent cache");
        }
        self.parts.bus.publish(stream_id, vec![BusMessage::Restored { comment_id }]).await?;
        self.parts.board.metrics().comments_restored.inc();
        Ok(())
    }

    async fn add_restoration(
        &mut self,
        record: &Record,
        event: &CommentRestored,
    ) -> Result<(), BroadcastError> {
        let seq = record.position.offset;
        let stream_id = event.stream_id;
        self.publish_restoration(seq, event).await?;
        let restoration = StreamRecord::Restoration(event.comment_id);
        self.accept(record.position, stream_id, restoration, None).await
    }

    async fn add_decision(
        &mut self,
        record: &Record,
        event: &CommentModerated,
    ) -> Result<(), BroadcastError> {
        let seq = record.position.offset;
        let stream_id = event.stream_id;
        let deletion = event.removal();
        if let Some(deletion) = &deletion {
            self.publish_deletion(stream_id, seq, deletion).await?;
            self.parts.board.telemetry().talkers().record_removal(stream_id, event.user_id);
        }
        let decision = match deletion {
            Some(deletion) => {
                self.state(stream_id, record.position).gauges.deleted += 1;
                StreamRecord::Deletion(deletion)
            }
            None => StreamRecord::Nothing,
        };
        self.accept(record.position, stream_id, decision, None).await
    }

    fn state(&mut self, stream_id: StreamId, position: Position) -> &mut StreamState {
        let rules = &self.rules;
        let overrides = &self.parts.overrides;
        let board = &self.parts.board;
        let started_at =
            self.started_at.get(&position.partition).copied().unwrap_or(position.offset);
        self.streams.entry(stream_id).or_insert_with(|| {
            let mut policy = ThrottlePolicy::new();
            policy.fix(overrides.get(stream_id).map(|fixed| fixed.rate));
            let known = board.stream(stream_id);
            let covered_to = started_at.saturating_sub(1);
            StreamState::new(position.partition, covered_to, policy, known, rules)
        })
    }

    async fn publish_if_full(&mut self, stream_id: StreamId) -> Result<(), BroadcastError> {
        if self.streams[&stream_id].pending.is_full() {
            self.publish(stream_id).await?;
        }
        Ok(())
    }

    /// Publishes the batches that are due, or all of them.
    async fn publish_due(&mut self, all: bool) -> Result<(), BroadcastError> {
        let now = Instant::now();
        let config = &self.parts.config;
        let due =
            |id: &&StreamId| all || self.streams[*id].due(config).is_none_or(|due| due <= now);
        let due: Vec<StreamId> = self.waiting.iter().filter(due).copied().collect();
        // One batch per stream, so that streams do not wait for each other and each keeps its
        // order.
        let batches: Vec<_> = due.into_iter().filter_map(|id| self.take(id)).collect();
        let outlets = &self.outlets;
        stream::iter(batches.into_iter().map(Ok))
            .try_for_each_concurrent(CONCURRENT_PUBLISHES, |batch: StreamBatch| {
                batch.publish(outlets)
            })
            .await?;
        Ok(())
    }

    async fn publish(&mut self, stream_id: StreamId) -> Result<(), BroadcastError> {
        match self.take(stream_id) {
            Some(batch) => Ok(batch.publish(&self.outlets).await?),
            None => Ok(()),
        }
    }

    /// Takes the pending batch of a stream, if it is not empty.
    fn take(&mut self, stream_id: StreamId) -> Option<StreamBatch> {
        self.waiting.remove(&stream_id);
        let epoch = self.parts.log.epoch();
        let state = self.streams.get_mut(&stream_id)?;
        if state.pending.is_empty() {
            return None;
        }
        let TakenBatch { batch, events, ready_at } = state.pending.take(epoch, state.sample_rate);
        state.last_sent = Some(Instant::now());
        state.gauges.broadcast += batch.comments.len() as u64;
        state.gauges.sampled_out += u64::from(batch.sampled_out);
        let metrics = self.parts.board.metrics();
        metrics.comments_broadcast.inc_by(batch.comments.len() as u64);
        metrics.comments_sampled_out.inc_by(u64::from(batch.sampled_out));
        Some(StreamBatch { stream_id, batch, events, ready_at })
    }

    /// Evaluates the rate of every stream, notifies viewers of changes, and writes the gauges.
    async fn tick(&mut self, now: Instant) -> Result<(), BroadcastError> {
        for stream_id in self.parts.overrides.streams() {
            if !self.streams.contains_key(&stream_id) {
                self.add_quiet_stream(stream_id);
            }
        }
        let rules = &self.rules;
        let mut changed = Vec::new();
        let pending = self.streams.values().map(|state| state.pending.len() as u64).sum();
        self.outlets.meter.set_queue(pending);
        let keeps_cluster = self.next.contains_key(&TIMELINE_PARTITION);
        self.parts.board.telemetry().set_keeps_cluster(keeps_cluster);
        for (stream_id, state) in &mut self.streams {
            let per_second = state.rate.per_second(now);
            let before = state.sample_rate;
            let fixed = self.parts.overrides.get(*stream_id);
            state.policy.fix(fixed.map(|fixed| fixed.rate));
            state.policy.observe(per_second, now, rules);
            let rate = state.policy.sample_rate(rules);
            state.write_gauges(per_second, rate);
            state.gauges.throttle_until_ms = fixed.and_then(|fixed| fixed.until_ms);
            self.parts.board.set_stream(*stream_id, state.gauges);
            if rate != before {
                changed.push((*stream_id, rate));
            }
        }
        for (stream_id, rate) in changed {
            // Comments sampled at the old rate are published with it, before the notice.
            self.publish(stream_id).await?;
            if let Some(state) = self.streams.get_mut(&stream_id) {
                state.sample_rate = rate;
            }
            let notice = BusMessage::Throttle { sample_rate: rate };
            self.parts.bus.publish(stream_id, vec![notice]).await?;
        }
        Ok(())
    }

    /// Adds a stream whose rate an operator fixed before its first comment was read here.
    fn add_quiet_stream(&mut self, stream_id: StreamId) {
        let partition = self.parts.log.partition_of(Topic::CommentEvents, stream_id.0);
        if let Some(offset) = self.next.get(&partition).copied() {
            self.state(stream_id, Position { partition, offset });
        }
    }

    /// Publishes all pending batches and commits the offsets.
    async fn commit(&mut self, consumer: &mut dyn LogConsumer) -> Result<(), BroadcastError> {
        let next = self.positions();
        // First, because a bus that is slow or down says nothing about records that wait.
        self.report_held(&next);
        self.publish_due(true).await?;
        self.moved.report(&self.parts.log_telemetry);
        match consumer.commit(&next).await {
            // The next commit stores it. A crash before that repeats batches that edges recognize.
            Err(error @ (LogError::Full(_) | LogError::Unavailable(_))) => {
                // One line per outage: this is tried several times per second.
                if self.is_committed {
                    warn!(%error, "broadcast position not committed; trying again");
                }
                self.is_committed = false;
                Ok(())
            }
            outcome => {
                outcome?;
                self.is_committed = true;
                Ok(())
            }
        }
    }
}
