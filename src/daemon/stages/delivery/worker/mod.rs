//! A delivery worker: one thread, one event queue, its share of the node's viewers.
//!
//! In: commands through the mailbox, readiness from the kernel, time. Out: bytes to sockets; what
//! viewers ask for, to the stages behind. Always holds: everything a viewer needs is in this
//! thread's memory, so the loop never waits for a lock that another thread holds for long. When
//! full: see the room's text.

mod attach;
mod close;
pub(super) mod coalescing;
mod expiry;
pub(super) mod fan_out;
mod forms;
mod inbound;
mod outbound;
mod private;
mod timers;

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

use self::expiry::Expiries;
use self::timers::Timers;
use super::catch_up::CatchUpRequest;
use super::frame::Frame;
use super::handle::ViewerRequests;
use super::hub::HubRequest;
use super::mailbox::{Command, Mailbox};
use super::receive::Incoming;
use super::stream::Stream;
use super::viewer::Viewer;
use crate::daemon::base::config::{DeliveryConfig, GatewayConfig};
use crate::daemon::base::handoff::{ConnectionId, Submission};
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::status::{StatusBoard, WorkerGauges};
use crate::net::websocket::Inflater;
use crate::protocol::{CloseCode, StreamId, UserId};

pub(super) const WAKER: Token = Token(usize::MAX);
const READ_BUFFER_BYTES: usize = 64 * 1024;
const MAX_EVENTS: usize = 1024;

/// Viewers by stream of one worker, for presence.
pub(super) type ViewerCounts = Arc<Mutex<AHashMap<StreamId, u64>>>;

#[derive(Debug)]
pub(super) struct WorkerParts {
    pub(super) index: u16,
    pub(super) poll: Poll,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) delivery: Arc<DeliveryConfig>,
    pub(super) gateway: Arc<GatewayConfig>,
    /// Names of reactions; what viewers send is an index into it from here on.
    pub(super) reaction_kinds: Arc<AHashMap<String, u16>>,
    pub(super) reactions_per_second: u32,
    pub(super) requests: ViewerRequests,
    pub(super) hub: mpsc::UnboundedSender<HubRequest>,
    pub(super) history: mpsc::Sender<CatchUpRequest>,
    pub(super) counts: ViewerCounts,
    pub(super) board: StatusBoard,
}

#[derive(Debug)]
pub(super) struct Worker {
    parts: WorkerParts,
    gauges: Arc<WorkerGauges>,
    metrics: Metrics,
    viewers: Slab<Viewer>,
    streams: Slab<Stream>,
    stream_keys: AHashMap<StreamId, usize>,
    users: AHashMap<UserId, Vec<u32>>,
    /// Streams with frames to fan out, each once; the next to have its turn first.
    dirty: VecDeque<usize>,
    /// How long it fans out before it turns to what else there is.
    slice: Duration,
    /// Viewers whose outbox is to be written in this turn.
    owed: Vec<usize>,
    /// Sockets that had more to read than one turn allows.
    unread: Vec<usize>,
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
    /// Set while saying goodbye to everybody: who to tell, and how many there were.
    dismissed: Option<(oneshot::Sender<u64>, u64)>,
    stopped: bool,
}

impl Worker {
    pub(super) fn new(parts: WorkerParts) -> Self {
        let now = Instant::now();
        let gauges = parts.board.add_worker();
        let metrics = parts.board.metrics().clone();
        let timers = Timers::new(now, &parts.gateway);
        Self {
            parts,
            gauges,
            metrics,
            viewers: Slab::new(),
            streams: Slab::new(),
            stream_keys: AHashMap::new(),
            users: AHashMap::new(),
            dirty: VecDeque::new(),
            slice: fan_out::SLICE,
            owed: Vec::new(),
            unread: Vec::new(),
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
            dismissed: None,
            stopped: false,
        }
    }

    /// Runs until told to stop. An error of the event queue itself ends it: nothing could be served.
    pub(super) fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(MAX_EVENTS);
        let mut commands = Vec::new();
        while !self.stopped {
            self.turn(&mut events, &mut commands)?;
        }
        debug!(worker = self.parts.index, "delivery worker stopped");
        Ok(())
    }

    /// Waits until there is something to do, and does it, but for what is left of a long fan-out.
    fn turn(&mut self, events: &mut Events, commands: &mut Vec<Command>) -> std::io::Result<()> {
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
                self.on_event(event.token().0, event);
            }
        }
        self.read_rest();
        *commands = self.parts.mailbox.take(std::mem::take(commands));
        for command in commands.drain(..) {
            self.obey(command);
        }
        // An answer waits for others that came with it, not for a fan-out to thousands.
        self.write_owed();
        self.fan_out_dirty();
        self.on_time();
        self.hand_over_requests();
        self.write_owed();
        self.write_gauges();
        Ok(())
    }

    /// How long there is nothing to do unless something comes.
    fn timeout(&self) -> Duration {
        if !self.unread.is_empty() {
            return Duration::ZERO;
        }
        let timers = self.timers.timeout(self.now);
        self.next_fan_out(Instant::now()).map_or(timers, |wait| wait.min(timers))
    }

    fn on_event(&mut self, slot: usize, event: &Event) {
        if event.is_writable() && self.viewers.contains(slot) {
            self.pump(slot);
        }
        // One whose turn ended early is read on below, in its turn.
        if event.is_readable() && self.viewers.contains(slot) && !self.unread.contains(&slot) {
            // The end of the stream has no event of its own if it came with the last bytes.
            self.read(slot, event.is_read_closed());
        }
    }

    fn take_frame(&mut self, stream_id: StreamId, frame: Arc<Frame>) {
        let Some(&key) = self.stream_keys.get(&stream_id) else { return };
        if !self.streams[key].ready {
            return;
        }
        if self.streams[key].is_full_for(&frame) {
            self.fan_out(key);
        }
        self.streams[key].push(frame);
        self.mark_dirty(key);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach(viewer) => self.attach(*viewer),
            Command::StreamReady { stream_id, activation, start } => {
                self.stream_ready(stream_id, activation, start);
            }
            Command::Frame { stream_id, frame } => self.take_frame(stream_id, frame),
            Command::ControlLost { stream_id } => {
                self.close_stream(stream_id, CloseCode::SlowConsumer);
            }
            Command::StreamEnded { stream_id } => {
                self.close_stream(stream_id, CloseCode::StreamEnded);
            }
            Command::Replies(replies) => {
                for reply in replies {
                    self.on_reply(reply);
                }
            }
            Command::Authenticated { connection, outcome } => {
                self.on_authenticated(connection, outcome);
            }
            Command::CaughtUp { connection, page } => self.on_caught_up(connection, &page),
            Command::DisconnectUser { user_id, code, done } => {
                let _ = done.send(self.disconnect_user(user_id, code));
            }
            Command::Direct { user_id, message, done } => {
                let _ = done.send(self.send_to_user(user_id, &message));
            }
            Command::Dismiss { code, jitter, done } => self.dismiss(code, jitter, done),
            Command::Answer { done } => {
                let _ = done.send(1);
            }
            Command::Stop => self.stopped = true,
        }
    }

    /// The slot of a connection, if it is still the same one.
    fn slot_of(&self, connection: ConnectionId) -> Option<usize> {
        let slot = connection.slot as usize;
        let viewer = self.viewers.get(slot)?;
        (viewer.generation == connection.generation).then_some(slot)
    }

    fn connection_id(&self, slot: usize) -> ConnectionId {
        let generation = self.viewers[slot].generation;
        ConnectionId { worker: self.parts.index, generation, slot: slot as u32 }
    }

    /// Seconds since the worker started: what viewers' last signs of life are kept in.
    fn now_s(&self) -> u32 {
        (self.now - self.started).as_secs() as u32
    }

    fn write_gauges(&self) {
        let gauges = &self.gauges;
        gauges.connections.store(self.viewers.len() as u64, Ordering::Relaxed);
        gauges.slow_viewers.store(self.slow_viewers, Ordering::Relaxed);
        let wall = self.started.elapsed().as_micros() as u64;
        gauges.wall_us.store(wall, Ordering::Relaxed);
        gauges.busy_us.fetch_add(self.now.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}
