//! The hub: one task between the bus and the workers. It subscribes to the streams that workers
//! watch, puts the messages of the bus in one order without holes, and makes the frames.

mod changes;
mod earlier;
mod missed;
mod pinned;
mod room_polls;
mod sampling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::changes::{Ending, LAST_COMMENTS_WITHIN};
use self::earlier::EarlierEpoch;
use self::missed::MissedEnd;
use self::pinned::Pin;
use self::room_polls::ToldPoll;
use self::sampling::{IncomingComments, StreamSampling};
use super::deflate::{Compressors, StreamWindow};
use super::frame::{Frame, Lane};
use super::history::History;
use super::mailbox::{Command, Mailbox, StreamStart};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::ticker::ticker;
use crate::daemon::engines::bus::{
    Batch, BusError, BusEvent, BusListener, BusMessage, BusSubscriptions, UNNUMBERED,
};
use crate::daemon::engines::directory::{RoomPolls, Streams};
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, SharedLog, Topic};
use crate::daemon::engines::reactions::{SharedReactionTotals, Totals};
use crate::daemon::engines::recent::SharedRecentCache;
use crate::policy::egress::{self, EgressPolicy};
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::Removal;
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::room::RoomRules;
use crate::protocol::stream::StreamNotice;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Seq, StreamId};

/// While the bus is unavailable or a stream has no known position, the hub reads the log this
/// often.
const LOG_READ_INTERVAL: Duration = Duration::from_millis(250);
/// Joining viewers wait no longer than this for the reaction totals.
const TOTALS_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Requests of the workers and of the presence task.
#[derive(Debug)]
pub(super) enum HubRequest {
    Watch {
        stream_id: StreamId,
        worker: u16,
        activation: u64,
    },
    Unwatch {
        stream_id: StreamId,
        worker: u16,
    },
    /// Viewer counts that have changed.
    Presence(Vec<(StreamId, u64)>),
}

#[derive(Debug)]
pub(super) struct HubParts {
    pub(super) listener: Box<dyn BusListener>,
    pub(super) subscriptions: BusSubscriptions,
    pub(super) requests: mpsc::UnboundedReceiver<HubRequest>,
    pub(super) mailboxes: Arc<[Arc<Mailbox>]>,
    pub(super) history: History,
    pub(super) recent: SharedRecentCache,
    pub(super) log: SharedLog,
    pub(super) totals: SharedReactionTotals,
    pub(super) compressors: Arc<Compressors>,
    pub(super) egress: EgressPolicy,
    pub(super) board: StatusBoard,
    /// For the rules of rooms and pinned comments.
    pub(super) streams: Streams,
    pub(super) polls: RoomPolls,
    pub(super) clock: SharedClock,
}

#[derive(Debug)]
pub(super) struct Hub {
    parts: HubParts,
    feeds: AHashMap<StreamId, Feed>,
    /// When this node opened its log, in milliseconds since the Unix epoch.
    opened_ms: u64,
    /// The places of comments in an earlier epoch were dropped.
    forgot_earlier: bool,
    lost_seen: u64,
    /// The bus is unavailable.
    interrupted: bool,
    /// The bus may have lost the last messages of a stream, where no hole would show it: the log
    /// must be read once.
    read_log_once: bool,
    /// Watch requests that came while neither the cache nor the log could give the position of
    /// the stream. At most one per worker and stream.
    unplaced: Vec<Watch>,
    /// When egress was last adjusted.
    ticked_at: Instant,
    /// Comments were left out at that time.
    is_sampling: bool,
}

/// A worker's request for a stream.
#[derive(Debug, Clone, Copy)]
struct Watch {
    stream_id: StreamId,
    worker: u16,
    activation: u64,
}

/// A stream that at least one worker watches.
#[derive(Debug)]
struct Feed {
    watchers: Vec<u16>,
    /// Everything up to here was received.
    covered_to: Seq,
    /// Everything up to here was sent in frames. A range without comments waits for the next
    /// frame.
    framed_to: Seq,
    /// The rate of the broadcast stage.
    sample_rate: SampleRate,
    sampling: StreamSampling,
    earlier: EarlierEpoch,
    /// The rules that viewers were told.
    room: RoomRules,
    pin: Pin,
    poll: ToldPoll,
    /// The event as viewers were told.
    notice: StreamNotice,
    /// Set from the end of the stream until its viewers are closed.
    ending: Option<Ending>,
    /// Deletions already sent whose batch has not come yet, for workers that begin to watch.
    deleted_ahead: BTreeMap<Seq, Removal>,
    /// The shared deflate window of its viewers.
    deflate: Arc<StreamWindow>,
}

impl Hub {
    pub(super) fn new(parts: HubParts) -> Self {
        Self {
            opened_ms: parts.clock.now_ms(),
            parts,
            feeds: AHashMap::new(),
            forgot_earlier: false,
            lost_seen: 0,
            interrupted: false,
            read_log_once: false,
            unplaced: Vec::new(),
            ticked_at: Instant::now(),
            is_sampling: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), HubError> {
        let mut log_reads = ticker(LOG_READ_INTERVAL);
        let mut egress_ticks = ticker(egress::TICK);
        let mut reloads = self.parts.streams.reloads();
        let mut readings = self.parts.polls.readings();
        loop {
            let must_read_log = self.interrupted || self.read_log_once || !self.unplaced.is_empty();
            tokio::select! {
                request = self.parts.requests.recv() => match request {
                    Some(request) => self.handle_request(request).await,
                    None => return Ok(()),
                },
                heard = self.parts.listener.receive() => match heard {
                    Ok(event) => {
                        self.handle_bus_event(event).await;
                        self.count_lost();
                    }
                    // Those that publish are stopped as well, and the last of them closes the bus.
                    Err(BusError::Closed) if stop.is_cancelled() => return Ok(()),
                    Err(error) => return Err(error.into()),
                },
                _ = log_reads.tick(), if must_read_log => self.read_missed().await,
                _ = egress_ticks.tick() => {
                    self.adjust_egress();
                    self.forget_earlier();
                    self.close_ended();
                }
                // Fails only without a sender, and the hub has one.
                Ok(()) = reloads.changed() => {
                    self.tell_changes();
                    self.tell_pinned();
                    self.tell_polls();
                }
                Ok(()) = readings.changed() => self.tell_polls(),
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn handle_bus_event(&mut self, event: BusEvent) {
        match event {
            BusEvent::Message(stream_id, message) => self.on_message(stream_id, message).await,
            BusEvent::Interrupted => {
                info!("bus unavailable; reading missed events from the log");
                self.interrupted = true;
            }
            BusEvent::Restored => {
                info!("bus available again");
                self.interrupted = false;
                self.read_log_once = true;
            }
        }
    }

    async fn handle_request(&mut self, request: HubRequest) {
        match request {
            HubRequest::Watch { stream_id, worker, activation } => {
                self.watch(Watch { stream_id, worker, activation }).await;
            }
            HubRequest::Unwatch { stream_id, worker } => {
                self.unplaced.retain(|w| (w.stream_id, w.worker) != (stream_id, worker));
                let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
                feed.watchers.retain(|other| *other != worker);
                if feed.watchers.is_empty() {
                    if let Some(feed) = self.feeds.remove(&stream_id) {
                        self.close_sampling(stream_id, feed);
                    }
                    if let Err(error) = self.parts.subscriptions.unsubscribe(stream_id).await {
                        // Further messages of the stream are ignored.
                        debug!(%stream_id, %error, "cannot unsubscribe");
                    }
                }
            }
            HubRequest::Presence(changed) => {
                for (stream_id, viewers) in changed {
                    self.send(stream_id, Lane::Ordered, ServerMessage::Presence { viewers });
                }
            }
        }
    }

    /// Starts to send a stream to a worker, or postpones it while the position of the stream is
    /// unknown.
    async fn watch(&mut self, watch: Watch) {
        if let Err(error) = self.try_watch(watch).await {
            debug!(stream_id = %watch.stream_id, %error, "stream position unknown; retrying");
            self.unplaced.push(watch);
        }
    }

    async fn try_watch(&mut self, watch: Watch) -> Result<(), HubError> {
        let Watch { stream_id, worker, activation } = watch;
        if !self.feeds.contains_key(&stream_id) {
            // Subscribe before reading the position: messages that arrive in between are
            // recognized by their offset.
            if let Err(error) = self.parts.subscriptions.subscribe(stream_id).await {
                // The listener reports when it receives the stream; until then the log is read.
                debug!(%stream_id, %error, "cannot subscribe yet; reading the log");
                self.read_log_once = true;
            }
            let covered_to = self.head(stream_id).await?;
            let gauges = self.parts.board.stream(stream_id);
            let sample_rate = gauges.map_or(SampleRate::ALL, |gauges| gauges.sample_rate);
            let feed = Feed {
                watchers: Vec::new(),
                covered_to,
                framed_to: covered_to,
                sample_rate,
                sampling: StreamSampling::new(sample_rate),
                earlier: EarlierEpoch::default(),
                room: self.parts.streams.room_rules(stream_id),
                notice: self.parts.streams.notice(stream_id),
                pin: self.pin(stream_id).await,
                poll: ToldPoll::new(self.parts.polls.state(stream_id)),
                ending: None,
                deleted_ahead: BTreeMap::new(),
                deflate: self.parts.compressors.stream(),
            };
            self.feeds.insert(stream_id, feed);
            self.parts.history.record_change();
        }
        let totals = self.totals(stream_id).await;
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return Ok(()) };
        feed.watchers.push(worker);
        let start = StreamStart {
            epoch: self.parts.log.epoch(),
            covered_to: feed.framed_to,
            deleted_ahead: feed.deleted_ahead.clone(),
            sample_rate: feed.sampling.rate(feed.sample_rate),
            meter: feed.sampling.meter.clone(),
            viewers: self.parts.board.viewers(stream_id),
            room: feed.room,
            schedule: feed.notice.schedule(),
            pinned: feed.pin.told.clone(),
            poll: feed.poll.open(),
            reactions: (!totals.is_empty())
                .then_some(ServerMessage::ReactionsUpdate { reactions: totals }),
        };
        let mailbox = &self.parts.mailboxes[usize::from(worker)];
        mailbox.send(Command::StreamReady { stream_id, activation, start: Box::new(start) });
        Ok(())
    }

    /// Reads the reaction totals. Returns none if they cannot be read soon.
    async fn totals(&self, stream_id: StreamId) -> Totals {
        match timeout(TOTALS_TIMEOUT, self.parts.totals.totals(stream_id)).await {
            Ok(Ok(totals)) => totals,
            Ok(Err(error)) => {
                warn!(%stream_id, %error, "reaction totals unavailable; joining viewers are not sent them");
                Totals::new()
            }
            Err(_) => {
                warn!(%stream_id, "reading reaction totals timed out; joining viewers are not sent them");
                Totals::new()
            }
        }
    }

    /// Returns up to where the stream was broadcast: the end of the recent cache, or, if that
    /// does not know the stream, the committed position of the broadcast stage.
    async fn head(&self, stream_id: StreamId) -> Result<Seq, HubError> {
        match self.parts.recent.head(stream_id).await {
            Ok(Some(head)) => return Ok(head),
            Ok(None) => {}
            Err(error) => warn!(%stream_id, %error, "recent cache unavailable"),
        }
        let partition = self.parts.log.partition_of(Topic::CommentEvents, stream_id.0);
        let committed =
            self.parts.log.committed(Topic::CommentEvents, ConsumerGroup::Coordinator).await?;
        let next = committed.iter().find(|position| position.partition == partition);
        Ok(next.map_or(0, |position| position.offset.saturating_sub(1)))
    }

    async fn on_message(&mut self, stream_id: StreamId, message: BusMessage) {
        if !self.feeds.contains_key(&stream_id) {
            return;
        }
        match message {
            BusMessage::Batch(batch) => self.handle_batch(stream_id, &batch).await,
            BusMessage::Deleted { seq, deletion } => {
                self.handle_deletion(stream_id, seq, &deletion);
            }
            BusMessage::Restored { comment_id } => self.handle_restoration(stream_id, comment_id),
            BusMessage::Throttle { sample_rate } => {
                if let Some(feed) = self.feeds.get_mut(&stream_id) {
                    feed.sample_rate = sample_rate;
                }
                self.send_rate_notice(stream_id);
            }
            BusMessage::Reactions { totals } => {
                let update = ServerMessage::ReactionsUpdate { reactions: totals };
                self.send(stream_id, Lane::Ordered, update);
            }
            BusMessage::Announcement { message } => {
                self.send(stream_id, Lane::Control, ServerMessage::Announcement { message });
            }
            BusMessage::Ended => self.plan_end(stream_id, LAST_COMMENTS_WITHIN),
        }
    }

    fn handle_deletion(&mut self, stream_id: StreamId, seq: Seq, deletion: &Removal) {
        self.take_down(stream_id, deletion.comment_id);
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        if seq == UNNUMBERED {
            self.parts.history.record_change();
            return self.send_frame(stream_id, Frame::deletion(seq, deletion));
        }
        if seq > feed.covered_to && !feed.deleted_ahead.contains_key(&seq) {
            feed.deleted_ahead.insert(seq, deletion.clone());
            self.parts.history.record_change();
            self.send_frame(stream_id, Frame::deletion(seq, deletion));
        }
    }

    /// Viewers are not sent the comment again: those that saw it vanish must reload. Workers send
    /// its deletions to nobody any more.
    fn handle_restoration(&mut self, stream_id: StreamId, comment_id: CommentId) {
        self.parts.history.record_change();
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        feed.deleted_ahead.retain(|_, deletion| deletion.comment_id != comment_id);
        for worker in &feed.watchers {
            let mailbox = &self.parts.mailboxes[usize::from(*worker)];
            mailbox.send(Command::Restored { stream_id, comment_id });
        }
    }

    async fn handle_batch(&mut self, stream_id: StreamId, batch: &Batch) {
        if batch.epoch != self.parts.log.epoch() {
            // The log was replaced, and that node has not opened it again, or this one has not. The
            // numbers of this batch mean other comments here.
            debug!(%stream_id, epoch = %batch.epoch, "bus delivered a batch of another epoch");
            return;
        }
        let covered_to = self.feeds[&stream_id].covered_to;
        if batch.to_seq <= covered_to {
            return;
        }
        if batch.from_seq > covered_to + 1 {
            debug!(%stream_id, covered_to, from_seq = batch.from_seq, "bus delivered a batch after a hole");
            let end = MissedEnd::at(batch.from_seq - 1);
            if let Err(error) = self.fill_hole(stream_id, end, SampleRate::ALL).await {
                warn!(%stream_id, %error, "cannot fill the hole; viewers get a gap");
            }
        }
        for (seq, deletion) in &batch.deletions {
            self.handle_deletion(stream_id, *seq, deletion);
        }
        let old = self.older_than_log(batch.comments.iter().chain(&batch.own));
        let shown_before = self.shown_before(stream_id, old).await;
        let after = self.feeds[&stream_id].covered_to;
        let is_hole = batch.from_seq > after + 1;
        if is_hole {
            self.send_empty_range(stream_id);
        }
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        if is_hole {
            // The hole stays visible: the next frame begins where the batch does.
            feed.framed_to = batch.from_seq - 1;
        }
        // Throttle messages may be lost, or may have come before this node listened.
        feed.sample_rate = batch.sample_rate;
        feed.deleted_ahead = feed.deleted_ahead.split_off(&(batch.to_seq + 1));
        let new = |comments: &[SequencedComment]| -> Vec<_> {
            comments.iter().filter(|comment| comment.seq > after).cloned().collect()
        };
        let incoming = IncomingComments {
            epoch: batch.epoch,
            to_seq: batch.to_seq,
            sample_rate: batch.sample_rate,
            comments: new(&batch.comments),
            own: new(&batch.own),
            sampled: batch.sampled_out > 0,
            held_back: batch.held_back.clone(),
            shown_before,
        };
        self.send_comments(stream_id, incoming, &batch.staff);
    }

    fn send(&self, stream_id: StreamId, lane: Lane, message: ServerMessage) {
        self.send_frame(stream_id, Frame::new(lane, message));
    }

    fn send_frame(&self, stream_id: StreamId, frame: Frame) {
        let Some(feed) = self.feeds.get(&stream_id) else { return };
        let frame = Arc::new(frame.with_window(&feed.deflate));
        for worker in &feed.watchers {
            let mailbox = &self.parts.mailboxes[usize::from(*worker)];
            if !mailbox.send_frame(stream_id, frame.clone()) {
                self.parts.board.metrics().bus_messages_lost.inc();
            }
        }
    }

    fn count_lost(&mut self) {
        let lost = self.parts.listener.lost();
        self.parts.board.metrics().bus_messages_lost.inc_by(lost - self.lost_seen);
        self.read_log_once |= lost > self.lost_seen;
        self.lost_seen = lost;
    }
}

#[cfg(test)]
mod tests;
