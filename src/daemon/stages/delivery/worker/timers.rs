//! Deadlines of a worker, without a timer per viewer. Deadlines of equal length form a queue.
//! Pings and idle checks visit one slice of the viewers per second, so each viewer is visited
//! once per ping interval.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Worker;
use super::viewer::Flags;
use crate::daemon::base::config::GatewayConfig;
use crate::daemon::base::handoff::ConnectionId;
use crate::net::websocket::{Opcode, server_frame};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, ErrorCode};

/// Time for a closed viewer to answer the close frame.
const LINGER: Duration = Duration::from_secs(2);
/// Longest sleep while a deadline is pending.
const FINE_STEP: Duration = Duration::from_millis(50);
/// And while none is.
const COARSE_STEP: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Timers {
    auth_timeout: Duration,
    /// In the order of their deadlines: all are equally long.
    awaiting_auth: VecDeque<(Instant, ConnectionId)>,
    lingering: VecDeque<(Instant, ConnectionId)>,
    pages_to_retry: Vec<ConnectionId>,
    next_sweep: Instant,
    /// The next slice to visit, out of `slices`.
    slice: usize,
    slices: usize,
    /// Time between two visits.
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

    /// Returns how long the worker may sleep.
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
    pub(super) fn run_timers(&mut self) {
        while let Some(connection) = take_due(&mut self.timers.awaiting_auth, self.now) {
            if let Some(slot) = self.slot_of(connection)
                && self.viewers[slot].flags.has(Flags::MUST_AUTH)
                && !self.viewers[slot].flags.has(Flags::CLOSING)
            {
                let text = "this stream needs a token: send `auth` with one right after connecting";
                let error = ErrorBody::new(ErrorCode::AuthTimeout, text);
                self.send_error_and_close(slot, error, CloseCode::AuthTimeout);
            }
        }
        while let Some(connection) = take_due(&mut self.timers.lingering, self.now) {
            if let Some(slot) = self.slot_of(connection) {
                self.remove_viewer(slot);
            }
        }
        for connection in std::mem::take(&mut self.timers.pages_to_retry) {
            if let Some(slot) = self.slot_of(connection)
                && self.viewers[slot].flags.has(Flags::CATCHING_UP)
            {
                self.write_pending(slot);
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

    /// Visits one slice of the viewers: closes those that were silent for the idle timeout, and
    /// pings those that were silent for a ping interval.
    fn sweep(&mut self) {
        let slice = self.timers.slice;
        let slices = self.timers.slices;
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
                self.write_pending(slot);
            }
        }
    }
}
