//! The forms in which viewers are sent messages: encoding, envelope and compression.

use bytes::Bytes;

use crate::daemon::base::handoff::Deflate;
use crate::net::websocket::{Opcode, server_frame};
use crate::protocol::message::{Encoding, ServerMessage};
use crate::protocol::stream::history_path;
use crate::protocol::{Epoch, Seq, StreamId, StreamPosition};

/// Envelope, encoding and compression of the messages of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Form {
    Json = 0,
    Msgpack = 1,
    /// Compressed without context takeover: each frame by itself.
    JsonDeflate = 2,
    MsgpackDeflate = 3,
    /// Compressed in the shared window of the stream.
    JsonShared = 4,
    MsgpackShared = 5,
    /// Server-sent events, for event streams and for the mailboxes of pollers.
    Events = 6,
}

pub(crate) const FORMS: usize = 7;

/// The bytes of a message before compression. Forms that differ only in their compression share
/// a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    /// A WebSocket frame.
    Frame(Encoding),
    /// A server-sent event with JSON, and with an id if the message moves the viewer's position.
    Event,
}

impl Form {
    pub(crate) fn new(encoding: Encoding, deflate: Deflate) -> Self {
        match (encoding, deflate) {
            (Encoding::Json, Deflate::Off | Deflate::ReceiveOnly) => Self::Json,
            (Encoding::Msgpack, Deflate::Off | Deflate::ReceiveOnly) => Self::Msgpack,
            (Encoding::Json, Deflate::Single) => Self::JsonDeflate,
            (Encoding::Msgpack, Deflate::Single) => Self::MsgpackDeflate,
            (Encoding::Json, Deflate::Shared) => Self::JsonShared,
            (Encoding::Msgpack, Deflate::Shared) => Self::MsgpackShared,
        }
    }

    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Json | Self::JsonDeflate | Self::JsonShared | Self::Events => Encoding::Json,
            Self::Msgpack | Self::MsgpackDeflate | Self::MsgpackShared => Encoding::Msgpack,
        }
    }

    /// Returns the compression of what the viewer is sent. Never [`Deflate::ReceiveOnly`], which
    /// is about what it sends.
    pub(crate) fn deflate(self) -> Deflate {
        match self {
            Self::Json | Self::Msgpack | Self::Events => Deflate::Off,
            Self::JsonDeflate | Self::MsgpackDeflate => Deflate::Single,
            Self::JsonShared | Self::MsgpackShared => Deflate::Shared,
        }
    }

    pub(crate) fn wire(self) -> Wire {
        match self {
            Self::Events => Wire::Event,
            _ => Wire::Frame(self.encoding()),
        }
    }

    /// Encodes a message for one viewer. It is never compressed: it is in no shared window, and
    /// compressing it for one viewer is not worth the time.
    pub(crate) fn encode_private(self, message: &ServerMessage) -> Bytes {
        self.wire().encode(message)
    }

    /// Encodes a `gap`, which moves the viewer's position but does not name the epoch.
    pub(crate) fn encode_gap(
        self,
        stream_id: StreamId,
        epoch: Epoch,
        from_seq: Seq,
        to_seq: Seq,
    ) -> Bytes {
        let history = Some(history_path(stream_id).into());
        let gap = ServerMessage::Gap { from_seq, to_seq, history };
        match self.wire() {
            Wire::Frame(_) => self.encode_private(&gap),
            Wire::Event => event(&gap, Some(StreamPosition { epoch, seq: to_seq })),
        }
    }
}

impl Wire {
    /// Encodes a message with its envelope, uncompressed.
    pub(crate) fn encode(self, message: &ServerMessage) -> Bytes {
        match self {
            Self::Frame(encoding) => {
                server_frame(opcode(encoding), false, &encoding.encode(message)).into()
            }
            Self::Event => event(message, position_after(message)),
        }
    }
}

/// Returns the kind of WebSocket frame that carries an encoding.
pub(crate) fn opcode(encoding: Encoding) -> Opcode {
    match encoding {
        Encoding::Json => Opcode::Text,
        Encoding::Msgpack => Opcode::Binary,
    }
}

/// Returns the position of a viewer after a message, if the message moves it. A `gap` is encoded
/// by [`Form::encode_gap`].
fn position_after(message: &ServerMessage) -> Option<StreamPosition> {
    match message {
        ServerMessage::Welcome { epoch, seq, .. } => {
            Some(StreamPosition { epoch: *epoch, seq: *seq })
        }
        ServerMessage::Comments(batch) if !batch.echo => {
            Some(StreamPosition { epoch: batch.epoch, seq: batch.to_seq })
        }
        _ => None,
    }
}

/// Encodes one event. JSON has no line breaks outside of strings, and inside they are escaped, so
/// the data is one line.
fn event(message: &ServerMessage, position: Option<StreamPosition>) -> Bytes {
    let data = Encoding::Json.encode(message);
    let id = position
        .map_or_else(String::new, |position| format!("id: {}:{}\n", position.epoch, position.seq));
    [id.as_bytes(), b"data: ", &data, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::CommentsBatch;
    use crate::protocol::throttle::SampleRate;

    fn batch(echo: bool) -> ServerMessage {
        ServerMessage::Comments(CommentsBatch {
            epoch: Epoch(3),
            from_seq: 5,
            to_seq: 841,
            sample_rate: SampleRate::ALL,
            comments: Vec::new(),
            echo,
        })
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn event_has_an_id_if_it_moves_the_position() {
        let moves = Form::Events.encode_private(&batch(false));
        assert!(text(&moves).starts_with("id: 3:841\ndata: {\"type\":\"comments\","));
        assert!(text(&moves).ends_with("}\n\n"));
        let echo = Form::Events.encode_private(&batch(true));
        assert!(text(&echo).starts_with("data: {"));
        let gap = Form::Events.encode_gap(StreamId(1), Epoch(3), 7, 9);
        let expected = "id: 3:9\ndata: {\"type\":\"gap\",\"from_seq\":7,\"to_seq\":9,\
                        \"history\":\"api/streams/1/comments\"}\n\n";
        assert_eq!(text(&gap), expected);
    }

    #[test]
    fn line_breaks_in_texts_end_no_event() {
        let message = ServerMessage::Announcement { message: "a\n\ndata: b\r\u{2028}".into() };
        let event = Form::Events.encode_private(&message);
        assert_eq!(text(&event).matches('\n').count(), 2, "{}", text(&event));
        assert!(!text(&event).contains('\r'));
    }
}
