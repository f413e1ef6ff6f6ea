//! Assembles frames into messages, for either side of a connection.

use std::borrow::Cow;

use super::frame::{
    CloseStatus, FrameError, Header, Opcode, apply_mask, parse_close, parse_header,
};
use super::text_check::TextCheck;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// The rules that the frames of one connection must follow.
#[derive(Debug, Clone, Copy)]
pub struct ReadRules {
    /// The side that sent the frames: a client must mask them, a server must not.
    pub sender: Side,
    pub max_message_bytes: usize,
    /// True if permessage-deflate was agreed.
    pub deflate: bool,
}

/// A message or control frame that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    Message(Message<'a>),
    /// To be answered with a pong of the same payload.
    Ping(Cow<'a, [u8]>),
    Pong,
    /// To be answered in kind; nothing follows.
    Close(CloseStatus),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// [`Opcode::Text`] or [`Opcode::Binary`].
    pub opcode: Opcode,
    /// The payload is still deflated. Text that is not is UTF-8.
    pub compressed: bool,
    pub payload: Cow<'a, [u8]>,
}

/// A frame's header and its payload, unmasked.
type Frame<'a> = (Header, Cow<'a, [u8]>);

/// Reads one side's frames, however they are divided into reads. Owns memory only while a message
/// is incomplete.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Default)]
struct Partial {
    frame: Option<PartialFrame>,
    message: Option<Fragments>,
    /// Of the message that is incomplete, if it is plain text.
    text: TextCheck,
}

/// A frame of which only the start has arrived.
#[derive(Debug)]
enum PartialFrame {
    Header(Vec<u8>),
    /// The payload so far, unmasked. Later reads are appended in place, so that a large message is
    /// copied once.
    Payload(Header, Vec<u8>),
}

/// The fragments so far of a message.
#[derive(Debug)]
struct Fragments {
    opcode: Opcode,
    compressed: bool,
    payload: Vec<u8>,
}

impl FrameReader {
    /// Takes the next message or control frame off the front of `input`. Returns `None` when all of
    /// `input` is taken; the incomplete rest is kept for the next call.
    ///
    /// # Errors
    /// The sender broke a framing rule; the connection cannot be read any further.
    pub fn next<'a>(
        &mut self,
        rules: &ReadRules,
        input: &mut &'a [u8],
    ) -> Result<Option<Incoming<'a>>, FrameError> {
        while let Some((header, payload)) = self.next_frame(rules, input)? {
            if let Some(incoming) = self.assemble(&header, payload)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// Reports whether a message is incomplete, which is when the reader owns memory.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    fn next_frame<'a>(
        &mut self,
        rules: &ReadRules,
        input: &mut &'a [u8],
    ) -> Result<Option<Frame<'a>>, FrameError> {
        let header = match self.partial.as_mut().and_then(|partial| partial.frame.take()) {
            Some(PartialFrame::Payload(header, payload)) => {
                return self.fill(header, payload, input);
            }
            Some(PartialFrame::Header(bytes)) => self.finish_header(rules, bytes, input)?,
            None => self.take_header(rules, input)?,
        };
        let Some(header) = header else { return Ok(None) };
        // The limit of a message bounds it, so it fits.
        let payload_bytes = header.payload_bytes as usize;
        let Some((payload, rest)) = input.split_at_checked(payload_bytes) else {
            return self.fill(header, Vec::with_capacity(payload_bytes), input);
        };
        *input = rest;
        let mut payload = Cow::Borrowed(payload);
        if let Some(mask) = header.mask {
            apply_mask(payload.to_mut(), mask, 0);
        }
        self.check_text(&header, &payload, header.fin)?;
        self.free_if_complete(&header);
        Ok(Some((header, payload)))
    }

    /// Checks a piece of a message, if it is plain text.
    fn check_text(
        &mut self,
        header: &Header,
        piece: &[u8],
        is_last: bool,
    ) -> Result<(), FrameError> {
        let is_text = match self.fragments() {
            Some(fragments) if header.opcode == Opcode::Continuation => {
                fragments.opcode == Opcode::Text && !fragments.compressed
            }
            _ => header.opcode == Opcode::Text && !header.rsv1,
        };
        if !is_text {
            return Ok(());
        }
        let mut whole = TextCheck::default();
        let text = match &mut self.partial {
            Some(partial) => &mut partial.text,
            None if is_last => &mut whole,
            none => &mut none.insert(Box::default()).text,
        };
        text.push(piece)?;
        if is_last { text.finish() } else { Ok(()) }
    }

    /// Takes a header that begins at the front of `input`.
    fn take_header(
        &mut self,
        rules: &ReadRules,
        input: &mut &[u8],
    ) -> Result<Option<Header>, FrameError> {
        if let Some(header) = self.checked_header(rules, input)? {
            *input = &input[header.header_bytes..];
            return Ok(Some(header));
        }
        if !input.is_empty() {
            self.keep(PartialFrame::Header(input.to_vec()));
            *input = &[];
        }
        Ok(None)
    }

    /// Takes the rest of a header whose first `bytes` came with earlier reads.
    fn finish_header(
        &mut self,
        rules: &ReadRules,
        mut bytes: Vec<u8>,
        input: &mut &[u8],
    ) -> Result<Option<Header>, FrameError> {
        // At most as many turns as a header has bytes.
        while let Some((byte, rest)) = input.split_first() {
            bytes.push(*byte);
            *input = rest;
            if let Some(header) = self.checked_header(rules, &bytes)? {
                return Ok(Some(header));
            }
        }
        self.keep(PartialFrame::Header(bytes));
        Ok(None)
    }

    /// Adds to an incomplete payload. Returns the frame if it is complete now.
    fn fill<'a>(
        &mut self,
        header: Header,
        mut payload: Vec<u8>,
        input: &mut &'a [u8],
    ) -> Result<Option<Frame<'a>>, FrameError> {
        let at = payload.len();
        let missing = header.payload_bytes as usize - at;
        let (more, rest) = input.split_at(missing.min(input.len()));
        payload.extend_from_slice(more);
        *input = rest;
        if let Some(mask) = header.mask {
            apply_mask(&mut payload[at..], mask, at);
        }
        let is_whole = more.len() == missing;
        self.check_text(&header, &payload[at..], is_whole && header.fin)?;
        if !is_whole {
            self.keep(PartialFrame::Payload(header, payload));
            return Ok(None);
        }
        self.free_if_complete(&header);
        Ok(Some((header, Cow::Owned(payload))))
    }

    /// Frees memory after a complete frame, unless its message is incomplete.
    fn free_if_complete(&mut self, header: &Header) {
        self.partial.take_if(|partial| header.fin && partial.message.is_none());
    }

    fn keep(&mut self, frame: PartialFrame) {
        self.partial.get_or_insert_default().frame = Some(frame);
    }

    fn fragments(&self) -> Option<&Fragments> {
        self.partial.as_ref().and_then(|partial| partial.message.as_ref())
    }

    /// Parses a header and applies every rule that does not need the payload.
    fn checked_header(
        &self,
        rules: &ReadRules,
        bytes: &[u8],
    ) -> Result<Option<Header>, FrameError> {
        let Some(header) = parse_header(bytes)? else { return Ok(None) };
        match (rules.sender, header.mask) {
            (Side::Client, None) => return Err(FrameError::NotMasked),
            (Side::Server, Some(_)) => return Err(FrameError::Masked),
            _ => {}
        }
        let begins_message = header.opcode.begins_message();
        if header.rsv1 && !(rules.deflate && begins_message) {
            return Err(FrameError::ReservedBits);
        }
        if header.opcode.is_control() {
            return Ok(Some(header));
        }
        let before = match self.fragments() {
            Some(_) if begins_message => return Err(FrameError::InterruptedMessage),
            None if !begins_message => return Err(FrameError::StrayContinuation),
            Some(fragments) => fragments.payload.len(),
            None => 0,
        };
        let max = rules.max_message_bytes;
        if header.payload_bytes > max.saturating_sub(before) as u64 {
            return Err(FrameError::MessageTooLarge { max });
        }
        Ok(Some(header))
    }

    /// Returns `None` for a fragment that does not complete its message.
    fn assemble<'a>(
        &mut self,
        header: &Header,
        payload: Cow<'a, [u8]>,
    ) -> Result<Option<Incoming<'a>>, FrameError> {
        match header.opcode {
            Opcode::Ping => return Ok(Some(Incoming::Ping(payload))),
            Opcode::Pong => return Ok(Some(Incoming::Pong)),
            Opcode::Close => return Ok(Some(Incoming::Close(parse_close(&payload)?))),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {}
        }
        let earlier = self.partial.as_mut().and_then(|partial| partial.message.take());
        let Some(mut fragments) = earlier else {
            let opcode = header.opcode;
            let compressed = header.rsv1;
            if header.fin {
                return Ok(Some(Incoming::Message(Message { opcode, compressed, payload })));
            }
            self.keep_fragments(Fragments { opcode, compressed, payload: payload.into_owned() });
            return Ok(None);
        };
        fragments.payload.extend_from_slice(&payload);
        if !header.fin {
            self.keep_fragments(fragments);
            return Ok(None);
        }
        self.free_if_complete(header);
        let Fragments { opcode, compressed, payload } = fragments;
        let payload = Cow::Owned(payload);
        Ok(Some(Incoming::Message(Message { opcode, compressed, payload })))
    }

    fn keep_fragments(&mut self, fragments: Fragments) {
        self.partial.get_or_insert_default().message = Some(fragments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::websocket::{close_frame, put_header, server_frame};
    use proptest::prelude::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn rules(sender: Side) -> ReadRules {
        ReadRules { sender, max_message_bytes: 4096, deflate: true }
    }

    fn fragment(sender: Side, opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let mask = (sender == Side::Client).then_some(MASK);
        let mut frame = Vec::new();
        put_header(&mut frame, opcode, false, mask, payload.len());
        frame[0] &= if fin { 0xFF } else { 0x7F };
        let at = frame.len();
        frame.extend_from_slice(payload);
        apply_mask(&mut frame[at..], mask.unwrap_or_default(), 0);
        frame
    }

    /// Reads bytes that arrive divided at `cuts`.
    fn read(
        sender: Side,
        bytes: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<Incoming<'static>>, FrameError> {
        let mut reader = FrameReader::default();
        let mut all = Vec::new();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            let mut input = &bytes[pair[0]..pair[1]];
            while let Some(incoming) = reader.next(&rules(sender), &mut input)? {
                let own = |payload: Cow<'_, [u8]>| Cow::Owned(payload.into_owned());
                all.push(match incoming {
                    Incoming::Message(Message { opcode, compressed, payload }) => {
                        let payload = own(payload);
                        Incoming::Message(Message { opcode, compressed, payload })
                    }
                    Incoming::Ping(payload) => Incoming::Ping(own(payload)),
                    Incoming::Pong => Incoming::Pong,
                    Incoming::Close(status) => Incoming::Close(status),
                });
            }
        }
        assert!(!reader.is_partial(), "complete frames leave nothing behind");
        Ok(all)
    }

    proptest! {
        #[test]
        fn messages_survive_any_division_into_reads(
            from_client: bool,
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
            parts in 1_usize..4,
            compressed: bool,
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let sender = if from_client { Side::Client } else { Side::Server };
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for payload in &payloads {
                let size = payload.len().div_ceil(parts).max(1);
                let mut rest = payload.chunks(size).peekable();
                let mut opcode = Opcode::Binary;
                while let Some(part) = rest.next() {
                    let first = opcode == Opcode::Binary;
                    let at = bytes.len();
                    bytes.extend(fragment(sender, opcode, rest.peek().is_none(), part));
                    bytes[at] |= if first && compressed { 0x40 } else { 0 };
                    // Control frames may come between fragments.
                    bytes.extend(fragment(sender, Opcode::Ping, true, b"p"));
                    bytes.extend(fragment(sender, Opcode::Pong, true, b""));
                    opcode = Opcode::Continuation;
                    if rest.peek().is_none() {
                        let payload = Cow::Owned(payload.clone());
                        let message = Message { opcode: Opcode::Binary, compressed, payload };
                        expected.push(Incoming::Message(message));
                    }
                    expected.push(Incoming::Ping(Cow::Owned(b"p".to_vec())));
                    expected.push(Incoming::Pong);
                }
            }
            let close = close_frame(4000, "shutdown");
            bytes.extend(fragment(sender, Opcode::Close, true, &close[2..]));
            let reason = "shutdown".to_owned();
            expected.push(Incoming::Close(CloseStatus { number: 4000, reason }));
            prop_assert_eq!(read(sender, &bytes, &cuts).unwrap(), expected);
        }

        #[test]
        fn any_bytes_read_alike_or_are_refused(bytes: Vec<u8>) {
            crate::fuzzing::frame(&bytes);
        }
    }

    #[test]
    fn each_broken_rule_has_its_error() {
        let of_server = |opcode, fin, payload: &[u8]| fragment(Side::Server, opcode, fin, payload);
        let of_client = |opcode, fin, payload: &[u8]| fragment(Side::Client, opcode, fin, payload);
        let too_large = FrameError::MessageTooLarge { max: 4096 };
        let mut huge = vec![0x82, 127];
        huge.extend((1_u64 << 40).to_be_bytes());
        let interrupted =
            [of_server(Opcode::Text, false, b"a"), of_server(Opcode::Text, true, b"b")].concat();
        let halves = [
            of_client(Opcode::Text, false, &[b'x'; 4000]),
            of_client(Opcode::Continuation, true, &[b'x'; 97]),
        ]
        .concat();
        for (sender, bytes, expected) in [
            (Side::Server, of_client(Opcode::Text, true, b""), FrameError::Masked),
            (Side::Client, of_server(Opcode::Text, true, b""), FrameError::NotMasked),
            (Side::Server, huge, too_large),
            (Side::Client, halves, too_large),
            (Side::Server, interrupted, FrameError::InterruptedMessage),
            (
                Side::Server,
                of_server(Opcode::Continuation, true, b"x"),
                FrameError::StrayContinuation,
            ),
            (Side::Server, server_frame(Opcode::Ping, true, b"x"), FrameError::ReservedBits),
            (Side::Server, server_frame(Opcode::Close, false, &[0]), FrameError::BadClose),
            (
                Side::Client,
                [
                    of_client(Opcode::Text, false, b"\xCE\xBA\xED"),
                    of_client(Opcode::Ping, true, b"\xFF"),
                    of_client(Opcode::Continuation, false, b"\xA0"),
                ]
                .concat(),
                FrameError::NotUtf8,
            ),
            (
                Side::Client,
                of_client(Opcode::Text, true, b"a \xFF and more to come")[..12].to_vec(),
                FrameError::NotUtf8,
            ),
        ] {
            assert_eq!(read(sender, &bytes, &[]).unwrap_err(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn compressed_needs_an_agreement() {
        let rules = ReadRules { deflate: false, ..rules(Side::Server) };
        let frame = server_frame(Opcode::Text, true, b"x");
        let read = FrameReader::default().next(&rules, &mut &frame[..]).map(|_| ());
        assert_eq!(read, Err(FrameError::ReservedBits));
    }
}
