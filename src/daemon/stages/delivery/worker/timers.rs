//! Deadlines of a worker, without a timer per viewer. Deadlines of equal length form a queue.
//! Pings and idle checks visit one slice of the viewers per second, so each viewer is visited
//! once per ping interval. A viewer that does not answer its ping is closed after the pong timeout:
//! its connection is dead, and its place is free for the user who comes back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Worker;
use super::viewer::Flags;
use crate::daemon::base::config::GatewayConfig;
use crate::daemon::base::handoff::ConnectionId;
use crate::net::websocket::{Opcode, server_frame};
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, ErrorCode, UserId};

/// Time for a closed viewer to answer the close frame.
const LINGER: Duration = Duration::from_secs(2);
/// A comment line, which every client of server-sent events ignores.
const EVENT_PING: &[u8] = b": ping\n\n";
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
    pong_timeout: Duration,
    /// Pings in the order of their deadlines, each with the second in which it was sent.
    awaiting_pong: VecDeque<(Instant, (ConnectionId, u32))>,
    /// Users whose connections were pinged for [`Worker::probe_user`], until the pongs are due.
    probed: VecDeque<(Instant, UserId)>,
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
            pong_timeout: config.pong_timeout,
            awaiting_pong: VecDeque::new(),
            probed: VecDeque::new(),
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
            && self.awaiting_pong.is_empty()
            && self.probed.is_empty()
            && self.pages_to_retry.is_empty();
        let step = if idle { COARSE_STEP } else { FINE_STEP };
        step.min(self.next_sweep.saturating_duration_since(now))
    }
}

fn take_due<T>(queue: &mut VecDeque<(Instant, T)>, now: Instant) -> Option<T> {
    let due = queue.front().is_some_and(|(deadline, _)| *deadline <= now);
    if due { queue.pop_front().map(|(_, waiting)| waiting) } else { None }
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
        while let Some((connection, pinged_s)) = take_due(&mut self.timers.awaiting_pong, self.now)
        {
            self.close_unless_answered(connection, pinged_s);
        }
        while take_due(&mut self.timers.probed, self.now).is_some() {}
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
        for slot in (slice..self.viewers.capacity()).step_by(slices) {
            let Some(viewer) = self.viewers.get_mut(slot) else { continue };
            if viewer.flags.has(Flags::CLOSING) {
                continue;
            }
            if viewer.kind != TransportKind::Websocket {
                self.ping(slot);
                continue;
            }
            let silent_s = now_s.saturating_sub(viewer.seen_s);
            if silent_s >= idle_s {
                self.close(slot, CloseCode::IdleTimeout);
            } else if silent_s + 1 >= ping_s {
                self.ping(slot);
            }
        }
    }

    /// Sends a ping and awaits the pong. A viewer whose socket is full is sent none: it would have
    /// to read everything before it first. It must take something in that time instead.
    ///
    /// The viewers of an event stream cannot answer. Their pings keep proxies from closing the
    /// stream, and the kernel ends a connection that acknowledges none within the pong timeout.
    /// Pollers are sent none: their sessions expire.
    fn ping(&mut self, slot: usize) {
        match self.viewers[slot].kind {
            TransportKind::Websocket => {}
            TransportKind::Sse => return self.send_event_ping(slot),
            TransportKind::Poll => return,
        }
        let waiting = (self.connection_id(slot), self.now_s());
        self.timers.awaiting_pong.push_back((self.now + self.timers.pong_timeout, waiting));
        if !self.viewers[slot].flags.has(Flags::BLOCKED) {
            let ping: Bytes = server_frame(Opcode::Ping, false, b"").into();
            self.viewers[slot].enqueue(ping);
            self.write_pending(slot);
        }
    }

    fn send_event_ping(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        if !viewer.flags.has(Flags::BLOCKED) {
            viewer.enqueue(Bytes::from_static(EVENT_PING));
            self.write_pending(slot);
        }
    }

    /// Closes a viewer that has neither sent nor taken anything since the second in which it was
    /// pinged. A viewer that sent something earlier in that second is left to its next ping.
    fn close_unless_answered(&mut self, connection: ConnectionId, pinged_s: u32) {
        let Some(slot) = self.slot_of(connection) else { return };
        let viewer = &self.viewers[slot];
        // Its pong waits in the socket until it is welcomed.
        if viewer.flags.has(Flags::JOINING) && !viewer.flags.has(Flags::MUST_AUTH) {
            return;
        }
        let is_dead = viewer.seen_s < pinged_s && !viewer.took_since(pinged_s);
        if is_dead && !viewer.flags.has(Flags::CLOSING) {
            self.close(slot, CloseCode::IdleTimeout);
        }
    }

    /// Pings the connections of a user now, so that those that are dead free their places within
    /// the pong timeout. Until then further calls for the same user do nothing. Returns the number
    /// of connections pinged.
    pub(super) fn probe_user(&mut self, user_id: UserId) -> u64 {
        if self.timers.probed.iter().any(|(_, probed)| *probed == user_id) {
            return 0;
        }
        let slots = self.users.get(&user_id).cloned().unwrap_or_default();
        if !slots.is_empty() {
            self.timers.probed.push_back((self.now + self.timers.pong_timeout, user_id));
        }
        for slot in &slots {
            self.ping(*slot as usize);
        }
        slots.len() as u64
    }
}
