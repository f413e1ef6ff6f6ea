//! How a viewer leaves: told why, or just gone.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::oneshot;

use super::Worker;
use crate::daemon::base::metrics::count;
use crate::daemon::stages::delivery::hub::HubRequest;
use crate::daemon::stages::delivery::viewer::Flags;
use crate::net::websocket::close_frame;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::ServerMessage;
use crate::protocol::{CloseCode, Identity, StreamId, UserId};

/// A viewer that is told to come back, for a reason of its own, waits up to this long.
const RETURN_JITTER: Duration = Duration::from_secs(2);

impl Worker {
    /// Says `bye`, closes with a code, and forgets the viewer once it has answered or lingered.
    pub(super) fn close(&mut self, slot: usize, code: CloseCode) {
        self.close_with(slot, code, RETURN_JITTER);
    }

    fn close_with(&mut self, slot: usize, code: CloseCode, jitter: Duration) {
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        self.leave(slot);
        count(&self.metrics.connections_closed, code.as_str());
        let reconnect_after_ms =
            code.reconnect().then(|| rand::rng().random_range(0..=jitter.as_millis() as u64));
        let bye = ServerMessage::Bye { code: code.as_str().into(), reconnect_after_ms };
        let viewer = &mut self.viewers[slot];
        viewer.flags.set(Flags::CLOSING);
        viewer.flags.clear(Flags::CATCHING_UP | Flags::PAUSED);
        let bye = viewer.form.encode_private(&bye);
        viewer.enqueue(bye);
        viewer.enqueue(close_frame(code.number(), code.as_str()).into());
        let connection = self.connection_id(slot);
        self.timers.linger(self.now, connection);
        self.pump(slot);
    }

    /// Tells an error, then closes with its code.
    pub(super) fn refuse_and_close(&mut self, slot: usize, error: ErrorBody, otherwise: CloseCode) {
        let code = error.code.close_code().unwrap_or(otherwise);
        let message = ServerMessage::Error {
            code: error.code,
            message: error.message,
            retry_after_ms: error.retry_after_ms,
            client_ref: None,
        };
        let viewer = &mut self.viewers[slot];
        let message = viewer.form.encode_private(&message);
        viewer.enqueue(message);
        self.close(slot, code);
    }

    /// The viewer closes: answered in kind.
    pub(super) fn answer_close(&mut self, slot: usize, code: Option<u16>) {
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            self.forget(slot);
            return;
        }
        self.leave(slot);
        count(&self.metrics.connections_closed, "by_viewer");
        let viewer = &mut self.viewers[slot];
        viewer.flags.set(Flags::CLOSING);
        viewer.flags.clear(Flags::CATCHING_UP | Flags::PAUSED);
        viewer.enqueue(close_frame(code.unwrap_or(CloseCode::Normal.number()), "").into());
        let connection = self.connection_id(slot);
        self.timers.linger(self.now, connection);
        self.pump(slot);
        if let Some(viewer) = self.viewers.get_mut(slot)
            && !viewer.flags.has(Flags::BLOCKED)
        {
            // The server closes first, so that the viewer's side holds no lingering port.
            viewer.transport.shutdown_write();
        }
    }

    /// The socket is gone.
    pub(super) fn lose(&mut self, slot: usize) {
        if !self.viewers[slot].flags.has(Flags::CLOSING) {
            self.leave(slot);
            count(&self.metrics.connections_closed, "lost");
        }
        self.forget(slot);
    }

    /// Drops a viewer that has left its stream already.
    pub(super) fn forget(&mut self, slot: usize) {
        let mut viewer = self.viewers.remove(slot);
        if viewer.flags.has(Flags::BLOCKED) {
            self.slow_viewers -= 1;
        }
        // An error means that the kernel no longer knows the socket, which is what is wanted.
        let _ = self.parts.poll.registry().deregister(viewer.transport.socket());
        drop(viewer);
        self.finish_dismissal();
    }

    /// Takes a viewer out of its stream and its user's connections.
    fn leave(&mut self, slot: usize) {
        self.set_identity(slot, None);
        let viewer = &mut self.viewers[slot];
        viewer.permit = None;
        let (key, member) = (viewer.stream as usize, viewer.member as usize);
        let stream = &mut self.streams[key];
        for (moved, place) in stream.members.remove(member) {
            self.viewers[moved].member = place;
        }
        let (stream_id, empty) = (stream.stream_id, stream.members.is_empty());
        self.count_viewer(stream_id, -1);
        if empty {
            self.timers.stream_emptied();
        }
    }

    /// Forgets streams without viewers, so that their frames are no longer sent here.
    pub(super) fn forget_empty_streams(&mut self) {
        let worker = self.parts.index;
        let hub = &self.parts.hub;
        let keys = &mut self.stream_keys;
        self.streams.retain(|_, stream| {
            let keep = !stream.members.is_empty();
            if !keep {
                keys.remove(&stream.stream_id);
                let _ = hub.send(HubRequest::Unwatch { stream_id: stream.stream_id, worker });
            }
            keep
        });
    }

    pub(super) fn close_stream(&mut self, stream_id: StreamId, code: CloseCode) {
        let Some(&key) = self.stream_keys.get(&stream_id) else { return };
        // Deletions and comments that came before the end are written before it.
        self.fan_out(key);
        for slot in self.streams[key].members.slots().to_vec() {
            self.close(slot as usize, code);
        }
    }

    pub(super) fn disconnect_user(&mut self, user_id: UserId, code: CloseCode) -> u64 {
        let slots = self.users.get(&user_id).cloned().unwrap_or_default();
        for slot in &slots {
            self.close(*slot as usize, code);
        }
        slots.len() as u64
    }

    pub(super) fn send_to_user(&mut self, user_id: UserId, message: &ServerMessage) -> u64 {
        let slots = self.users.get(&user_id).cloned().unwrap_or_default();
        for slot in &slots {
            self.send_private(*slot as usize, message);
        }
        slots.len() as u64
    }

    pub(super) fn dismiss(
        &mut self,
        code: CloseCode,
        jitter: Duration,
        done: oneshot::Sender<u64>,
    ) {
        self.fan_out_all();
        let slots: Vec<usize> = self.viewers.iter().map(|(slot, _)| slot).collect();
        self.dismissed = Some((done, slots.len() as u64));
        for slot in slots {
            if self.viewers.contains(slot) {
                self.close_with(slot, code, jitter);
            }
        }
        self.finish_dismissal();
    }

    fn finish_dismissal(&mut self) {
        if self.viewers.is_empty()
            && let Some((done, count)) = self.dismissed.take()
        {
            let _ = done.send(count);
        }
    }

    /// Says who a viewer is, and keeps the index of users in step.
    pub(super) fn set_identity(&mut self, slot: usize, identity: Option<Arc<Identity>>) {
        let viewer = &mut self.viewers[slot];
        if let Some(before) = std::mem::replace(&mut viewer.identity, identity)
            && let Some(slots) = self.users.get_mut(&before.user_id)
        {
            slots.retain(|other| *other as usize != slot);
            if slots.is_empty() {
                self.users.remove(&before.user_id);
            }
        }
        if let Some(identity) = &self.viewers[slot].identity {
            self.users.entry(identity.user_id).or_default().push(slot as u32);
        }
    }

    pub(super) fn count_viewer(&self, stream_id: StreamId, change: i64) {
        let mut counts = self.parts.counts.lock();
        let count = counts.entry(stream_id).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            counts.remove(&stream_id);
        }
    }
}
