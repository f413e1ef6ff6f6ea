//! A message to many viewers, encoded once for each form in which somebody wants it.

use std::sync::OnceLock;

use bytes::Bytes;

use super::deflate;
use crate::protocol::Seq;
use crate::protocol::comment::Deletion;
use crate::protocol::message::{CommentsBatch, Encoding, ServerMessage};
use crate::protocol::websocket::{Opcode, server_frame};

/// How the bytes of one connection look. A list, so that another form is one more entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    Json = 0,
    Msgpack = 1,
    JsonDeflate = 2,
    MsgpackDeflate = 3,
}

pub(super) const FORMS: usize = 4;

impl Form {
    pub(super) fn new(encoding: Encoding, deflate: bool) -> Self {
        match (encoding, deflate) {
            (Encoding::Json, false) => Self::Json,
            (Encoding::Msgpack, false) => Self::Msgpack,
            (Encoding::Json, true) => Self::JsonDeflate,
            (Encoding::Msgpack, true) => Self::MsgpackDeflate,
        }
    }

    pub(super) fn encoding(self) -> Encoding {
        match self {
            Self::Json | Self::JsonDeflate => Encoding::Json,
            Self::Msgpack | Self::MsgpackDeflate => Encoding::Msgpack,
        }
    }

    pub(super) fn deflates(self) -> bool {
        matches!(self, Self::JsonDeflate | Self::MsgpackDeflate)
    }

    /// A whole WebSocket frame of a message.
    pub(super) fn encode(self, message: &ServerMessage) -> Bytes {
        let payload = self.encoding().encode(message);
        let opcode = match self.encoding() {
            Encoding::Json => Opcode::Text,
            Encoding::Msgpack => Opcode::Binary,
        };
        let compressed = if self.deflates() { deflate::compress(&payload) } else { None };
        match compressed {
            Some(compressed) => server_frame(opcode, true, &compressed).into(),
            None => server_frame(opcode, false, &payload).into(),
        }
    }

    /// A frame for one viewer alone: never worth a compressor's time.
    pub(super) fn encode_private(self, message: &ServerMessage) -> Bytes {
        Self::new(self.encoding(), false).encode(message)
    }
}

/// Which ring a frame goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Comments and what may be skipped with them.
    Ordered,
    /// Deletions and announcements: never skipped, always first.
    Control,
}

/// A message and its encodings, shared by all workers.
#[derive(Debug)]
pub(super) struct Frame {
    message: ServerMessage,
    lane: Lane,
    /// Where a deletion stands in its stream's order.
    deletion_seq: Option<Seq>,
    forms: [OnceLock<Bytes>; FORMS],
}

impl Frame {
    pub(super) fn new(lane: Lane, message: ServerMessage) -> Self {
        Self { message, lane, deletion_seq: None, forms: Default::default() }
    }

    pub(super) fn deletion(seq: Seq, deletion: Deletion) -> Self {
        let message = ServerMessage::CommentDeleted(deletion);
        Self { deletion_seq: Some(seq), ..Self::new(Lane::Control, message) }
    }

    pub(super) fn deletion_seq(&self) -> Option<Seq> {
        self.deletion_seq
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    pub(super) fn message(&self) -> &ServerMessage {
        &self.message
    }

    /// The batch, if it is one.
    pub(super) fn batch(&self) -> Option<&CommentsBatch> {
        match &self.message {
            ServerMessage::Comments(batch) => Some(batch),
            _ => None,
        }
    }

    /// Comments in it.
    pub(super) fn comments(&self) -> u64 {
        self.batch().map_or(0, |batch| batch.comments.len() as u64)
    }

    /// The frame's bytes in a form; encoded by whoever asks first.
    pub(super) fn bytes(&self, form: Form) -> &Bytes {
        self.forms[form as usize].get_or_init(|| form.encode(&self.message))
    }

    /// About the memory it takes in one form, for the ring's bound.
    pub(super) fn weight_bytes(&self) -> usize {
        let text = |batch: &CommentsBatch| -> usize {
            batch.comments.iter().map(|comment| 160 + comment.message.len()).sum()
        };
        256 + self.batch().map_or(0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_once_and_shared() {
        let frame = Frame::new(Lane::Ordered, ServerMessage::Presence { viewers: 3 });
        let first = frame.bytes(Form::Json).as_ptr();
        assert_eq!(first, frame.bytes(Form::Json).as_ptr());
        assert_eq!(&frame.bytes(Form::Json)[2..], br#"{"type":"presence","viewers":3}"#);
        assert_ne!(frame.bytes(Form::Msgpack), frame.bytes(Form::Json));
    }
}
