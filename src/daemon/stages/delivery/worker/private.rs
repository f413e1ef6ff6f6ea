//! What one viewer alone is told: answers to what it sent, its own comments that nobody else shows it,
//! direct messages.

use std::sync::Arc;

use bytes::Bytes;

use super::Worker;
use crate::daemon::base::handoff::{Accepted, Reply};
use crate::daemon::stages::delivery::stream::Echo;
use crate::daemon::stages::delivery::viewer::Flags;
use crate::protocol::CloseCode;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::throttle::SampleRate;

impl Worker {
    pub(super) fn send_private(&mut self, slot: usize, message: &ServerMessage) {
        let bytes = self.viewers[slot].form.encode_private(message);
        self.send_private_bytes(slot, bytes);
    }

    /// A message for one viewer alone.
    pub(super) fn send_private_bytes(&mut self, slot: usize, bytes: Bytes) {
        if self.enqueue_private(slot, bytes) {
            self.pump(slot);
        }
    }

    /// As [`Self::send_private`], but written after all that came in this turn: who comments fast is
    /// answered many comments in one write.
    fn owe_private(&mut self, slot: usize, message: &ServerMessage) {
        let bytes = self.viewers[slot].form.encode_private(message);
        if !self.enqueue_private(slot, bytes) {
            return;
        }
        let limit = self.outbox_limit();
        let viewer = &mut self.viewers[slot];
        if viewer.private_bytes() > limit {
            self.pump(slot);
        } else if !viewer.flags.has(Flags::OWED) {
            viewer.flags.set(Flags::OWED);
            self.owed.push(slot);
        }
    }

    /// Puts a message behind what waits; whether it can be written now. A viewer that lets them pile
    /// up is closed.
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

    /// Writes what was put off in this turn.
    pub(super) fn write_owed(&mut self) {
        let mut owed = std::mem::take(&mut self.owed);
        for slot in owed.drain(..) {
            // It may have been written since, or be gone, and its slot another viewer's.
            if self.viewers.get(slot).is_some_and(|viewer| viewer.flags.has(Flags::OWED)) {
                self.pump(slot);
            }
        }
        self.owed = owed;
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
        self.owe_private(slot, &message);
    }

    /// The outcome of a comment goes to its sender; the comment too, if nobody else will send it.
    pub(super) fn on_reply(&mut self, reply: Reply) {
        let Some(slot) = self.slot_of(reply.connection) else { return };
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        let Accepted { comment_id, seq, comment, shadow } = match reply.outcome {
            Ok(accepted) => accepted,
            Err(error) => return self.on_refused(slot, error, reply.client_ref),
        };
        let ack = ServerMessage::Ack { client_ref: reply.client_ref, comment_id, seq };
        self.owe_private(slot, &ack);
        let (Some(comment), Some(viewer)) = (comment, self.viewers.get(slot)) else { return };
        let staff = viewer.identity.as_ref().is_some_and(|identity| identity.role.is_staff());
        let echo = Echo { seq, slot: slot as u32, generation: viewer.generation, comment, staff };
        if shadow {
            self.send_echo(&echo);
        } else if let Some(due) = self.streams[viewer.stream as usize].expect_echo(echo) {
            self.send_echo(&due);
        }
    }

    fn on_refused(&mut self, slot: usize, error: ErrorBody, client_ref: Option<Arc<str>>) {
        let close = error.code.close_code();
        self.send_error(slot, error, client_ref);
        if let Some(code) = close
            && self.viewers.contains(slot)
        {
            self.close(slot, code);
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
        self.owe_private(slot, &ServerMessage::Comments(batch));
        self.tally_delivered(1);
    }
}
