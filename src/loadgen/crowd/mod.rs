//! Thousands of viewers on one thread.
//!
//! In: a [`CrowdPlan`], then [`Order`]s. Out: [`Word`]s, and at the end [`Figures`]. Always holds: a viewer
//! that is cut off comes back with its position where the close code allows it, and its account goes on;
//! a viewer that just watches owns its seat and its socket, no buffer, timer or task; compressed messages
//! are inflated once for all that can read them. When full: orders
//! are bounded and who gives them waits; messages that are not read fast enough wait in the kernel, and the
//! figures tell how late the reader came.
//!
//! [`life`] is what happens to one connection from its first packet to its end.

mod inbox;
mod life;
mod log;
pub(crate) mod message;
pub(crate) mod plan;
mod pulse;
mod seat;
mod timers;
mod windows;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use mio::Events;
use rustls::ClientConfig;
use tokio::sync::mpsc::error::TryRecvError;

use super::clock::RunClock;
use super::ledger::{Ledger, LedgerHandle, Micros, Presence};
use inbox::ORDERS;
use log::Log;
use message::Recorded;
use pulse::Pulse;
use seat::{NO_STORM, Seat, State};
use timers::Timers;
use windows::Windows;

pub(crate) use inbox::{Inbox, Orders};
pub(crate) use message::{Figures, Order, Progress, Storm, Word};
pub(crate) use plan::{AudiencePlan, CrowdPlan, WireForm};
pub(crate) use pulse::{cpu_time, resident_bytes};

const EVENTS: usize = 1024;
/// Shared by all viewers of a crowd.
const READ_BUFFER_BYTES: usize = 128 << 10;
/// Connections begun between two looks at the sockets.
const CONNECT_BURST: usize = 64;
const PROGRESS_EVERY: Micros = 250_000;

/// See the module.
pub(crate) struct Crowd<W> {
    plan: CrowdPlan,
    clock: RunClock,
    inbox: Inbox,
    /// False when nobody listens any more.
    words: W,
    seats: Vec<Seat>,
    ledger: LedgerHandle,
    windows: Windows,
    timers: Timers,
    buffer: Vec<u8>,
    log: Log,
    pulse: Pulse,
    tls: Option<Arc<ClientConfig>>,
    nonces: RandomState,
    /// When the first viewer of all connects.
    connect_from: Option<Micros>,
    /// The first seat that has not begun to connect.
    next_seat: usize,
    /// Seats to connect as soon as possible.
    eager: VecDeque<u32>,
    gathered: bool,
    progress_at: Micros,
    memory_before: u64,
    memory_bytes: u64,
}

impl<W: FnMut(Word) -> bool> Crowd<W> {
    pub(crate) fn new(plan: CrowdPlan, inbox: Inbox, words: W) -> Self {
        let memory_before = resident_bytes();
        let viewers = plan.viewers();
        let tls = plan.audience.endpoints.iter().any(|endpoint| endpoint.tls);
        Self {
            clock: RunClock::since(plan.origin_us),
            inbox,
            words,
            seats: (0..viewers).map(|_| Seat::new()).collect(),
            ledger: LedgerHandle::new(Ledger::new(viewers as usize, plan.own_users.clone())),
            windows: Windows::default(),
            timers: Timers::default(),
            buffer: vec![0; READ_BUFFER_BYTES],
            log: Log::new(viewers),
            pulse: Pulse::default(),
            tls: tls.then(|| plan.audience.trust.config()),
            nonces: RandomState::new(),
            connect_from: None,
            next_seat: 0,
            eager: VecDeque::new(),
            gathered: false,
            progress_at: 0,
            memory_before,
            memory_bytes: 0,
            plan,
        }
    }

    /// Reads until it is told to settle, or nobody gives orders any more.
    ///
    /// # Errors
    /// The kernel's poll failed.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        if !(self.words)(Word::Ready) {
            return Ok(());
        }
        loop {
            let wait = Duration::from_micros(self.wait());
            match self.inbox.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in events.iter().filter(|event| event.token() != ORDERS) {
                self.on_event(event.token().0, event);
            }
            if !self.hear_orders() || !self.tell() {
                return Ok(());
            }
            self.connect_due();
            self.run_timers();
            self.pulse.beat(self.clock.now());
        }
    }

    /// Until something is due.
    fn wait(&self) -> Micros {
        if !self.eager.is_empty() {
            return 0;
        }
        let next_seat = (self.next_seat < self.seats.len()).then_some(self.next_seat as u64);
        let connect = self.connect_from.zip(next_seat).map(|(at, seat)| at + self.plan.due(seat));
        let due = [connect, self.timers.next_at(), self.pulse.next_at(), Some(self.progress_at)];
        let next = due.into_iter().flatten().min().unwrap_or(0);
        next.saturating_sub(self.clock.now())
    }

    /// False if it is over.
    fn hear_orders(&mut self) -> bool {
        loop {
            let order = match self.inbox.orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            };
            match order {
                Order::Connect(at) => self.connect_from = Some(at),
                Order::Acked(comments) => {
                    let mut ledger = self.ledger.lock();
                    comments.iter().for_each(|comment| ledger.acked(*comment));
                }
                Order::Begin => self.pulse.begin(self.clock.now()),
                Order::Storm => self.storm(),
                Order::Ask(ask) => {
                    let outstanding = self.ledger.lock().outstanding() || self.log.away > 0;
                    if !(self.words)(Word::Standing { ask, outstanding }) {
                        return false;
                    }
                }
                Order::Settle => {
                    let figures = self.settle();
                    (self.words)(Word::Settled(Box::new(figures)));
                    return false;
                }
            }
        }
    }

    /// Says what is to be said by now; false if nobody listens.
    fn tell(&mut self) -> bool {
        let now = self.clock.now();
        if self.log.undecided == 0 && !self.gathered {
            self.gathered = true;
            self.memory_bytes = resident_bytes().saturating_sub(self.memory_before);
            let first_failure = self.log.first_failure.clone();
            self.progress_at = now + PROGRESS_EVERY;
            let progress = Word::Progress(self.progress());
            return (self.words)(progress) && (self.words)(Word::Gathered { first_failure });
        }
        if now < self.progress_at {
            return true;
        }
        self.progress_at = now + PROGRESS_EVERY;
        let progress = Word::Progress(self.progress());
        (self.words)(progress)
    }

    fn progress(&self) -> Progress {
        let ledger = self.ledger.lock();
        let latency =
            if self.plan.live { Recorded::of(ledger.latency()) } else { Recorded::default() };
        let (connected, away) = (self.log.connected, self.log.away);
        Progress { connected, away, counts: ledger.counts(), latency }
    }

    fn settle(&mut self) -> Figures {
        let ledger = self.ledger.lock();
        let slow = (0..self.plan.viewers()).filter(|seat| self.plan.is_slow(*seat)).count();
        Figures {
            tally: ledger.settle(),
            counts: ledger.counts(),
            latency: Recorded::of(ledger.latency()),
            connect: Recorded::of(&self.log.connect),
            connected: self.log.connected,
            slow: slow as u64,
            failed: self.log.failed.clone(),
            refused: self.log.refused.clone(),
            closed: self.log.closed.clone(),
            reconnects: self.log.reconnects,
            disconnected: self.log.disconnected,
            storms: self.log.storms(),
            cpu_us: self.pulse.cpu_us(),
            late_us: self.pulse.worst_us(),
            memory_bytes: self.memory_bytes,
        }
    }

    /// Begins the connections whose time has come, some at a time.
    fn connect_due(&mut self) {
        let now = self.clock.now();
        for _ in 0..CONNECT_BURST {
            if let Some(seat) = self.eager.pop_front() {
                self.begin(seat as usize);
                continue;
            }
            let seat = self.next_seat;
            let Some(from) = self.connect_from.filter(|_| seat < self.seats.len()) else { break };
            if from + self.plan.due(seat as u64) > now {
                break;
            }
            self.next_seat += 1;
            self.begin(seat);
        }
    }

    /// All who are connected go and come back.
    fn storm(&mut self) {
        let viewers = self.seats.iter().filter(|seat| seat.is_connected()).count() as u64;
        let storm = self.log.storm(viewers, self.clock.now());
        for index in 0..self.seats.len() {
            if self.seats[index].is_connected() {
                self.seats[index].storm = storm;
                self.ledger.lock().left(index, Presence::Returning);
                self.log.away += 1;
                self.hurry(index);
            }
        }
    }

    /// Has a viewer connect anew as soon as possible.
    fn hurry(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        seat.disconnect(State::Waiting);
        // What was due for the last attempt means nothing any more, lest it begin a second one.
        seat.attempt += 1;
        self.eager.push_back(index as u32);
    }

    fn run_timers(&mut self) {
        let now = self.clock.now();
        while let Some(timer) = self.timers.pop_due(now) {
            let seat = timer.seat as usize;
            if self.seats[seat].attempt == timer.attempt {
                self.on_timer(seat);
            }
        }
    }

    /// Forgets the storm that a viewer had to come back from.
    fn back(&mut self, index: usize, now: Micros) {
        let storm = std::mem::replace(&mut self.seats[index].storm, NO_STORM);
        self.log.back_from(storm, now);
        self.log.away -= 1;
        self.log.reconnects += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::timers::Timer;
    use super::*;
    use crate::client::Endpoint;
    use crate::protocol::StreamId;

    fn crowd(viewers: u64) -> (Orders, Crowd<impl FnMut(Word) -> bool>) {
        let audience = AudiencePlan::new(viewers, Endpoint::plain("127.0.0.1", 1), StreamId(1));
        let addresses = vec![vec!["127.0.0.1:1".parse().unwrap()]];
        let plan = CrowdPlan::divide(audience, &addresses, 1, &(0..0), 0, false).remove(0);
        let (orders, inbox) = Inbox::new().unwrap();
        (orders, Crowd::new(plan, inbox, |_| true))
    }

    #[test]
    fn a_timer_from_before_a_storm_begins_no_second_attempt() {
        let (_orders, mut crowd) = crowd(2);
        crowd.seats[1].state = State::Watching;
        // The end of the patience with an attempt that succeeded long ago.
        crowd.timers.set(Timer { at: 0, seat: 1, attempt: crowd.seats[1].attempt });
        crowd.storm();
        crowd.run_timers();
        assert!(matches!(crowd.seats[1].state, State::Waiting));
        assert_eq!((crowd.eager.len(), crowd.log.away), (1, 1));
        crowd.storm();
        assert_eq!((crowd.eager.len(), crowd.log.away), (1, 1), "who is away cannot drop again");
    }
}
