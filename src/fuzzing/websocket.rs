//! Frames and compressed messages.

use std::borrow::Cow;

use flate2::{Compress, Compression, FlushCompress};

use super::choices;
use crate::net::websocket::frame::{
    MAX_CONTROL_BYTES, MAX_HEADER_BYTES, parse_header, put_client_frame,
};
use crate::net::websocket::{
    CloseStatus, DEFLATE_TAIL, FrameError, FrameReader, Incoming, InflateError, Inflater, Message,
    Opcode, ReadRules, Side, WINDOW_BYTES, server_frame, window_after,
};

const MAX_MESSAGE_BYTES: usize = 1000;
const MASK: [u8; 4] = [0x5A, 0x00, 0xFF, 0x13];

/// Bytes of a connection. Two choices: the side that sends and whether compression was agreed; the
/// size of the reads.
pub fn frame(data: &[u8]) {
    let ([mode, read_bytes], stream) = choices(data);
    let sender = if mode & 1 == 0 { Side::Client } else { Side::Server };
    let max_message_bytes = MAX_MESSAGE_BYTES;
    let rules = ReadRules { sender, max_message_bytes, deflate: mode & 2 != 0 };
    check_header(stream);
    let whole = read(&rules, stream, stream.len());
    let divided = read(&rules, stream, usize::from(read_bytes));
    assert_eq!(whole, divided, "the division into reads changes nothing");
    for incoming in &whole.incoming {
        match incoming {
            Incoming::Message(message) => assert!(message.payload.len() <= MAX_MESSAGE_BYTES),
            Incoming::Ping(payload) => assert!(payload.len() <= MAX_CONTROL_BYTES),
            Incoming::Close(status) => assert!(status.reason.len() <= MAX_CONTROL_BYTES - 2),
            Incoming::Pong => {}
        }
    }
    let again: Vec<u8> = whole.incoming.iter().flat_map(|it| write(sender, it)).collect();
    let again = read(&rules, &again, usize::from(read_bytes));
    let expected = Read { incoming: whole.incoming, error: None, is_partial: false };
    assert_eq!(again, expected, "what was read can be written and read again");
}

fn check_header(stream: &[u8]) {
    if let Ok(Some(header)) = parse_header(stream) {
        assert!(header.header_bytes <= stream.len().min(MAX_HEADER_BYTES));
        let shorter = parse_header(&stream[..header.header_bytes - 1]);
        assert_eq!(shorter, Ok(None), "a header needs each of its bytes");
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Read {
    incoming: Vec<Incoming<'static>>,
    error: Option<FrameError>,
    is_partial: bool,
}

fn read(rules: &ReadRules, stream: &[u8], read_bytes: usize) -> Read {
    let mut reader = FrameReader::default();
    let mut incoming = Vec::new();
    let mut error = None;
    'stream: for mut input in stream.chunks(read_bytes.max(1)) {
        loop {
            match reader.next(rules, &mut input) {
                Ok(Some(next)) => incoming.push(owned(next)),
                Ok(None) => break,
                Err(broken) => {
                    error = Some(broken);
                    break 'stream;
                }
            }
        }
        assert!(input.is_empty(), "a read is taken whole");
    }
    // After an error nothing more is read, so what is left of the message does not matter.
    let is_partial = error.is_none() && reader.is_partial();
    Read { incoming, error, is_partial }
}

fn owned(incoming: Incoming<'_>) -> Incoming<'static> {
    let own = |payload: Cow<'_, [u8]>| Cow::Owned(payload.into_owned());
    match incoming {
        Incoming::Message(Message { opcode, compressed, payload }) => {
            Incoming::Message(Message { opcode, compressed, payload: own(payload) })
        }
        Incoming::Ping(payload) => Incoming::Ping(own(payload)),
        Incoming::Pong => Incoming::Pong,
        Incoming::Close(status) => Incoming::Close(status),
    }
}

fn write(sender: Side, incoming: &Incoming<'_>) -> Vec<u8> {
    let close = |status: &CloseStatus| match status.number {
        CloseStatus::ABSENT => Vec::new(),
        number => [&number.to_be_bytes(), status.reason.as_bytes()].concat(),
    };
    let (opcode, compressed, payload) = match incoming {
        Incoming::Message(Message { opcode, compressed, payload }) => {
            (*opcode, *compressed, payload.to_vec())
        }
        Incoming::Ping(payload) => (Opcode::Ping, false, payload.to_vec()),
        Incoming::Pong => (Opcode::Pong, false, Vec::new()),
        Incoming::Close(status) => (Opcode::Close, false, close(status)),
    };
    if sender == Side::Server {
        return server_frame(opcode, compressed, &payload);
    }
    let mut frame = Vec::new();
    put_client_frame(&mut frame, opcode, &payload, MASK);
    frame[0] |= if compressed { 0x40 } else { 0 };
    frame
}

/// Compressed messages. Two choices: the limit in units of 16 bytes, and where the input is
/// divided into window and message.
pub fn deflate(data: &[u8]) {
    let ([limit, cut], data) = choices(data);
    let max_bytes = usize::from(limit) * 16;
    let (window, message) = data.split_at(data.len() * usize::from(cut) / 256);
    any_bytes_inflate_alike(window, message, max_bytes);
    text_survives(message, max_bytes);
    // A compressor writes nothing for a second flush without text between.
    if !window.is_empty() && !message.is_empty() {
        windows_stand_for_earlier_messages(window, message);
    }
}

/// Bytes of a stranger: bounded, and the same from a fresh inflater and from a used one.
fn any_bytes_inflate_alike(window: &[u8], compressed: &[u8], max_bytes: usize) {
    let mut used = Inflater::default();
    let first = used.inflate_alone(compressed, max_bytes);
    let _ = used.inflate_next(window, max_bytes);
    assert_eq!(used.inflate_alone(compressed, max_bytes), first, "nothing is left of before");
    match first {
        Ok(message) => {
            assert!(message.len() <= max_bytes);
            let exact = Inflater::default().inflate_alone(compressed, message.len());
            assert_eq!(exact, Ok(message), "a limit is inclusive");
        }
        Err(InflateError::TooLarge { max }) => assert_eq!(max, max_bytes),
        Err(InflateError::Malformed) => {}
    }
    let short_window = &window[window.len().saturating_sub(WINDOW_BYTES)..];
    if let Ok(message) = used.inflate_after(short_window, compressed, max_bytes) {
        assert!(message.len() <= max_bytes);
    }
}

fn text_survives(text: &[u8], max_bytes: usize) {
    let mut compressed = Vec::with_capacity(text.len() + 1024);
    let mut compress = Compress::new(Compression::new(6), false);
    compress.compress_vec(text, &mut compressed, FlushCompress::Sync).expect("it has room");
    assert!(compressed.ends_with(&DEFLATE_TAIL));
    compressed.truncate(compressed.len() - DEFLATE_TAIL.len());
    let inflated = Inflater::default().inflate_alone(&compressed, max_bytes);
    let expected = match text.len() {
        bytes if bytes <= max_bytes => Ok(text.to_vec()),
        _ => Err(InflateError::TooLarge { max: max_bytes }),
    };
    assert_eq!(inflated, expected);
    // RFC 7692 §7.2.3.4: the deflate stream may end, with or without an empty block after it.
    let mut ended = Vec::with_capacity(text.len() + 1024);
    compress.reset();
    compress.compress_vec(text, &mut ended, FlushCompress::Finish).expect("it has room");
    assert_eq!(Inflater::default().inflate_alone(&ended, max_bytes), expected);
    ended.push(0);
    assert_eq!(Inflater::default().inflate_alone(&ended, max_bytes), expected);
}

fn windows_stand_for_earlier_messages(first: &[u8], second: &[u8]) {
    let mut compress = Compress::new(Compression::new(6), false);
    let mut next = |text: &[u8]| {
        let mut out = Vec::with_capacity(text.len() + 1024);
        compress.compress_vec(text, &mut out, FlushCompress::Sync).expect("it has room");
        out.truncate(out.len() - DEFLATE_TAIL.len());
        out
    };
    let compressed = [next(first), next(second)];
    let window = window_after(&[], first);
    assert!(window.len() <= WINDOW_BYTES && first.ends_with(&window));
    let max = first.len().max(second.len());
    let mut keeping = Inflater::default();
    assert_eq!(keeping.inflate_next(&compressed[0], max).as_deref(), Ok(first));
    assert_eq!(keeping.inflate_next(&compressed[1], max).as_deref(), Ok(second));
    let after = Inflater::default().inflate_after(&window, &compressed[1], max);
    assert_eq!(after.as_deref(), Ok(second));
    let both = [first, second].concat();
    let window = window_after(&window, second);
    assert!(window.len() <= WINDOW_BYTES && both.ends_with(&window));
}
