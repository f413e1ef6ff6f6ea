//! A message to many viewers, encoded once for each form in which somebody wants it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::deflate::{self, InWindow, Link, StreamDeflate};
use crate::daemon::base::handoff::Deflate;
use crate::net::websocket::{Opcode, server_frame};
use crate::protocol::Seq;
use crate::protocol::comment::Deletion;
use crate::protocol::message::{CommentsBatch, Encoding, ServerMessage};

/// How the bytes of one connection look. A list, so that another form is one more entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Form {
    Json = 0,
    Msgpack = 1,
    /// Each frame compressed by itself.
    JsonDeflate = 2,
    MsgpackDeflate = 3,
    /// Compressed in the window that the stream's viewers share.
    JsonShared = 4,
    MsgpackShared = 5,
}

pub(crate) const FORMS: usize = 6;

impl Form {
    pub(crate) fn new(encoding: Encoding, deflate: Deflate) -> Self {
        match (encoding, deflate) {
            (Encoding::Json, Deflate::Off) => Self::Json,
            (Encoding::Msgpack, Deflate::Off) => Self::Msgpack,
            (Encoding::Json, Deflate::Single) => Self::JsonDeflate,
            (Encoding::Msgpack, Deflate::Single) => Self::MsgpackDeflate,
            (Encoding::Json, Deflate::Shared) => Self::JsonShared,
            (Encoding::Msgpack, Deflate::Shared) => Self::MsgpackShared,
        }
    }

    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Json | Self::JsonDeflate | Self::JsonShared => Encoding::Json,
            Self::Msgpack | Self::MsgpackDeflate | Self::MsgpackShared => Encoding::Msgpack,
        }
    }

    pub(crate) fn deflate(self) -> Deflate {
        match self {
            Self::Json | Self::Msgpack => Deflate::Off,
            Self::JsonDeflate | Self::MsgpackDeflate => Deflate::Single,
            Self::JsonShared | Self::MsgpackShared => Deflate::Shared,
        }
    }

    /// A frame for one viewer alone: never worth a compressor's time, and in no shared window.
    pub(crate) fn encode_private(self, message: &ServerMessage) -> Bytes {
        encode(self.encoding(), message)
    }
}

/// A whole WebSocket frame of a message.
fn encode(encoding: Encoding, message: &ServerMessage) -> Bytes {
    server_frame(opcode(encoding), false, &encoding.encode(message)).into()
}

fn opcode(encoding: Encoding) -> Opcode {
    match encoding {
        Encoding::Json => Opcode::Text,
        Encoding::Msgpack => Opcode::Binary,
    }
}

/// What follows the head of a whole server frame.
fn payload(frame: &[u8]) -> &[u8] {
    let head_bytes = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[head_bytes..]
}

/// Which ring a frame goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Comments and what may be skipped with them.
    Ordered,
    /// Deletions and announcements: never skipped, always first.
    Control,
}

/// A message and its encodings, shared by all workers.
#[derive(Debug)]
pub(crate) struct Frame {
    message: ServerMessage,
    lane: Lane,
    /// The place of a deletion in its stream's order.
    deleted_at: Option<Seq>,
    json: Encoded,
    msgpack: Encoded,
    /// The stream whose window it may enter, and its place there.
    window: Option<(Arc<StreamDeflate>, u64)>,
}

/// A frame's bytes in one encoding, each made by whoever asks first.
#[derive(Debug, Default)]
struct Encoded {
    plain: OnceLock<Bytes>,
    single: OnceLock<Bytes>,
    /// `None`: it did not enter the window.
    shared: OnceLock<Option<(Link, Bytes)>>,
}

impl Frame {
    pub(crate) fn new(lane: Lane, message: ServerMessage) -> Self {
        let (json, msgpack) = Default::default();
        Self { message, lane, deleted_at: None, json, msgpack, window: None }
    }

    /// The next frame of a stream whose viewers share a window. Only what all of them are sent in the
    /// same order can enter it: deletions and announcements overtake, so they stay outside.
    pub(crate) fn in_window(self, stream: &Arc<StreamDeflate>) -> Self {
        match self.lane {
            Lane::Ordered => Self { window: Some((stream.clone(), stream.next_place())), ..self },
            Lane::Control => self,
        }
    }

    pub(crate) fn deletion(seq: Seq, deletion: Deletion) -> Self {
        let frame = Self::new(Lane::Control, ServerMessage::CommentDeleted(deletion));
        Self { deleted_at: Some(seq), ..frame }
    }

    /// Whether it is a deletion whose place lies after `seq`.
    pub(crate) fn deletes_after(&self, seq: Seq) -> bool {
        self.deleted_at.is_some_and(|place| place > seq)
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    pub(crate) fn message(&self) -> &ServerMessage {
        &self.message
    }

    /// The batch, if it is one.
    pub(crate) fn batch(&self) -> Option<&CommentsBatch> {
        match &self.message {
            ServerMessage::Comments(batch) => Some(batch),
            _ => None,
        }
    }

    /// Comments in it.
    pub(crate) fn comments(&self) -> u64 {
        self.batch().map_or(0, |batch| batch.comments.len() as u64)
    }

    /// The frame's bytes for a viewer of a form whose window goes as far as `window`, and how far it
    /// goes after them.
    pub(crate) fn bytes(&self, form: Form, window: InWindow) -> (&Bytes, InWindow) {
        let encoding = form.encoding();
        match form.deflate() {
            Deflate::Off => (self.plain(encoding), window),
            Deflate::Single => (self.single(encoding), window),
            Deflate::Shared => match self.shared(encoding) {
                Some((link, bytes)) if window.reads(*link) => (bytes, link.window()),
                Some(_) => {
                    if let Some((stream, _)) = &self.window {
                        stream.want_key(encoding);
                    }
                    (self.plain(encoding), InWindow::OUTSIDE)
                }
                None => (self.plain(encoding), window),
            },
        }
    }

    /// Where in the shared window it stands; `None` if it is sent as it is in this form.
    pub(crate) fn link(&self, form: Form) -> Option<Link> {
        match form.deflate() {
            Deflate::Off | Deflate::Single => None,
            Deflate::Shared => self.shared(form.encoding()).map(|(link, _)| *link),
        }
    }

    fn encoded(&self, encoding: Encoding) -> &Encoded {
        match encoding {
            Encoding::Json => &self.json,
            Encoding::Msgpack => &self.msgpack,
        }
    }

    fn plain(&self, encoding: Encoding) -> &Bytes {
        self.encoded(encoding).plain.get_or_init(|| encode(encoding, &self.message))
    }

    fn single(&self, encoding: Encoding) -> &Bytes {
        self.encoded(encoding).single.get_or_init(|| {
            let plain = self.plain(encoding);
            match deflate::compress(payload(plain)) {
                Some(compressed) => server_frame(opcode(encoding), true, &compressed).into(),
                None => plain.clone(),
            }
        })
    }

    fn shared(&self, encoding: Encoding) -> Option<&(Link, Bytes)> {
        let (stream, place) = self.window.as_ref()?;
        let make = || {
            let plain = payload(self.plain(encoding));
            let (link, compressed) = stream.compress(encoding, *place, plain)?;
            Some((link, server_frame(opcode(encoding), true, &compressed).into()))
        };
        self.encoded(encoding).shared.get_or_init(make).as_ref()
    }

    /// About the memory it takes in one form, for the ring's bound.
    pub(crate) fn weight_bytes(&self) -> usize {
        let text = |batch: &CommentsBatch| -> usize {
            batch.comments.iter().map(|comment| 160 + comment.message.len()).sum()
        };
        256 + self.batch().map_or(0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::DeliveryConfig;
    use crate::daemon::stages::delivery::deflate::Compressors;

    fn bytes(frame: &Frame, form: Form) -> &Bytes {
        frame.bytes(form, InWindow::OUTSIDE).0
    }

    #[test]
    fn a_form_is_encoded_once_and_shared() {
        let stream = Compressors::new(&DeliveryConfig::default()).stream();
        let message = ServerMessage::Announcement { message: "again ".repeat(20).into() };
        let frame = Frame::new(Lane::Ordered, message).in_window(&stream);
        let forms = [
            Form::Json,
            Form::Msgpack,
            Form::JsonDeflate,
            Form::MsgpackDeflate,
            Form::JsonShared,
            Form::MsgpackShared,
        ];
        for form in forms {
            assert_eq!(bytes(&frame, form).as_ptr(), bytes(&frame, form).as_ptr());
            assert_eq!(form, Form::new(form.encoding(), form.deflate()));
            let rsv1 = bytes(&frame, form)[0] & 0x40 != 0;
            assert_eq!(rsv1, form.deflate() != Deflate::Off, "{form:?}");
        }
        let text = br#"{"type":"announcement","message":"again again"#;
        assert!(payload(bytes(&frame, Form::Json)).starts_with(text));
    }

    #[test]
    fn what_overtakes_stays_out_of_the_window() {
        let stream = Compressors::new(&DeliveryConfig::default()).stream();
        let message = ServerMessage::Announcement { message: "again ".repeat(20).into() };
        let frame = Frame::new(Lane::Control, message).in_window(&stream);
        assert_eq!(bytes(&frame, Form::JsonShared), bytes(&frame, Form::Json));
        assert_eq!(frame.link(Form::JsonShared), None);
    }
}
