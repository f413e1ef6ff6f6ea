//! Time on a worker: no timer a viewer. Deadlines of one length are a queue; pings and idle checks
//! visit one slice of the viewers a second, so that each is visited once in a ping interval.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Worker;
use crate::daemon::base::config::GatewayConfig;
use crate::daemon::base::handoff::ConnectionId;
use crate::daemon::stages::delivery::viewer::Flags;
use crate::net::websocket::{Opcode, server_frame};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, ErrorCode};

/// How long a closed viewer may take to answer the close.
const LINGER: Duration = Duration::from_secs(2);
/// The clock's step while any deadline runs, and otherwise.
const FINE_STEP: Duration = Duration::from_millis(50);
const COARSE_STEP: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Timers {
    auth_timeout: Duration,
    /// In the order of their deadlines, because all wait equally long.
    awaiting_auth: VecDeque<(Instant, ConnectionId)>,
    lingering: VecDeque<(Instant, ConnectionId)>,
    pages_to_retry: Vec<ConnectionId>,
    next_sweep: Instant,
    /// The slice of viewers that is next, out of `slices`.
    slice: usize,
    slices: usize,
    /// Time between two slices.
    step: Duration,
    stream_emptied: bool,
}

impl Timers {
    pub(super) fn new(now: Instant, config: &GatewayConfig) -> Self {
        let slices = config.ping_interval.as_secs().clamp(1, 3600) as usize;
        let step = config.ping_interval / slices as u32;
        Self {
            auth_timeout: config.auth_timeout,
            awaiting_auth: VecDeque::new(),
            lingering: VecDeque::new(),
            pages_to_retry: Vec::new(),
            next_sweep: now + step,
            slice: 0,
            slices,
            step,
            stream_emptied: false,
        }
    }

    pub(super) fn await_auth(&mut self, now: Instant, connection: ConnectionId) {
        self.awaiting_auth.push_back((now + self.auth_timeout, connection));
    }

    pub(super) fn linger(&mut self, now: Instant, connection: ConnectionId) {
        self.lingering.push_back((now + LINGER, connection));
    }

    pub(super) fn retry_page(&mut self, connection: ConnectionId) {
        self.pages_to_retry.push(connection);
    }

    pub(super) fn stream_emptied(&mut self) {
        self.stream_emptied = true;
    }

    /// How long the worker may sleep.
    pub(super) fn timeout(&self, now: Instant) -> Duration {
        let idle = self.awaiting_auth.is_empty()
            && self.lingering.is_empty()
            && self.pages_to_retry.is_empty();
        let step = if idle { COARSE_STEP } else { FINE_STEP };
        step.min(self.next_sweep.saturating_duration_since(now))
    }
}

fn take_due(queue: &mut VecDeque<(Instant, ConnectionId)>, now: Instant) -> Option<ConnectionId> {
    let due = queue.front().is_some_and(|(deadline, _)| *deadline <= now);
    if due { queue.pop_front().map(|(_, connection)| connection) } else { None }
}

impl Worker {
    pub(super) fn on_time(&mut self) {
        while let Some(connection) = take_due(&mut self.timers.awaiting_auth, self.now) {
            if let Some(slot) = self.slot_of(connection)
                && self.viewers[slot].flags.has(Flags::MUST_AUTH)
                && !self.viewers[slot].flags.has(Flags::CLOSING)
            {
                let text = "this stream needs a token: send `auth` with one right after connecting";
                let error = ErrorBody::new(ErrorCode::AuthTimeout, text);
                self.refuse_and_close(slot, error, CloseCode::AuthTimeout);
            }
        }
        while let Some(connection) = take_due(&mut self.timers.lingering, self.now) {
            if let Some(slot) = self.slot_of(connection) {
                self.forget(slot);
            }
        }
        for connection in std::mem::take(&mut self.timers.pages_to_retry) {
            if let Some(slot) = self.slot_of(connection)
                && self.viewers[slot].flags.has(Flags::CATCHING_UP)
            {
                self.pump(slot);
            }
        }
        self.close_expired();
        if self.now >= self.timers.next_sweep {
            self.timers.next_sweep = self.now + self.timers.step;
            self.sweep();
            if std::mem::take(&mut self.timers.stream_emptied) {
                self.forget_empty_streams();
            }
        }
    }

    /// Visits one slice: closes who has been silent too long, pings who has been silent at all.
    fn sweep(&mut self) {
        let (slice, slices) = (self.timers.slice, self.timers.slices);
        self.timers.slice = (slice + 1) % slices;
        let now_s = self.now_s();
        let idle_s = self.parts.gateway.idle_timeout.as_secs().max(1) as u32;
        let ping_s = self.timers.slices as u32;
        let ping: Bytes = server_frame(Opcode::Ping, false, b"").into();
        for slot in (slice..self.viewers.capacity()).step_by(slices) {
            let Some(viewer) = self.viewers.get_mut(slot) else { continue };
            if viewer.flags.has(Flags::CLOSING) {
                continue;
            }
            let silent_s = now_s.saturating_sub(viewer.seen_s);
            if silent_s >= idle_s {
                self.close(slot, CloseCode::IdleTimeout);
            } else if silent_s + 1 >= ping_s && !viewer.flags.has(Flags::BLOCKED) {
                viewer.enqueue(ping.clone());
                self.pump(slot);
            }
        }
    }
}
