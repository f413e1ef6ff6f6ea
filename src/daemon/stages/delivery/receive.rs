//! From bytes to messages: RFC 6455 as a server must read it, with no buffer for who has nothing
//! half-sent.

use super::deflate::{InflateError, Inflater};
use crate::protocol::ErrorCode;
use crate::protocol::websocket::{
    FrameError, Header, Opcode, apply_mask, parse_close, parse_header,
};

/// What a viewer sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// The viewer closes, with its code if it gave one.
    Close(Option<u16>),
}

/// Why the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReceiveError {
    #[error("broken WebSocket frame: {0}")]
    Frame(#[from] FrameError),
    #[error("a message has more bytes than the {max} allowed")]
    TooLarge { max: usize },
    #[error("a text message is not UTF-8")]
    Utf8,
}

impl ReceiveError {
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::Frame(_) => ErrorCode::BadFrame,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Utf8 => ErrorCode::BadUtf8,
        }
    }
}

/// What is half-received from one viewer; dropped when nothing is.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// Bytes of a frame that has not arrived whole; at most a header and a message.
    bytes: Vec<u8>,
    /// The message whose fragments are arriving.
    message: Option<Fragments>,
}

#[derive(Debug)]
struct Fragments {
    opcode: Opcode,
    compressed: bool,
    payload: Vec<u8>,
}

impl Partial {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.message.is_none()
    }
}

/// What the rules are on one connection.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) max_message_bytes: usize,
    /// permessage-deflate was agreed.
    pub(super) deflate: bool,
    pub(super) inflater: &'a mut Inflater,
}

/// Takes in what was read and appends the messages that are complete to `out`. On an error those
/// before it are still in `out`.
pub(super) fn receive(
    partial: &mut Option<Box<Partial>>,
    chunk: &mut [u8],
    rules: &mut Rules<'_>,
    out: &mut Vec<Incoming>,
) -> Result<(), ReceiveError> {
    let Some(mut state) = partial.take() else {
        let mut state = Partial::default();
        let used = frames(&mut state, chunk, rules, out)?;
        state.bytes.extend_from_slice(&chunk[used..]);
        if !state.is_empty() {
            *partial = Some(Box::new(state));
        }
        return Ok(());
    };
    let mut bytes = std::mem::take(&mut state.bytes);
    bytes.extend_from_slice(chunk);
    let used = frames(&mut state, &mut bytes, rules, out)?;
    bytes.drain(..used);
    state.bytes = bytes;
    if !state.is_empty() {
        *partial = Some(state);
    }
    Ok(())
}

/// Reads whole frames from the front; how many bytes they were.
fn frames(
    state: &mut Partial,
    bytes: &mut [u8],
    rules: &mut Rules<'_>,
    out: &mut Vec<Incoming>,
) -> Result<usize, ReceiveError> {
    let mut used = 0;
    while let Some(header) = parse_header(&bytes[used..])? {
        check(&header, state, rules)?;
        let start = used + header.header_bytes;
        // The check bounds it, so it fits.
        let end = start + header.payload_bytes as usize;
        let Some(payload) = bytes.get_mut(start..end) else { break };
        if let Some(mask) = header.mask {
            apply_mask(payload, mask, 0);
        }
        used = end;
        frame(&header, payload, state, rules, out)?;
    }
    Ok(used)
}

/// What can be said of a frame before its payload is there.
fn check(header: &Header, state: &Partial, rules: &Rules<'_>) -> Result<(), ReceiveError> {
    if header.mask.is_none() {
        return Err(FrameError::NotMasked.into());
    }
    let starts_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
    if header.rsv1 && !(rules.deflate && starts_message) {
        return Err(FrameError::ReservedBits.into());
    }
    if starts_message && state.message.is_some() {
        return Err(FrameError::InterruptedMessage.into());
    }
    if header.opcode == Opcode::Continuation && state.message.is_none() {
        return Err(FrameError::StrayContinuation.into());
    }
    let before = state.message.as_ref().map_or(0, |message| message.payload.len());
    let max = rules.max_message_bytes;
    if !header.opcode.is_control() && header.payload_bytes > max.saturating_sub(before) as u64 {
        return Err(ReceiveError::TooLarge { max });
    }
    Ok(())
}

fn frame(
    header: &Header,
    payload: &[u8],
    state: &mut Partial,
    rules: &mut Rules<'_>,
    out: &mut Vec<Incoming>,
) -> Result<(), ReceiveError> {
    match header.opcode {
        Opcode::Ping => out.push(Incoming::Ping(payload.to_vec())),
        Opcode::Pong => out.push(Incoming::Pong),
        Opcode::Close => out.push(Incoming::Close(parse_close(payload)?)),
        Opcode::Text | Opcode::Binary if header.fin => {
            out.push(message(header.opcode, header.rsv1, payload.to_vec(), rules)?);
        }
        Opcode::Text | Opcode::Binary => {
            let payload = payload.to_vec();
            let fragments = Fragments { opcode: header.opcode, compressed: header.rsv1, payload };
            state.message = Some(fragments);
        }
        Opcode::Continuation => {
            if let Some(mut fragments) = state.message.take() {
                fragments.payload.extend_from_slice(payload);
                if header.fin {
                    let Fragments { opcode, compressed, payload } = fragments;
                    out.push(message(opcode, compressed, payload, rules)?);
                } else {
                    state.message = Some(fragments);
                }
            }
        }
    }
    Ok(())
}

fn message(
    opcode: Opcode,
    compressed: bool,
    payload: Vec<u8>,
    rules: &mut Rules<'_>,
) -> Result<Incoming, ReceiveError> {
    let max = rules.max_message_bytes;
    let payload = if compressed {
        rules.inflater.inflate(&payload, max).map_err(|error| match error {
            InflateError::Malformed => ReceiveError::Frame(FrameError::BadDeflate),
            InflateError::TooLarge => ReceiveError::TooLarge { max },
        })?
    } else {
        payload
    };
    match opcode {
        Opcode::Text if std::str::from_utf8(&payload).is_err() => Err(ReceiveError::Utf8),
        Opcode::Text => Ok(Incoming::Text(payload)),
        _ => Ok(Incoming::Binary(payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::websocket::put_header;
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
        let mut inflater = Inflater::new();
        let mut rules = Rules { max_message_bytes: 4096, deflate: false, inflater: &mut inflater };
        let (mut partial, mut out) = (None, Vec::new());
        for chunk in chunks {
            let result = receive(&mut partial, &mut chunk.clone(), &mut rules, &mut out);
            if result.is_err() {
                return (out, result, partial.is_some());
            }
        }
        (out, Ok(()), partial.is_some())
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_messages_are_the_same(
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
        fn any_bytes_are_messages_or_an_error(chunks in proptest::collection::vec(any::<Vec<u8>>(), 1..8)) {
            let _ = feed(&chunks);
        }
    }

    #[test]
    fn fragments_join_and_control_frames_may_come_between() {
        let (out, result, _) = feed(&[
            client_frame(Opcode::Text, false, b"Hel"),
            client_frame(Opcode::Ping, true, b"?"),
            client_frame(Opcode::Continuation, true, b"lo"),
        ]);
        assert_eq!(result, Ok(()));
        assert_eq!(out, [Incoming::Ping(b"?".to_vec()), Incoming::Text(b"Hello".to_vec())]);
    }

    #[test]
    fn broken_rules_have_their_error() {
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
