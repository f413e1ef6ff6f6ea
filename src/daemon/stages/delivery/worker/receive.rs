//! Reads messages from the bytes of a viewer: the server's half of RFC 6455.

use crate::net::websocket::Incoming as Frame;
use crate::net::websocket::{
    CloseStatus, FrameError, FrameReader, InflateError, Inflater, Message, Opcode, ReadRules,
};
use crate::protocol::ErrorCode;

/// A complete message or control frame from a viewer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// The viewer closes, with its code if it gave one.
    Close(Option<u16>),
}

/// The reason why the connection cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("broken WebSocket frame: {0}")]
    Frame(FrameError),
    #[error("broken WebSocket frame: {0}")]
    Inflate(InflateError),
    #[error("a message has more bytes than the {max} allowed")]
    TooLarge { max: usize },
    #[error("a text message is not UTF-8")]
    Utf8,
}

impl ReceiveError {
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::Frame(_) | Self::Inflate(_) => ErrorCode::BadFrame,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Utf8 => ErrorCode::BadUtf8,
        }
    }
}

impl From<FrameError> for ReceiveError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::MessageTooLarge { max } => Self::TooLarge { max },
            FrameError::NotUtf8 => Self::Utf8,
            other => Self::Frame(other),
        }
    }
}

impl From<InflateError> for ReceiveError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooLarge { max } => Self::TooLarge { max },
            InflateError::Malformed => Self::Inflate(error),
        }
    }
}

/// The rules of one connection.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) frames: ReadRules,
    pub(crate) inflater: &'a mut Inflater,
}

/// Reads a chunk and appends the complete messages to `out`. After an error, `out` still has the
/// messages before it.
pub(crate) fn receive(
    reader: &mut FrameReader,
    mut chunk: &[u8],
    rules: &mut Rules<'_>,
    out: &mut Vec<Incoming>,
) -> Result<(), ReceiveError> {
    while let Some(frame) = reader.next(&rules.frames, &mut chunk)? {
        out.push(match frame {
            Frame::Message(message) => read_message(message, rules)?,
            Frame::Ping(payload) => Incoming::Ping(payload.into_owned()),
            Frame::Pong => Incoming::Pong,
            Frame::Close(CloseStatus { number: CloseStatus::ABSENT, .. }) => Incoming::Close(None),
            Frame::Close(status) => Incoming::Close(Some(status.number)),
        });
    }
    Ok(())
}

fn read_message(message: Message<'_>, rules: &mut Rules<'_>) -> Result<Incoming, ReceiveError> {
    let Message { opcode, compressed, payload } = message;
    let payload = if compressed {
        let payload = rules.inflater.inflate_alone(&payload, rules.frames.max_message_bytes)?;
        if opcode == Opcode::Text && std::str::from_utf8(&payload).is_err() {
            return Err(ReceiveError::Utf8);
        }
        payload
    } else {
        payload.into_owned()
    };
    match opcode {
        Opcode::Text => Ok(Incoming::Text(payload)),
        _ => Ok(Incoming::Binary(payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::websocket::{Side, apply_mask, put_header};
    use proptest::prelude::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn client_frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        put_header(&mut frame, opcode, false, Some(MASK), payload.len());
        if !fin {
            frame[0] &= 0x7F;
        }
        let at = frame.len();
        frame.extend_from_slice(payload);
        apply_mask(&mut frame[at..], MASK, 0);
        frame
    }

    fn feed(chunks: &[Vec<u8>]) -> (Vec<Incoming>, Result<(), ReceiveError>, bool) {
        let frames = ReadRules { sender: Side::Client, max_message_bytes: 4096, deflate: false };
        let mut rules = Rules { frames, inflater: &mut Inflater::default() };
        let mut reader = FrameReader::default();
        let mut out = Vec::new();
        for chunk in chunks {
            let result = receive(&mut reader, chunk, &mut rules, &mut out);
            if result.is_err() {
                return (out, result, reader.is_partial());
            }
        }
        (out, Ok(()), reader.is_partial())
    }

    proptest! {
        #[test]
        fn messages_survive_any_division_into_reads(
            texts in proptest::collection::vec("[a-z]{0,300}", 1..6),
            cuts in proptest::collection::vec(1_usize..40, 1..200),
        ) {
            let whole: Vec<u8> =
                texts.iter().flat_map(|text| client_frame(Opcode::Text, true, text.as_bytes())).collect();
            let mut chunks = Vec::new();
            let mut rest = &whole[..];
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                chunks.push(chunk.to_vec());
                rest = after;
            }
            let (out, result, holds_buffer) = feed(&chunks);
            prop_assert_eq!(result, Ok(()));
            prop_assert!(!holds_buffer, "an idle viewer owns no buffer");
            let expected: Vec<_> = texts.into_iter().map(|text| Incoming::Text(text.into())).collect();
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn any_bytes_read_alike_in_any_division(
            chunks in proptest::collection::vec(any::<Vec<u8>>(), 1..8),
        ) {
            let (divided, result, _) = feed(&chunks);
            let (whole, whole_result, _) = feed(&[chunks.concat()]);
            prop_assert_eq!((&divided, result), (&whole, whole_result));
            for message in divided {
                if let Incoming::Text(text) | Incoming::Binary(text) = message {
                    prop_assert!(text.len() <= 4096);
                }
            }
        }
    }

    #[test]
    fn fragments_join_around_control_frames() {
        let (out, result, _) = feed(&[
            client_frame(Opcode::Text, false, b"Hel"),
            client_frame(Opcode::Ping, true, b"?"),
            client_frame(Opcode::Continuation, true, b"lo"),
        ]);
        assert_eq!(result, Ok(()));
        assert_eq!(out, [Incoming::Ping(b"?".to_vec()), Incoming::Text(b"Hello".to_vec())]);
    }

    #[test]
    fn broken_rules_have_their_error_code() {
        let mut unmasked = Vec::new();
        put_header(&mut unmasked, Opcode::Text, false, None, 0);
        let big = client_frame(Opcode::Text, true, &[b'x'; 4097]);
        let halves = [
            client_frame(Opcode::Text, false, &[b'x'; 4000]),
            client_frame(Opcode::Continuation, true, &[b'x'; 97]),
        ];
        let utf8 = client_frame(Opcode::Text, true, &[0xC3, 0x28]);
        let stray = client_frame(Opcode::Continuation, true, b"");
        let two = [client_frame(Opcode::Text, false, b""), client_frame(Opcode::Text, true, b"")];
        let mut reserved = client_frame(Opcode::Text, true, b"");
        reserved[0] |= 0x40;
        let close = client_frame(Opcode::Close, true, &[3]);
        for (chunks, code) in [
            (vec![unmasked], ErrorCode::BadFrame),
            (vec![big], ErrorCode::TooLarge),
            (halves.to_vec(), ErrorCode::TooLarge),
            (vec![utf8], ErrorCode::BadUtf8),
            (vec![stray], ErrorCode::BadFrame),
            (two.to_vec(), ErrorCode::BadFrame),
            (vec![reserved], ErrorCode::BadFrame),
            (vec![close], ErrorCode::BadFrame),
        ] {
            assert_eq!(feed(&chunks).1.unwrap_err().code(), code, "{chunks:?}");
        }
    }
}
