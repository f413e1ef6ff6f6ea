//! A viewer's half of the framing without I/O (RFC 6455 §5): bytes in, messages out. It owns memory only
//! while a message is incomplete, so ten thousand idle viewers own none.

use std::borrow::Cow;

use super::{Closure, ViewerError};
use crate::protocol::websocket::{
    FrameError, Header, MAX_CONTROL_BYTES, MAX_HEADER_BYTES, Opcode, apply_mask, parse_close,
    parse_header, put_header,
};

/// A message of a server is never larger: a frame of a full batch has some 100 KiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// What a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole message, text or binary.
    Message(Cow<'a, [u8]>),
    /// The same, compressed: a broken rule unless permessage-deflate was agreed.
    Compressed(Cow<'a, [u8]>),
    /// To be answered with a pong of the same payload.
    Ping(Cow<'a, [u8]>),
    /// To be answered in kind; nothing follows.
    Close(Closure),
}

/// A frame's head and payload.
type Frame<'a> = (Header, Cow<'a, [u8]>);

/// Takes frames apart over any division into reads.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Default)]
struct Partial {
    frame: Option<PartialFrame>,
    /// The fragments so far of a message.
    message: Option<Vec<u8>>,
    /// That message is compressed.
    compressed: bool,
}

/// A frame of which only the start has come.
#[derive(Debug)]
enum PartialFrame {
    Head(Vec<u8>),
    /// What follows goes where it stays: a crowd takes a gigabyte a second this way.
    Payload(Header, Vec<u8>),
}

impl FrameReader {
    /// Takes the next message off the front of `input`; `None` when all of it is taken. What is
    /// incomplete is kept for the next call.
    ///
    /// # Errors
    /// A broken rule of framing; the connection is of no use afterwards.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Incoming<'a>>, ViewerError> {
        while let Some((header, payload)) = self.next_frame(input).map_err(broken)? {
            if let Some(incoming) = self.assemble(header, payload).map_err(broken)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// Whether it owns memory.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    fn next_frame<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        let head = match self.partial.as_mut().and_then(|partial| partial.frame.take()) {
            Some(PartialFrame::Payload(header, payload)) => {
                return Ok(self.fill(header, payload, input));
            }
            Some(PartialFrame::Head(head)) => head,
            None => Vec::new(),
        };
        let Some(header) = self.take_head(head, input)? else { return Ok(None) };
        if let Some((payload, rest)) = input.split_at_checked(header.payload_bytes as usize) {
            *input = rest;
            self.let_go();
            return Ok(Some((header, Cow::Borrowed(payload))));
        }
        Ok(self.fill(header, Vec::with_capacity(header.payload_bytes as usize), input))
    }

    /// Takes a head off the front, of which this much came in an earlier read.
    fn take_head(
        &mut self,
        mut head: Vec<u8>,
        input: &mut &[u8],
    ) -> Result<Option<Header>, FrameError> {
        if head.is_empty()
            && let Some(header) = checked_header(input)?
        {
            *input = &input[header.header_bytes..];
            return Ok(Some(header));
        }
        // At most as many turns as a head has bytes.
        while let Some((byte, rest)) = input.split_first() {
            head.push(*byte);
            *input = rest;
            if let Some(header) = checked_header(&head)? {
                return Ok(Some(header));
            }
        }
        if !head.is_empty() {
            self.keep(PartialFrame::Head(head));
        }
        Ok(None)
    }

    /// Adds to a payload that is incomplete; the frame, if it is complete now.
    fn fill<'a>(
        &mut self,
        header: Header,
        mut payload: Vec<u8>,
        input: &mut &'a [u8],
    ) -> Option<Frame<'a>> {
        let missing = header.payload_bytes as usize - payload.len();
        let (more, rest) = input.split_at(missing.min(input.len()));
        payload.extend_from_slice(more);
        *input = rest;
        if more.len() < missing {
            self.keep(PartialFrame::Payload(header, payload));
            return None;
        }
        self.let_go();
        Some((header, Cow::Owned(payload)))
    }

    /// A frame is complete: memory is owned only if its message is not.
    fn let_go(&mut self) {
        self.partial.take_if(|partial| partial.message.is_none());
    }

    fn keep(&mut self, frame: PartialFrame) {
        self.partial.get_or_insert_default().frame = Some(frame);
    }

    /// `None` for what needs no answer: a fragment, a pong.
    fn assemble<'a>(
        &mut self,
        header: Header,
        payload: Cow<'a, [u8]>,
    ) -> Result<Option<Incoming<'a>>, FrameError> {
        let compressed = self.partial.as_ref().is_some_and(|partial| partial.compressed);
        let begun = self.partial.as_mut().and_then(|partial| partial.message.as_mut());
        match (header.opcode, begun) {
            (Opcode::Ping, _) => Ok(Some(Incoming::Ping(payload))),
            (Opcode::Pong, _) => Ok(None),
            (Opcode::Close, _) => Ok(Some(Incoming::Close(closure(&payload)?))),
            (Opcode::Text | Opcode::Binary, None) if header.fin => {
                Ok(Some(Incoming::message(header.rsv1, payload)))
            }
            (Opcode::Text | Opcode::Binary, None) => {
                let partial = self.partial.get_or_insert_default();
                partial.message = Some(payload.into_owned());
                partial.compressed = header.rsv1;
                Ok(None)
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(FrameError::InterruptedMessage),
            (Opcode::Continuation, None) => Err(FrameError::StrayContinuation),
            (Opcode::Continuation, Some(message)) => {
                if message.len() + payload.len() > MAX_MESSAGE_BYTES {
                    return Err(FrameError::LengthOutOfRange);
                }
                message.extend_from_slice(&payload);
                if !header.fin {
                    return Ok(None);
                }
                let message = std::mem::take(message);
                self.partial = None;
                Ok(Some(Incoming::message(compressed, Cow::Owned(message))))
            }
        }
    }
}

impl<'a> Incoming<'a> {
    fn message(compressed: bool, payload: Cow<'a, [u8]>) -> Self {
        if compressed { Self::Compressed(payload) } else { Self::Message(payload) }
    }
}

/// A head that a server may send. What is compressed is for the caller to judge, who knows what was
/// agreed, but it is a message's first frame that says so (RFC 7692 §6.1).
fn checked_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(header) = parse_header(bytes)? else { return Ok(None) };
    let begins_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
    if header.rsv1 && !begins_message || header.mask.is_some() {
        return Err(FrameError::ReservedBits);
    }
    if header.payload_bytes > MAX_MESSAGE_BYTES as u64 {
        return Err(FrameError::LengthOutOfRange);
    }
    Ok(Some(header))
}

fn closure(payload: &[u8]) -> Result<Closure, FrameError> {
    Ok(match parse_close(payload)? {
        None => Closure { number: 1005, reason: String::new() },
        Some(number) => {
            Closure { number, reason: String::from_utf8_lossy(&payload[2..]).into_owned() }
        }
    })
}

fn broken(error: FrameError) -> ViewerError {
    ViewerError::BadMessage(error.to_string())
}

/// A client's control frame, masked as the rules demand; a payload beyond 125 bytes is cut.
pub fn client_control_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL_BYTES)];
    let mut frame = Vec::with_capacity(MAX_HEADER_BYTES + payload.len());
    put_header(&mut frame, opcode, false, Some(mask), payload.len());
    let at = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(&mut frame[at..], mask, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::websocket::{close_frame, server_frame};
    use proptest::prelude::*;

    fn fragment(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = server_frame(opcode, false, payload);
        frame[0] = if fin { 0x80 } else { 0 } | opcode as u8;
        frame
    }

    /// All that comes out when the bytes arrive divided at these places.
    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Incoming<'static>>, ViewerError> {
        let mut reader = FrameReader::default();
        let mut all = Vec::new();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            let mut input = &bytes[pair[0]..pair[1]];
            while let Some(incoming) = reader.next(&mut input)? {
                let own = |payload: Cow<'_, [u8]>| Cow::Owned(payload.into_owned());
                all.push(match incoming {
                    Incoming::Message(payload) => Incoming::Message(own(payload)),
                    Incoming::Compressed(payload) => Incoming::Compressed(own(payload)),
                    Incoming::Ping(payload) => Incoming::Ping(own(payload)),
                    Incoming::Close(closure) => Incoming::Close(closure),
                });
            }
        }
        assert!(!reader.is_partial(), "whole frames leave nothing behind");
        Ok(all)
    }

    proptest! {
        #[test]
        fn messages_survive_any_division_into_reads(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
            parts in 1_usize..4,
            compressed: bool,
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for payload in &payloads {
                let size = payload.len().div_ceil(parts).max(1);
                let mut rest = payload.chunks(size).peekable();
                let mut opcode = Opcode::Binary;
                while let Some(part) = rest.next() {
                    let first = opcode == Opcode::Binary;
                    let at = bytes.len();
                    bytes.extend(fragment(opcode, rest.peek().is_none(), part));
                    bytes[at] |= if first && compressed { 0x40 } else { 0 };
                    // Control frames may come between fragments.
                    bytes.extend(server_frame(Opcode::Ping, false, b"p"));
                    bytes.extend(server_frame(Opcode::Pong, false, b""));
                    opcode = Opcode::Continuation;
                    if rest.peek().is_none() {
                        expected.push(Incoming::message(compressed, Cow::Owned(payload.clone())));
                    }
                    expected.push(Incoming::Ping(Cow::Owned(b"p".to_vec())));
                }
            }
            bytes.extend(close_frame(4000, "shutdown"));
            let closure = Closure { number: 4000, reason: "shutdown".to_owned() };
            expected.push(Incoming::Close(closure));
            prop_assert_eq!(read(&bytes, &cuts).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut input = &bytes[..];
            let mut reader = FrameReader::default();
            while let Ok(Some(_)) = reader.next(&mut input) {}
        }
    }

    #[test]
    fn broken_rules_are_told_apart() {
        let mut masked = Vec::new();
        put_header(&mut masked, Opcode::Text, false, Some([1; 4]), 0);
        let mut huge = vec![0x82, 127];
        huge.extend((MAX_MESSAGE_BYTES as u64 + 1).to_be_bytes());
        let mut interrupted = fragment(Opcode::Text, false, b"a");
        interrupted.extend(fragment(Opcode::Text, true, b"b"));
        for bytes in [
            masked,
            huge,
            interrupted,
            server_frame(Opcode::Continuation, false, b"x"),
            server_frame(Opcode::Ping, true, b"compressed"),
            server_frame(Opcode::Close, false, &[0]),
        ] {
            let mut input = &bytes[..];
            let mut reader = FrameReader::default();
            let error = loop {
                match reader.next(&mut input) {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{bytes:?} was taken"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), "bad_message");
        }
    }

    #[test]
    fn control_frames_are_masked_and_short() {
        let frame = client_control_frame(Opcode::Pong, &[7; 200], [1, 2, 3, 4]);
        let header = parse_header(&frame).unwrap().unwrap();
        assert_eq!((header.opcode, header.payload_bytes), (Opcode::Pong, 125));
        let mut payload = frame[header.header_bytes..].to_vec();
        apply_mask(&mut payload, header.mask.unwrap(), 0);
        assert_eq!(payload, [7; 125]);
    }
}
