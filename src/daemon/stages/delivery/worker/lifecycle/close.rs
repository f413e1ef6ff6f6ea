//! Close: a viewer is closed with a code, closes by itself, or its socket breaks. A ban arrives
//! here as [`Worker::close_user_connections`].

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::oneshot;

use crate::daemon::base::metrics::count;
use crate::daemon::stages::delivery::hub::HubRequest;
use crate::daemon::stages::delivery::worker::viewer::{Flags, Viewer};
use crate::daemon::stages::delivery::worker::{ClosingAll, Worker};
use crate::net::websocket::close_frame;
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::ServerMessage;
use crate::protocol::{CloseCode, ErrorCode, Identity, StreamId, UserId, UserScope};

/// A viewer that is closed alone and should reconnect waits up to this long.
const RETURN_JITTER: Duration = Duration::from_secs(2);

impl Worker {
    /// Sends `bye`, and a close frame to a WebSocket. The viewer is removed when it has answered,
    /// or after a while.
    pub(crate) fn close(&mut self, slot: usize, code: CloseCode) {
        self.close_with(slot, code, reconnect_after_ms(code, None, RETURN_JITTER));
    }

    fn close_with(&mut self, slot: usize, code: CloseCode, reconnect_after_ms: Option<u64>) {
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        let bye = ServerMessage::Bye { code: code.as_str().into(), reconnect_after_ms };
        self.begin_closing(slot, code.as_str(), |viewer| {
            let bye = viewer.form.encode_private(&bye);
            viewer.enqueue(bye);
            if viewer.kind == TransportKind::Websocket {
                viewer.enqueue(close_frame(code.number(), code.as_str()).into());
            }
        });
    }

    /// Ends the stream of a viewer that has been written its last message. A WebSocket waits for
    /// the close frame of its peer instead.
    pub(crate) fn end_if_closing(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        if !viewer.flags.has(Flags::CLOSING) || viewer.kind == TransportKind::Websocket {
            return;
        }
        if viewer.outlet.is_pipe() {
            self.remove_viewer(slot);
        } else {
            // The peer closes its end next. A socket that is closed with unread bytes would reset
            // the connection, and the peer could lose the last messages.
            viewer.outlet.shutdown_write();
        }
    }

    /// Takes a viewer out of its stream and writes its last messages. `cause` is counted.
    fn begin_closing(
        &mut self,
        slot: usize,
        cause: &'static str,
        enqueue_last: impl FnOnce(&mut Viewer),
    ) {
        self.leave_stream(slot);
        count(&self.metrics.connections_closed, cause);
        let viewer = &mut self.viewers[slot];
        viewer.flags.set(Flags::CLOSING);
        viewer.flags.clear(Flags::CATCHING_UP | Flags::PAUSED);
        enqueue_last(viewer);
        let connection = self.connection_id(slot);
        self.timers.linger(self.now, connection);
        self.write_pending(slot);
    }

    /// Sends an error and closes with its code, or with `otherwise` if it has none.
    pub(crate) fn send_error_and_close(
        &mut self,
        slot: usize,
        error: ErrorBody,
        otherwise: CloseCode,
    ) {
        let code = error.code.close_code().unwrap_or(otherwise);
        self.send_error_and_close_with_ref(slot, error, code, None);
    }

    pub(crate) fn send_error_and_close_with_ref(
        &mut self,
        slot: usize,
        error: ErrorBody,
        code: CloseCode,
        client_ref: Option<Arc<str>>,
    ) {
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        let reconnect = reconnect_after_ms(code, error.retry_after_ms, RETURN_JITTER);
        let message = ServerMessage::Error {
            code: error.code,
            message: error.message,
            retry_after_ms: error.retry_after_ms,
            client_ref,
        };
        let viewer = &mut self.viewers[slot];
        let message = viewer.form.encode_private(&message);
        viewer.enqueue(message);
        self.close_with(slot, code, reconnect);
    }

    /// Answers the close frame of a viewer.
    pub(crate) fn reply_to_close(&mut self, slot: usize, code: Option<u16>) {
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            self.remove_viewer(slot);
            return;
        }
        let code = code.unwrap_or(CloseCode::Normal.number());
        self.begin_closing(slot, "by_viewer", |viewer| {
            viewer.enqueue(close_frame(code, "").into());
        });
        if let Some(viewer) = self.viewers.get_mut(slot)
            && !viewer.flags.has(Flags::BLOCKED)
        {
            // The server ends the TCP connection, so that the viewer keeps no lingering port.
            viewer.outlet.shutdown_write();
        }
    }

    /// Removes a viewer whose socket is closed or broken.
    pub(crate) fn remove_lost(&mut self, slot: usize) {
        if !self.viewers[slot].flags.has(Flags::CLOSING) {
            self.leave_stream(slot);
            count(&self.metrics.connections_closed, "lost");
        }
        self.remove_viewer(slot);
    }

    /// Drops a viewer that has left its stream.
    pub(crate) fn remove_viewer(&mut self, slot: usize) {
        let mut viewer = self.viewers.remove(slot);
        if viewer.flags.has(Flags::BLOCKED) {
            self.slow_viewers -= 1;
        }
        if viewer.flags.has(Flags::SENDER) {
            self.senders -= 1;
        }
        self.viewers_by_kind[viewer.kind as usize] -= 1;
        viewer.outlet.deregister(self.parts.poll.registry());
        viewer.outlet.say_close();
        drop(viewer);
        self.finish_close_all();
    }

    /// Removes a viewer from its stream and from the connections of its user.
    fn leave_stream(&mut self, slot: usize) {
        self.set_identity(slot, None);
        let viewer = &mut self.viewers[slot];
        viewer.permit = None;
        let key = viewer.stream as usize;
        let position = viewer.list_position as usize;
        let is_pipe = viewer.outlet.is_pipe();
        let generation = viewer.generation;
        let stream = &mut self.streams[key];
        stream.rejoined.remove(generation);
        for (moved, position) in stream.viewers.remove(position, is_pipe) {
            self.viewers[moved].list_position = position;
        }
        let stream_id = stream.stream_id;
        let empty = stream.viewers.is_empty();
        self.count_viewer(stream_id, -1);
        if empty {
            self.timers.stream_emptied();
        }
    }

    /// Drops streams without viewers and ends their subscription at the hub.
    pub(crate) fn forget_empty_streams(&mut self) {
        let worker = self.parts.index;
        let hub = &self.parts.hub;
        let keys = &mut self.stream_keys;
        self.streams.retain(|_, stream| {
            let keep = !stream.viewers.is_empty();
            if !keep {
                keys.remove(&stream.stream_id);
                let _ = hub.send(HubRequest::Unwatch { stream_id: stream.stream_id, worker });
            }
            keep
        });
    }

    /// Closes the viewers of a stream that has ended. Nobody can come back to it, so those that are
    /// behind are told what they miss. A viewer that has paused knows its position, and reads the
    /// history from there.
    pub(crate) fn end_stream(&mut self, stream_id: StreamId) {
        let Some(&key) = self.stream_keys.get(&stream_id) else { return };
        self.fan_out_now(key);
        let stream = &self.streams[key];
        for slot in stream.viewers.slots() {
            let viewer = &mut self.viewers[slot as usize];
            let waits = [Flags::JOINING, Flags::PAUSED, Flags::CLOSING];
            if viewer.seq < stream.covered_to && !waits.iter().any(|flag| viewer.flags.has(*flag)) {
                viewer.enqueue_gap(stream_id, stream.epoch, stream.covered_to);
            }
        }
        let error = ErrorBody::new(ErrorCode::StreamEnded, "the stream has ended");
        self.close_stream(stream_id, CloseCode::StreamEnded, Some(&error));
    }

    /// Closes all viewers of a stream.
    pub(crate) fn close_stream(
        &mut self,
        stream_id: StreamId,
        code: CloseCode,
        error: Option<&ErrorBody>,
    ) {
        let Some(&key) = self.stream_keys.get(&stream_id) else { return };
        // Frames that came before the end are written before it.
        self.fan_out_now(key);
        let slots: Vec<_> = self.streams[key].viewers.slots().collect();
        self.close_each(&slots, code, error);
    }

    /// Closes the viewers of a stream, or only those without a token, because a rule that they were
    /// admitted by has changed. A viewer that has not been welcomed yet because its token is
    /// missing is left to the auth timeout. Returns the number of connections closed.
    pub(crate) fn close_viewers_of(
        &mut self,
        stream_id: StreamId,
        error: &ErrorBody,
        anonymous_only: bool,
    ) -> u64 {
        let Some(&key) = self.stream_keys.get(&stream_id) else { return 0 };
        let mut slots: Vec<_> = self.streams[key].viewers.slots().collect();
        slots.retain(|slot| {
            let viewer = &self.viewers[*slot as usize];
            let is_anonymous = viewer.identity.is_none() && !viewer.flags.has(Flags::MUST_AUTH);
            is_anonymous || !anonymous_only
        });
        self.close_each(&slots, CloseCode::Unauthorized, Some(error))
    }

    /// Closes all connections of a user, or those to a stream, and returns their number.
    pub(crate) fn close_user_connections(
        &mut self,
        who: UserScope,
        code: CloseCode,
        error: Option<&ErrorBody>,
    ) -> u64 {
        let mut slots = self.users.get(&who.user_id).cloned().unwrap_or_default();
        slots.retain(|slot| {
            let stream = self.viewers[*slot as usize].stream;
            who.covers(self.streams[stream as usize].stream_id)
        });
        self.close_each(&slots, code, error)
    }

    /// Closes viewers, behind an error if there is one. Returns their number.
    fn close_each(&mut self, slots: &[u32], code: CloseCode, error: Option<&ErrorBody>) -> u64 {
        for slot in slots {
            match error {
                Some(error) => self.send_error_and_close(*slot as usize, error.clone(), code),
                None => self.close(*slot as usize, code),
            }
        }
        slots.len() as u64
    }

    /// Sends a message to all connections of a user and returns their number.
    pub(crate) fn send_to_user(&mut self, user_id: UserId, message: &ServerMessage) -> u64 {
        let slots = self.users.get(&user_id).cloned().unwrap_or_default();
        for slot in &slots {
            self.send_private(*slot as usize, message);
        }
        slots.len() as u64
    }

    /// Closes all viewers, with a time to reconnect drawn from `0..=jitter`.
    pub(crate) fn close_all(
        &mut self,
        code: CloseCode,
        jitter: Duration,
        done: oneshot::Sender<u64>,
    ) {
        self.fan_out_all_now();
        let slots: Vec<usize> = self.viewers.iter().map(|(slot, _)| slot).collect();
        self.closing_all = Some(ClosingAll { viewers: slots.len() as u64, done });
        for slot in slots {
            if self.viewers.contains(slot) {
                self.close_with(slot, code, reconnect_after_ms(code, None, jitter));
            }
        }
        self.finish_close_all();
    }

    /// Reports the end of [`Self::close_all`] when the last viewer has left.
    fn finish_close_all(&mut self) {
        if self.viewers.is_empty()
            && let Some(closing) = self.closing_all.take()
        {
            let _ = closing.done.send(closing.viewers);
        }
    }

    /// Sets the identity of a viewer and updates the index of users.
    pub(crate) fn set_identity(&mut self, slot: usize, identity: Option<Arc<Identity>>) {
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

    /// Updates the viewer count of a stream, for presence.
    pub(crate) fn count_viewer(&self, stream_id: StreamId, change: i64) {
        let mut counts = self.parts.counts.lock();
        let count = counts.entry(stream_id).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            counts.remove(&stream_id);
        }
    }
}

/// Returns when a closed viewer should reconnect: after the wait of its error, or else after a time
/// drawn from `0..=jitter`. `None` if waiting does not help.
fn reconnect_after_ms(code: CloseCode, wait_ms: Option<u64>, jitter: Duration) -> Option<u64> {
    wait_ms.or_else(|| {
        code.reconnect().then(|| rand::rng().random_range(0..=jitter.as_millis() as u64))
    })
}
