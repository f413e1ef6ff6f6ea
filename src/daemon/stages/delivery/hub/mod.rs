//! The hub: one task between the bus and the workers. It follows the streams that workers watch,
//! puts what the bus brings in one gapless order, and makes the frames.

mod display;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::display::{Arrivals, Display};
use super::deflate::{Compressors, StreamDeflate};
use super::egress;
use super::frame::{Frame, Lane};
use super::history::{History, HistoryError, Past};
use super::mailbox::{Command, Mailbox, StreamStart};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::bus::{
    Batch, BusError, BusEvent, BusListener, BusMessage, BusSubscriptions,
};
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, SharedLog, Topic};
use crate::daemon::engines::reactions::{SharedReactionTotals, Totals};
use crate::daemon::engines::recent::{RecentEvent, SharedRecentCache};
use crate::protocol::comment::Deletion;
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Seq, StreamId};

/// The consumer group of the broadcast stage, whose committed position says what viewers have been
/// Of a larger hole in what the bus brought only the deletions are sent; for its comments viewers
/// are told a gap and read the history.
const MAX_REPAIR_EVENTS: usize = 10_000;
/// While the bus is out of reach, or a stream could not be placed, the hub looks in the log this
/// often.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Newcomers are not kept waiting longer than this for the reactions so far.
const TOTALS_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What workers and the presence task ask of the hub.
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
    /// Viewer counts that changed.
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
    pub(super) egress: egress::Policy,
    pub(super) board: StatusBoard,
}

#[derive(Debug)]
pub(super) struct Hub {
    parts: HubParts,
    feeds: AHashMap<StreamId, Feed>,
    lost_seen: u64,
    /// The bus brings nothing.
    interrupted: bool,
    /// The bus may have lost the last messages of a stream, after which no hole would show.
    look_once: bool,
    /// Asked for while neither the cache nor the log could say where the stream stands. At most one a
    /// worker and stream.
    postponed: Vec<Watch>,
    /// When the egress policy last looked, and whether it left something out then.
    ticked_at: Instant,
    shows_part: bool,
}

/// A worker that wants a stream.
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
    /// Everything up to here was taken in.
    covered_to: Seq,
    /// Everything up to here lies in frames; ranges without comments wait for the next frame.
    framed_to: Seq,
    /// What the broadcast stage lets through.
    sample_rate: SampleRate,
    display: Display,
    /// Deletions already sent whose batch has not come yet; a worker that begins to watch is told.
    deleted_ahead: BTreeMap<Seq, Deletion>,
    /// What its viewers share of permessage-deflate.
    deflate: Arc<StreamDeflate>,
}

impl Hub {
    pub(super) fn new(parts: HubParts) -> Self {
        Self {
            parts,
            feeds: AHashMap::new(),
            lost_seen: 0,
            interrupted: false,
            look_once: false,
            postponed: Vec::new(),
            ticked_at: Instant::now(),
            shows_part: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), HubError> {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = tokio::time::interval(egress::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let look = self.interrupted || self.look_once || !self.postponed.is_empty();
            tokio::select! {
                request = self.parts.requests.recv() => match request {
                    Some(request) => self.on_request(request).await,
                    None => return Ok(()),
                },
                heard = self.parts.listener.receive() => {
                    self.on_heard(heard?).await;
                    self.count_lost();
                }
                _ = looks.tick(), if look => self.look().await,
                _ = ticks.tick() => self.tick(),
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn on_heard(&mut self, heard: BusEvent) {
        match heard {
            BusEvent::Message(stream_id, message) => self.on_message(stream_id, message).await,
            BusEvent::Interrupted => {
                info!("the bus is out of reach; what it does not bring is looked for in the log");
                self.interrupted = true;
            }
            BusEvent::Restored => {
                info!("the bus is back");
                (self.interrupted, self.look_once) = (false, true);
            }
        }
    }

    /// Does what could not be done before, and fetches what the bus did not bring.
    async fn look(&mut self) {
        for watch in std::mem::take(&mut self.postponed) {
            self.watch(watch).await;
        }
        if !self.interrupted && !self.look_once {
            return;
        }
        self.look_once = false;
        let committed =
            self.parts.log.committed(Topic::CommentEvents, ConsumerGroup::Coordinator).await;
        let broadcast: AHashMap<u32, Seq> = match committed {
            Ok(next) => next.into_iter().map(|next| (next.partition, next.offset)).collect(),
            Err(error) => {
                debug!(%error, "how far streams were broadcast is not known");
                self.look_once = true;
                return;
            }
        };
        let streams: Vec<_> = self.feeds.keys().copied().collect();
        for stream_id in streams {
            let partition = self.parts.log.partition_of(Topic::CommentEvents, stream_id.0);
            let until = broadcast.get(&partition).map_or(0, |next| next.saturating_sub(1));
            let Feed { covered_to, sample_rate, .. } = self.feeds[&stream_id];
            if until > covered_to
                && let Err(error) = self.repair(stream_id, until, sample_rate).await
            {
                debug!(%stream_id, %error, "not caught up; tried again");
                self.look_once = true;
            }
        }
    }

    async fn on_request(&mut self, request: HubRequest) {
        match request {
            HubRequest::Watch { stream_id, worker, activation } => {
                self.watch(Watch { stream_id, worker, activation }).await;
            }
            HubRequest::Unwatch { stream_id, worker } => {
                self.postponed.retain(|w| (w.stream_id, w.worker) != (stream_id, worker));
                let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
                feed.watchers.retain(|other| *other != worker);
                if feed.watchers.is_empty() {
                    if let Some(feed) = self.feeds.remove(&stream_id) {
                        self.close_display(stream_id, feed);
                    }
                    if let Err(error) = self.parts.subscriptions.unsubscribe(stream_id).await {
                        // What still comes of the stream is passed over.
                        debug!(%stream_id, %error, "not unsubscribed");
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

    /// Begins to feed a worker; later, if nobody can say now where the stream stands.
    async fn watch(&mut self, watch: Watch) {
        if let Err(error) = self.try_watch(watch).await {
            debug!(stream_id = %watch.stream_id, %error, "its place is not known; tried again");
            self.postponed.push(watch);
        }
    }

    async fn try_watch(&mut self, watch: Watch) -> Result<(), HubError> {
        let Watch { stream_id, worker, activation } = watch;
        if !self.feeds.contains_key(&stream_id) {
            // Subscribe first, look second: what comes in between is recognized by its place.
            if let Err(error) = self.parts.subscriptions.subscribe(stream_id).await {
                // The listener says when it hears the stream; until then the log is looked at.
                debug!(%stream_id, %error, "not subscribed yet");
                self.look_once = true;
            }
            let covered_to = self.head(stream_id).await?;
            let gauges = self.parts.board.stream(stream_id);
            let sample_rate = gauges.map_or(SampleRate::ALL, |gauges| gauges.sample_rate);
            let feed = Feed {
                watchers: Vec::new(),
                covered_to,
                framed_to: covered_to,
                sample_rate,
                display: Display::new(sample_rate),
                deleted_ahead: BTreeMap::new(),
                deflate: self.parts.compressors.stream(),
            };
            self.feeds.insert(stream_id, feed);
            self.parts.history.note_deletion();
        }
        let totals = self.totals(stream_id).await;
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return Ok(()) };
        feed.watchers.push(worker);
        let start = StreamStart {
            epoch: self.parts.log.epoch(),
            covered_to: feed.framed_to,
            deleted_ahead: feed.deleted_ahead.clone(),
            sample_rate: feed.display.rate(feed.sample_rate),
            meter: feed.display.meter.clone(),
            viewers: self.parts.board.viewers(stream_id),
            reactions: (!totals.is_empty())
                .then_some(ServerMessage::ReactionsUpdate { reactions: totals }),
        };
        let mailbox = &self.parts.mailboxes[usize::from(worker)];
        mailbox.send(Command::StreamReady { stream_id, activation, start });
        Ok(())
    }

    /// The reactions so far; none if they cannot be had soon.
    async fn totals(&self, stream_id: StreamId) -> Totals {
        match timeout(TOTALS_TIMEOUT, self.parts.totals.totals(stream_id)).await {
            Ok(Ok(totals)) => totals,
            Ok(Err(error)) => {
                warn!(%stream_id, %error, "newcomers are not told the reactions so far");
                Totals::new()
            }
            Err(_) => {
                warn!(%stream_id, "newcomers are not told the reactions so far: they take too long");
                Totals::new()
            }
        }
    }

    /// How far the stream has been shown: the end of the recent cache, or, where that knows nothing
    /// of the stream, what the broadcast stage has committed.
    async fn head(&self, stream_id: StreamId) -> Result<Seq, HubError> {
        match self.parts.recent.head(stream_id).await {
            Ok(Some(head)) => return Ok(head),
            Ok(None) => {}
            Err(error) => warn!(%stream_id, %error, "recent cache does not answer"),
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
            BusMessage::Batch(batch) => self.on_batch(stream_id, &batch).await,
            BusMessage::Deleted { seq, deletion } => self.on_deleted(stream_id, seq, deletion),
            BusMessage::Throttle { sample_rate } => {
                if let Some(feed) = self.feeds.get_mut(&stream_id) {
                    feed.sample_rate = sample_rate;
                }
                self.tell_rate(stream_id);
            }
            BusMessage::Reactions { totals } => {
                let update = ServerMessage::ReactionsUpdate { reactions: totals };
                self.send(stream_id, Lane::Ordered, update);
            }
            BusMessage::Presence { viewers } => {
                self.send(stream_id, Lane::Ordered, ServerMessage::Presence { viewers });
            }
            BusMessage::Announcement { message } => {
                self.send(stream_id, Lane::Control, ServerMessage::Announcement { message });
            }
            BusMessage::Ended => {
                for worker in &self.feeds[&stream_id].watchers {
                    let mailbox = &self.parts.mailboxes[usize::from(*worker)];
                    mailbox.send(Command::StreamEnded { stream_id });
                }
            }
        }
    }

    fn on_deleted(&mut self, stream_id: StreamId, seq: Seq, deletion: Deletion) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        if seq > feed.covered_to && !feed.deleted_ahead.contains_key(&seq) {
            feed.deleted_ahead.insert(seq, deletion.clone());
            self.parts.history.note_deletion();
            self.send_frame(stream_id, Frame::deletion(seq, deletion));
        }
    }

    async fn on_batch(&mut self, stream_id: StreamId, batch: &Batch) {
        let covered_to = self.feeds[&stream_id].covered_to;
        if batch.to_seq <= covered_to {
            return;
        }
        if batch.from_seq > covered_to + 1 {
            debug!(%stream_id, covered_to, from_seq = batch.from_seq, "hole in what the bus brought");
            if let Err(error) = self.repair(stream_id, batch.from_seq - 1, SampleRate::ALL).await {
                warn!(%stream_id, %error, "hole not repaired; viewers are told a gap");
            }
        }
        for (seq, deletion) in &batch.deletions {
            self.on_deleted(stream_id, *seq, deletion.clone());
        }
        let after = self.feeds[&stream_id].covered_to;
        let is_hole = batch.from_seq > after + 1;
        if is_hole {
            self.send_waiting(stream_id);
        }
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        if is_hole {
            // It was not repaired and stays one: the next frame begins where the batch does.
            feed.framed_to = batch.from_seq - 1;
        }
        // Notices of a change may be lost, or come from before this node listened.
        feed.sample_rate = batch.sample_rate;
        feed.deleted_ahead = feed.deleted_ahead.split_off(&(batch.to_seq + 1));
        let comments = batch.comments.iter().filter(|comment| comment.seq > after);
        let arrivals = Arrivals {
            epoch: batch.epoch,
            to_seq: batch.to_seq,
            sample_rate: batch.sample_rate,
            comments: comments.cloned().collect(),
            sampled: batch.sampled_out > 0,
        };
        self.show(stream_id, arrivals, &batch.staff);
    }

    /// Fetches what lies between what was taken in and `until`, and sends as much of it as
    /// `sample_rate` keeps.
    async fn repair(
        &mut self,
        stream_id: StreamId,
        until: Seq,
        sample_rate: SampleRate,
    ) -> Result<(), HistoryError> {
        let mut events = 0;
        let mut after = self.feeds[&stream_id].covered_to;
        while after < until {
            let Past::Kept(page) = self.parts.history.after(stream_id, after, until).await? else {
                break;
            };
            if page.covered_to <= after {
                break;
            }
            if events < MAX_REPAIR_EVENTS {
                events += page.events.len();
                let to_seq = page.covered_to.min(until);
                self.take_in_page(stream_id, page.events, to_seq, sample_rate);
            } else {
                self.take_in_deletions(stream_id, page.events, until);
            }
            after = page.covered_to;
        }
        Ok(())
    }

    /// Sends the deletions of a page; its comments stay a hole.
    fn take_in_deletions(&mut self, stream_id: StreamId, events: Vec<RecentEvent>, until: Seq) {
        for event in events {
            if let RecentEvent::Deleted { seq, deletion } = event
                && seq <= until
            {
                self.on_deleted(stream_id, seq, deletion);
            }
        }
    }

    fn take_in_page(
        &mut self,
        stream_id: StreamId,
        events: Vec<RecentEvent>,
        to_seq: Seq,
        sample_rate: SampleRate,
    ) {
        let (mut comments, mut sampled) = (Vec::new(), false);
        for event in events.into_iter().filter(|event| event.seq() <= to_seq) {
            match event {
                RecentEvent::Comment(comment) => {
                    if sample_rate.keeps(comment.comment_id) {
                        comments.push(comment);
                    } else {
                        sampled = true;
                    }
                }
                RecentEvent::Deleted { seq, deletion } => self.on_deleted(stream_id, seq, deletion),
            }
        }
        let epoch = self.parts.log.epoch();
        let arrivals = Arrivals { epoch, to_seq, sample_rate, comments, sampled };
        self.show(stream_id, arrivals, &[]);
    }

    fn send(&self, stream_id: StreamId, lane: Lane, message: ServerMessage) {
        self.send_frame(stream_id, Frame::new(lane, message));
    }

    fn send_frame(&self, stream_id: StreamId, frame: Frame) {
        let Some(feed) = self.feeds.get(&stream_id) else { return };
        let frame = Arc::new(frame.in_window(&feed.deflate));
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
        self.look_once |= lost > self.lost_seen;
        self.lost_seen = lost;
    }
}

#[cfg(test)]
mod tests;
