//! Replies: acks and errors for what a viewer sent, echoes of its own comments, direct messages.

use std::sync::Arc;

use bytes::Bytes;

use super::Worker;
use super::echo::Echo;
use super::viewer::Flags;
use crate::daemon::base::handoff::{Accepted, ConnectionId, Reply};
use crate::protocol::CloseCode;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::throttle::SampleRate;

impl Worker {
    /// Sends a message to one viewer now.
    pub(super) fn send_private(&mut self, slot: usize, message: &ServerMessage) {
        let bytes = self.viewers[slot].form.encode_private(message);
        self.send_private_bytes(slot, bytes);
    }

    /// Queues an encoded message for one viewer and writes it.
    pub(super) fn send_private_bytes(&mut self, slot: usize, bytes: Bytes) {
        if self.enqueue_private(slot, bytes) {
            self.write_pending(slot);
        }
    }

    /// Like [`Self::send_private`], but the write waits until the events of this turn are
    /// handled. So a viewer that comments fast is sent many acks in one write.
    fn send_deferred(&mut self, slot: usize, message: &ServerMessage) {
        let bytes = self.viewers[slot].form.encode_private(message);
        if !self.enqueue_private(slot, bytes) {
            return;
        }
        let limit = self.outbox_limit();
        let viewer = &mut self.viewers[slot];
        if viewer.private_bytes() > limit {
            self.write_pending(slot);
        } else if !viewer.flags.has(Flags::DEFERRED) {
            viewer.flags.set(Flags::DEFERRED);
            self.deferred.push(slot);
        }
    }

    /// Appends a message to the outbox and reports whether it can be written now. Closes a viewer
    /// whose outbox is over its limit.
    fn enqueue_private(&mut self, slot: usize, bytes: Bytes) -> bool {
        let limit = self.outbox_limit();
        let viewer = &mut self.viewers[slot];
        if viewer.flags.has(Flags::CLOSING) {
            return false;
        }
        let blocked = viewer.flags.has(Flags::BLOCKED);
        if blocked && viewer.private_bytes() + bytes.len() > limit {
            self.close(slot, CloseCode::SlowConsumer);
            return false;
        }
        viewer.enqueue(bytes);
        !blocked
    }

    fn outbox_limit(&self) -> usize {
        self.parts.delivery.outbox_bytes.as_u64() as usize
    }

    /// Writes the deferred replies of this turn.
    pub(super) fn write_deferred(&mut self) {
        let mut deferred = std::mem::take(&mut self.deferred);
        for slot in deferred.drain(..) {
            // The viewer may have been written since, or its slot may be reused.
            if self.viewers.get(slot).is_some_and(|viewer| viewer.flags.has(Flags::DEFERRED)) {
                self.write_pending(slot);
            }
        }
        self.deferred = deferred;
    }

    pub(super) fn send_error(
        &mut self,
        slot: usize,
        error: ErrorBody,
        client_ref: Option<Arc<str>>,
    ) {
        let message = ServerMessage::Error {
            code: error.code,
            message: error.message,
            retry_after_ms: error.retry_after_ms,
            client_ref,
        };
        self.send_deferred(slot, &message);
    }

    /// Sends the ack or the error of a comment to its sender, and the comment too if no broadcast
    /// will show it.
    pub(super) fn deliver_reply(&mut self, reply: Reply) {
        let Some(slot) = self.slot_of(reply.connection) else { return };
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        let Accepted { comment_id, seq, comment, delayed } = match reply.outcome {
            Ok(accepted) => accepted,
            Err(error) => return self.refuse(slot, error, reply.client_ref),
        };
        let ack = ServerMessage::Ack { client_ref: reply.client_ref, comment_id, seq };
        self.send_deferred(slot, &ack);
        let (Some(comment), Some(viewer)) = (comment, self.viewers.get(slot)) else { return };
        let is_staff = viewer.identity.as_ref().is_some_and(|identity| identity.role.is_staff());
        let echo =
            Echo { seq, slot: slot as u32, generation: viewer.generation, comment, is_staff };
        if delayed {
            return self.send_echo(&echo);
        }
        if let Some(due) = self.streams[viewer.stream as usize].register_echo(echo) {
            self.send_echo(&due);
        }
    }

    /// Tells a moderator whether its change of the room was made. New rules and deletions come to
    /// it as to every viewer.
    pub(super) fn answer_room_change(
        &mut self,
        connection: ConnectionId,
        client_ref: Option<Arc<str>>,
        outcome: Result<ServerMessage, ErrorBody>,
    ) {
        let Some(slot) = self.slot_of(connection) else { return };
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        match outcome {
            Ok(ack) => self.send_deferred(slot, &ack),
            Err(error) => self.send_error(slot, error, client_ref),
        }
    }

    /// Sends an error, and closes the viewer if the code of the error says so.
    pub(super) fn refuse(&mut self, slot: usize, error: ErrorBody, client_ref: Option<Arc<str>>) {
        match error.code.close_code() {
            Some(code) => self.send_error_and_close_with_ref(slot, error, code, client_ref),
            None => self.send_error(slot, error, client_ref),
        }
    }

    pub(super) fn send_echo(&mut self, echo: &Echo) {
        let slot = echo.slot as usize;
        let Some(viewer) = self.viewers.get(slot) else { return };
        if viewer.generation != echo.generation || viewer.flags.has(Flags::CLOSING) {
            return;
        }
        let batch = CommentsBatch {
            epoch: self.streams[viewer.stream as usize].epoch,
            from_seq: echo.seq,
            to_seq: echo.seq,
            sample_rate: SampleRate::ALL,
            comments: vec![echo.comment.sequenced(echo.seq)],
            echo: true,
        };
        self.send_deferred(slot, &ServerMessage::Comments(batch));
        self.add_delivered_comments(1);
    }
}
