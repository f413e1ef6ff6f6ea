//! Thousands of viewers on one thread.
//!
//! In: a [`PoolPlan`], then [`PoolCommand`]s. Out: [`PoolEvent`]s, the last of which carries
//! [`PoolTotals`]. Always holds: a viewer whose connection ends reconnects with its position where
//! the close code allows it, and its account continues. A viewer that watches has a [`PoolViewer`]
//! and a socket, but no buffer, timer or task. Compressed messages are inflated once for all
//! viewers that can read them. When full: commands are bounded and their sender waits. Messages
//! that are not read fast enough wait in the kernel, and the totals say how late the loop was.
//!
//! [`connection`] handles one connection from its first packet to its end, [`fallback`] what
//! differs without a WebSocket.

mod commands;
mod connection;
mod event_sender;
mod fallback;
mod inflate_cache;
mod lateness;
mod messages;
mod plan;
mod stats;
mod timers;
mod viewer;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use mio::Events;
use rustls::ClientConfig;
use tokio::sync::mpsc::error::TryRecvError;

use super::clock::{Micros, RunClock};
use super::histogram::HistogramSnapshot;
use super::ledger::{Ledger, SharedLedger, ViewerPresence};
use super::usage::resident_bytes;
use commands::COMMANDS_TOKEN;
use inflate_cache::InflateCache;
use lateness::LatenessProbe;
use stats::ConnectionStats;
use timers::TimerQueue;
use viewer::{NO_STORM, PoolViewer, ViewerState};

pub(crate) use commands::{CommandQueue, CommandSender};
pub(crate) use event_sender::{EventSender, ExitGuard, IndexedEvent};
pub(crate) use messages::{PoolCommand, PoolEvent, PoolProgress, PoolTotals, StormTotals};
pub(crate) use plan::{CONNECT_TIMEOUT, PoolPlan, RunContext, ViewerPlan};

pub use plan::WireForm;

const EVENTS: usize = 1024;
/// Shared by all viewers of the pool.
const READ_BUFFER_BYTES: usize = 128 << 10;
/// Connections begun between two polls of the sockets.
const CONNECT_BURST: usize = 64;
const PROGRESS_INTERVAL: Micros = 250_000;

/// The viewers of one thread and everything they share.
pub(crate) struct ViewerPool<E> {
    plan: PoolPlan,
    clock: RunClock,
    queue: CommandQueue,
    /// Sends an event. Returns false when nobody receives events any more.
    emit: E,
    viewers: Vec<PoolViewer>,
    ledger: SharedLedger,
    inflate_cache: InflateCache,
    timers: TimerQueue,
    buffer: Vec<u8>,
    stats: ConnectionStats,
    lateness: LatenessProbe,
    tls: Option<Arc<ClientConfig>>,
    nonces: RandomState,
    /// When the first viewer of the run connects.
    connect_from: Option<Micros>,
    /// The first viewer that has not begun to connect.
    next_viewer: usize,
    /// Viewers to connect as soon as possible.
    connect_now: VecDeque<u32>,
    all_decided: bool,
    progress_at: Micros,
    memory_before: u64,
    memory_bytes: u64,
}

impl<E: FnMut(PoolEvent) -> bool> ViewerPool<E> {
    pub(crate) fn new(plan: PoolPlan, queue: CommandQueue, emit: E) -> Self {
        let memory_before = resident_bytes();
        let viewers = plan.viewers();
        let tls = plan.viewer_plan.endpoints.iter().any(|endpoint| endpoint.tls);
        let ledger = Ledger::new(viewers as usize, plan.run.own_users.clone());
        Self {
            clock: RunClock::since(plan.run.origin_us),
            queue,
            emit,
            viewers: (0..viewers).map(|_| PoolViewer::new()).collect(),
            ledger: SharedLedger::new(ledger),
            inflate_cache: InflateCache::default(),
            timers: TimerQueue::default(),
            buffer: vec![0; READ_BUFFER_BYTES],
            stats: ConnectionStats::new(viewers),
            lateness: LatenessProbe::default(),
            tls: tls.then(|| plan.viewer_plan.trust.config()),
            nonces: RandomState::new(),
            connect_from: None,
            next_viewer: 0,
            connect_now: VecDeque::new(),
            all_decided: false,
            progress_at: 0,
            memory_before,
            memory_bytes: 0,
            plan,
        }
    }

    /// Runs until [`PoolCommand::Finish`], or until nobody sends commands or receives events any
    /// more.
    ///
    /// # Errors
    /// The kernel's poll failed.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        if !(self.emit)(PoolEvent::Ready) {
            return Ok(());
        }
        loop {
            let wait = Duration::from_micros(self.time_to_next());
            match self.queue.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in events.iter().filter(|event| event.token() != COMMANDS_TOKEN) {
                self.on_event(event.token().0, event);
            }
            if !self.execute_commands() || !self.report_progress() {
                return Ok(());
            }
            self.connect_due();
            self.run_timers();
            self.lateness.probe(self.clock.now());
        }
    }

    /// Returns the time until something is due.
    fn time_to_next(&self) -> Micros {
        if !self.connect_now.is_empty() {
            return 0;
        }
        let next_viewer =
            (self.next_viewer < self.viewers.len()).then_some(self.next_viewer as u64);
        let connect = self
            .connect_from
            .zip(next_viewer)
            .map(|(from, index)| from + self.plan.connect_after(index));
        let due = [connect, self.timers.next_at(), self.lateness.next_at(), Some(self.progress_at)];
        let next = due.into_iter().flatten().min().unwrap_or(0);
        next.saturating_sub(self.clock.now())
    }

    /// Executes all queued commands. Returns false when the pool must end.
    fn execute_commands(&mut self) -> bool {
        loop {
            let command = match self.queue.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            };
            match command {
                PoolCommand::Connect(at) => self.connect_from = Some(at),
                PoolCommand::Acked(comments) => {
                    let mut ledger = self.ledger.lock();
                    comments.iter().for_each(|comment| ledger.record_ack(*comment));
                }
                PoolCommand::BeginLoad => self.lateness.begin(self.clock.now()),
                PoolCommand::Storm => self.begin_storm(),
                PoolCommand::QueryOutstanding(query) => {
                    let outstanding = self.ledger.lock().outstanding() || self.stats.away > 0;
                    if !(self.emit)(PoolEvent::Outstanding { query, outstanding }) {
                        return false;
                    }
                }
                PoolCommand::Finish => {
                    let totals = self.totals();
                    (self.emit)(PoolEvent::Finished(Box::new(totals)));
                    return false;
                }
            }
        }
    }

    /// Sends the events that are due. Returns false when nobody receives them any more.
    fn report_progress(&mut self) -> bool {
        let now = self.clock.now();
        let connected = self.stats.undecided == 0 && !self.all_decided;
        if !connected && now < self.progress_at {
            return true;
        }
        self.progress_at = now + PROGRESS_INTERVAL;
        let progress = PoolEvent::Progress(self.progress());
        if !(self.emit)(progress) {
            return false;
        }
        if !connected {
            return true;
        }
        self.all_decided = true;
        self.memory_bytes = resident_bytes().saturating_sub(self.memory_before);
        let first_failure = self.stats.first_failure.clone();
        (self.emit)(PoolEvent::Connected { first_failure })
    }

    fn progress(&self) -> PoolProgress {
        let ledger = self.ledger.lock();
        let latency = if self.plan.run.live {
            HistogramSnapshot::of(ledger.latency())
        } else {
            HistogramSnapshot::default()
        };
        PoolProgress {
            connected: self.stats.connected,
            away: self.stats.away,
            counters: ledger.counters(),
            latency,
        }
    }

    fn totals(&mut self) -> PoolTotals {
        let ledger = self.ledger.lock();
        let slow = (0..self.plan.viewers()).filter(|index| self.plan.is_slow(*index)).count();
        PoolTotals {
            deliveries: ledger.totals(),
            counters: ledger.counters(),
            latency: HistogramSnapshot::of(ledger.latency()),
            deletion: HistogramSnapshot::of(&ledger.deletion_latency()),
            connect: HistogramSnapshot::of(&self.stats.connect),
            connected: self.stats.connected,
            slow: slow as u64,
            connect_failed: self.stats.connect_failed.clone(),
            connect_refused: self.stats.connect_refused.clone(),
            closed: self.stats.closed.clone(),
            reconnects: self.stats.reconnects,
            disconnected: self.stats.disconnected,
            storms: self.stats.storms(),
            cpu_us: self.lateness.cpu_us(),
            late_us: self.lateness.worst_us(),
            memory_bytes: self.memory_bytes,
        }
    }

    /// Begins the connections that are due, at most [`CONNECT_BURST`].
    fn connect_due(&mut self) {
        let now = self.clock.now();
        for _ in 0..CONNECT_BURST {
            if let Some(index) = self.connect_now.pop_front() {
                self.begin_connect(index as usize);
                continue;
            }
            let index = self.next_viewer;
            let connect_from = self.connect_from.filter(|_| index < self.viewers.len());
            let Some(from) = connect_from else { break };
            if from + self.plan.connect_after(index as u64) > now {
                break;
            }
            self.next_viewer += 1;
            self.begin_connect(index);
        }
    }

    /// Drops all connections and reconnects at once.
    fn begin_storm(&mut self) {
        let viewers = self.viewers.iter().filter(|viewer| viewer.is_connected()).count() as u64;
        let storm = self.stats.begin_storm(viewers, self.clock.now());
        for index in 0..self.viewers.len() {
            if self.viewers[index].is_connected() {
                self.viewers[index].storm = storm;
                self.ledger.lock().record_disconnect(index, ViewerPresence::Returning);
                self.stats.away += 1;
                self.reconnect_now(index);
            }
        }
    }

    /// Drops a viewer's connection and connects it again as soon as possible.
    fn reconnect_now(&mut self, index: usize) {
        let viewer = &mut self.viewers[index];
        viewer.disconnect(ViewerState::Waiting);
        // Voids the timer of the last attempt, which would begin a second one.
        viewer.attempt += 1;
        self.connect_now.push_back(index as u32);
    }

    fn run_timers(&mut self) {
        let now = self.clock.now();
        while let Some(timer) = self.timers.pop_due(now) {
            let index = timer.viewer as usize;
            if self.viewers[index].attempt == timer.attempt {
                self.on_timer(index);
            }
        }
    }

    fn record_reconnect(&mut self, index: usize, now: Micros) {
        let storm = std::mem::replace(&mut self.viewers[index].storm, NO_STORM);
        self.stats.record_reconnect(storm, now);
    }
}

#[cfg(test)]
mod tests {
    use super::timers::ViewerTimer;
    use super::*;
    use crate::client::Endpoint;
    use crate::protocol::StreamId;

    fn pool(viewers: u64) -> (CommandSender, ViewerPool<impl FnMut(PoolEvent) -> bool>) {
        let viewer_plan = ViewerPlan::new(viewers, Endpoint::plain("127.0.0.1", 1), StreamId(1));
        let addresses = vec![vec!["127.0.0.1:1".parse().unwrap()]];
        let run = RunContext::default();
        let plan = PoolPlan::divide(viewer_plan, &addresses, 1, &run).remove(0);
        let (commands, queue) = CommandQueue::new().unwrap();
        (commands, ViewerPool::new(plan, queue, |_| true))
    }

    #[test]
    fn a_storm_voids_timers_of_earlier_attempts() {
        let (_commands, mut pool) = pool(2);
        pool.viewers[1].state = ViewerState::Watching;
        // The deadline of an attempt that succeeded long ago.
        let attempt = pool.viewers[1].attempt;
        pool.timers.add(ViewerTimer { at: 0, viewer: 1, attempt });
        pool.begin_storm();
        pool.run_timers();
        assert!(matches!(pool.viewers[1].state, ViewerState::Waiting));
        assert_eq!((pool.connect_now.len(), pool.stats.away), (1, 1));
        pool.begin_storm();
        let after = (pool.connect_now.len(), pool.stats.away);
        assert_eq!(after, (1, 1), "a viewer that is away cannot drop again");
    }
}
