//! A delivery worker: one thread with one event queue, which serves its share of the node's
//! viewers.
//!
//! In: commands from the mailbox, readiness events from the kernel, time. Out: bytes to sockets,
//! and the viewers' requests to the next stages.
//!
//! Always holds: everything a viewer needs is in this thread's memory, so the loop never waits
//! for a lock that another thread holds for long. When full: see the parent module.

mod coalescing;
mod echo;
mod fan_out;
mod inbound;
mod lifecycle;
mod outlet;
pub(super) mod receive;
mod rejoined;
mod replies;
mod ring;
mod run;
mod slow_path;
mod stream;
mod stream_viewers;
mod timers;
mod viewer;
mod write_times;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use mio::event::Event;
use mio::{Events, Poll, Token};
use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use self::lifecycle::Expiries;
use self::receive::Incoming;
use self::stream::Stream;
use self::timers::Timers;
use self::viewer::Viewer;
use self::write_times::WriteTimes;
use super::catch_up::CatchUpRequest;
use super::frame::Frame;
use super::hub::HubRequest;
use super::mailbox::{Command, Mailbox};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{DeliveryConfig, GatewayConfig};
use crate::daemon::base::handoff::{
    AuthRequest, ConnectionId, ReactionCounts, RoomRequest, Submission, Vote,
};
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::status::{StatusBoard, WorkerGauges};
use crate::daemon::base::telemetry::DeliveryLatencies;
use crate::net::websocket::Inflater;
use crate::protocol::admin::TransportKind;
use crate::protocol::{CloseCode, StreamId, UserId};

pub(super) const WAKER: Token = Token(usize::MAX);
const READ_BUFFER_BYTES: usize = 64 * 1024;
const MAX_EVENTS: usize = 1024;

/// Viewers per stream of one worker, for presence.
pub(super) type ViewerCounts = Arc<Mutex<AHashMap<StreamId, u64>>>;

/// The queues that take the viewers' requests. All are bounded. When one is full the viewer is
/// answered `overloaded`; reactions are instead kept and added up until there is room.
#[derive(Debug, Clone)]
pub struct ViewerRequests {
    pub submissions: mpsc::Sender<Submission>,
    pub reactions: mpsc::Sender<Vec<ReactionCounts>>,
    pub auth: mpsc::Sender<AuthRequest>,
    pub rooms: mpsc::Sender<RoomRequest>,
    pub votes: mpsc::Sender<Vote>,
}

#[derive(Debug)]
pub(super) struct WorkerParts {
    pub(super) index: u16,
    pub(super) poll: Poll,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) delivery: Arc<DeliveryConfig>,
    pub(super) gateway: Arc<GatewayConfig>,
    /// Index of each reaction kind by its name.
    pub(super) reaction_kinds: Arc<AHashMap<String, u16>>,
    /// Their names, in the order of the configuration.
    pub(super) reaction_names: Arc<[Arc<str>]>,
    pub(super) reactions_per_second: u32,
    pub(super) requests: ViewerRequests,
    pub(super) hub: mpsc::UnboundedSender<HubRequest>,
    pub(super) history: mpsc::Sender<CatchUpRequest>,
    pub(super) counts: ViewerCounts,
    pub(super) board: StatusBoard,
    /// The clock that gave comments their time of creation.
    pub(super) clock: SharedClock,
}

#[derive(Debug)]
pub(super) struct Worker {
    parts: WorkerParts,
    gauges: Arc<WorkerGauges>,
    latencies: Arc<DeliveryLatencies>,
    metrics: Metrics,
    viewers: Slab<Viewer>,
    streams: Slab<Stream>,
    stream_keys: AHashMap<StreamId, usize>,
    users: AHashMap<UserId, Vec<u32>>,
    /// Streams with pending frames, each once, in the order of their turns.
    fan_out_queue: VecDeque<usize>,
    /// Time that a fan-out runs before the rest of the event loop has its turn.
    fan_out_slice: Duration,
    /// Viewers with deferred replies.
    deferred: Vec<usize>,
    /// Viewers whose socket had more to read than one turn allows.
    unfinished_reads: Vec<usize>,
    read_buffer: Box<[u8]>,
    inflater: Inflater,
    incoming: Vec<Incoming>,
    submissions: Vec<Submission>,
    reactions: AHashMap<(StreamId, u16), u32>,
    timers: Timers,
    expiries: Expiries,
    started: Instant,
    now: Instant,
    next_generation: u32,
    next_activation: u64,
    slow_viewers: u64,
    /// Viewers of each transport, by [`TransportKind`].
    viewers_by_kind: [u64; TransportKind::COUNT],
    /// Viewers that have sent a comment.
    senders: u64,
    /// Set while all viewers are being closed.
    closing_all: Option<ClosingAll>,
    stopped: bool,
}

/// All viewers are being closed.
#[derive(Debug)]
struct ClosingAll {
    viewers: u64,
    /// Told the number of viewers once all have left.
    done: oneshot::Sender<u64>,
}

impl Worker {
    pub(super) fn new(parts: WorkerParts) -> Self {
        let now = Instant::now();
        let gauges = parts.board.add_worker();
        let latencies = parts.board.telemetry().add_worker();
        let metrics = parts.board.metrics().clone();
        let timers = Timers::new(now, &parts.gateway);
        Self {
            parts,
            gauges,
            latencies,
            metrics,
            viewers: Slab::new(),
            streams: Slab::new(),
            stream_keys: AHashMap::new(),
            users: AHashMap::new(),
            fan_out_queue: VecDeque::new(),
            fan_out_slice: fan_out::SLICE,
            deferred: Vec::new(),
            unfinished_reads: Vec::new(),
            read_buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            inflater: Inflater::default(),
            incoming: Vec::new(),
            submissions: Vec::new(),
            reactions: AHashMap::new(),
            timers,
            expiries: Expiries::default(),
            started: now,
            now,
            next_generation: 0,
            next_activation: 0,
            slow_viewers: 0,
            viewers_by_kind: Default::default(),
            senders: 0,
            closing_all: None,
            stopped: false,
        }
    }

    /// Runs until a stop command arrives. An error of the event queue ends the worker, because it
    /// could serve no viewer.
    pub(super) fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(MAX_EVENTS);
        let mut commands = Vec::new();
        while !self.stopped {
            self.poll_once(&mut events, &mut commands)?;
        }
        debug!(worker = self.parts.index, "delivery worker stopped");
        Ok(())
    }

    /// One turn of the event loop: waits for events, then handles all of them. Of a long fan-out
    /// it does one slice.
    fn poll_once(
        &mut self,
        events: &mut Events,
        commands: &mut Vec<Command>,
    ) -> std::io::Result<()> {
        let timeout = self.timeout();
        if let Err(error) = self.parts.poll.poll(events, Some(timeout))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            error!(worker = self.parts.index, %error, "event queue failed");
            return Err(error);
        }
        self.now = Instant::now();
        for event in &*events {
            if event.token() != WAKER {
                self.handle_readiness(event.token().0, event);
            }
        }
        self.read_unfinished();
        *commands = self.parts.mailbox.take(std::mem::take(commands));
        for command in commands.drain(..) {
            self.apply_command(command);
        }
        // Replies are batched with those of the same turn, but do not wait for a fan-out.
        self.write_deferred();
        self.fan_out_ready_streams();
        self.run_timers();
        self.send_requests();
        self.write_deferred();
        self.publish_gauges();
        Ok(())
    }

    /// Returns the time to wait for events.
    fn timeout(&self) -> Duration {
        if !self.unfinished_reads.is_empty() {
            return Duration::ZERO;
        }
        let timers = self.timers.timeout(self.now);
        self.until_next_fan_out(Instant::now()).map_or(timers, |wait| wait.min(timers))
    }

    fn handle_readiness(&mut self, slot: usize, event: &Event) {
        if event.is_writable() && self.viewers.contains(slot) {
            self.write_pending(slot);
        }
        // Unfinished reads continue after all events, each once.
        if event.is_readable()
            && self.viewers.contains(slot)
            && !self.unfinished_reads.contains(&slot)
        {
            // The end of the stream has no event of its own if it came together with the last
            // bytes.
            self.read_socket(slot, event.is_read_closed());
        }
    }

    /// Appends a frame to its stream, for the next fan-out.
    fn push_frame(&mut self, stream_id: StreamId, frame: Arc<Frame>) {
        let Some(&key) = self.stream_keys.get(&stream_id) else { return };
        if !self.streams[key].ready {
            return;
        }
        if self.streams[key].must_flush_before(&frame) {
            self.fan_out_now(key);
        }
        self.streams[key].push(frame);
        self.queue_fan_out(key);
    }

    fn apply_command(&mut self, command: Command) {
        match command {
            Command::Attach(viewer) => self.attach(*viewer),
            Command::StreamReady { stream_id, activation, start } => {
                self.stream_ready(stream_id, activation, *start);
            }
            Command::Frame { stream_id, frame } => self.push_frame(stream_id, frame),
            Command::Restored { stream_id, comment_id } => {
                if let Some(&key) = self.stream_keys.get(&stream_id) {
                    self.streams[key].take_deletions_back(comment_id);
                }
            }
            Command::ControlLost { stream_id } => {
                self.close_stream(stream_id, CloseCode::SlowConsumer, None);
            }
            Command::StreamEnded { stream_id } => self.end_stream(stream_id),
            Command::CloseStream { stream_id, error, anonymous_only, done } => {
                let _ = done.send(self.close_viewers_of(stream_id, &error, anonymous_only));
            }
            Command::Replies(replies) => {
                for reply in replies {
                    self.deliver_reply(reply);
                }
            }
            Command::Authenticated { connection, outcome } => {
                self.finish_auth(connection, outcome);
            }
            Command::RoomChanged { connection, client_ref, outcome } => {
                self.answer_room_change(connection, client_ref, outcome);
            }
            Command::PipeReady { connection } => {
                if let Some(slot) = self.slot_of(connection) {
                    self.write_pending(slot);
                }
            }
            Command::CaughtUp { connection, page } => self.deliver_page(connection, &page),
            Command::DisconnectUser { who, code, error, done } => {
                let _ = done.send(self.close_user_connections(who, code, error.as_ref()));
            }
            Command::CloseSignedBy { keys, done } => {
                let _ = done.send(self.close_signed_by(&keys));
            }
            Command::ProbeUser { user_id, done } => {
                let _ = done.send(self.probe_user(user_id));
            }
            Command::Direct { user_id, message, done } => {
                let _ = done.send(self.send_to_user(user_id, &message));
            }
            Command::CloseAll { code, jitter, done } => self.close_all(code, jitter, done),
            Command::Ping { done } => {
                let _ = done.send(1);
            }
            Command::Stop => self.stopped = true,
        }
    }

    /// Returns the slot of a connection, or `None` if that connection has ended.
    fn slot_of(&self, connection: ConnectionId) -> Option<usize> {
        let slot = connection.slot as usize;
        let viewer = self.viewers.get(slot)?;
        (viewer.generation == connection.generation).then_some(slot)
    }

    fn connection_id(&self, slot: usize) -> ConnectionId {
        let generation = self.viewers[slot].generation;
        ConnectionId { worker: self.parts.index, generation, slot: slot as u32 }
    }

    fn write_times(&self) -> WriteTimes<'_> {
        WriteTimes {
            latencies: &self.latencies,
            late: &self.metrics.comments_late,
            clock: &*self.parts.clock,
        }
    }

    /// Returns the seconds since the worker started, the clock of [`Viewer`].
    fn now_s(&self) -> u32 {
        (self.now - self.started).as_secs() as u32
    }

    fn publish_gauges(&self) {
        let gauges = &self.gauges;
        gauges.connections.store(self.viewers.len() as u64, Ordering::Relaxed);
        for (gauge, count) in gauges.by_transport.iter().zip(self.viewers_by_kind) {
            gauge.store(count, Ordering::Relaxed);
        }
        gauges.slow_viewers.store(self.slow_viewers, Ordering::Relaxed);
        gauges.senders.store(self.senders, Ordering::Relaxed);
        let wall = self.started.elapsed().as_micros() as u64;
        gauges.wall_us.store(wall, Ordering::Relaxed);
        gauges.busy_us.fetch_add(self.now.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}
