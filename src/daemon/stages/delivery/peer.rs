//! The viewer's end of a connection, for tests: splits frames and inflates them with a window of
//! its own, as RFC 7692 says.

use crate::net::websocket::{Inflater, Opcode, parse_header};
use crate::protocol::ServerMessage;
use crate::protocol::message::{Encoding, json, msgpack};

/// Bounds an inflated message.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// A received message.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) message: ServerMessage,
    pub(super) compressed: bool,
    /// Size on the wire, with the header.
    pub(super) bytes: usize,
}

/// One viewer's end: bytes in, messages out.
#[derive(Debug)]
pub(super) struct Peer {
    encoding: Encoding,
    inflater: Inflater,
    bytes: Vec<u8>,
}

impl Peer {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { encoding, inflater: Inflater::default(), bytes: Vec::new() }
    }

    /// Returns the messages that these bytes complete.
    ///
    /// # Panics
    ///
    /// If the bytes cannot be read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Read> {
        self.bytes.extend_from_slice(bytes);
        let mut all = Vec::new();
        while let Some(header) = parse_header(&self.bytes).expect("well-formed frames") {
            let end = header.header_bytes + header.payload_bytes as usize;
            if self.bytes.len() < end {
                break;
            }
            let frame: Vec<u8> = self.bytes.drain(..end).collect();
            let payload = &frame[header.header_bytes..];
            let kind = if self.encoding == Encoding::Json { Opcode::Text } else { Opcode::Binary };
            assert_eq!((header.opcode, header.fin), (kind, true));
            let payload = if header.rsv1 {
                let inflated = self.inflater.inflate_next(payload, MAX_MESSAGE_BYTES);
                inflated.expect("a window that fits")
            } else {
                payload.to_vec()
            };
            let message = match self.encoding {
                Encoding::Json => json::decode_server(&payload).expect("JSON"),
                Encoding::Msgpack => msgpack::decode_server(&payload).expect("MessagePack"),
            };
            all.push(Read { message, compressed: header.rsv1, bytes: end });
        }
        all
    }

    /// Reports whether no message is incomplete.
    pub(super) fn is_at_rest(&self) -> bool {
        self.bytes.is_empty()
    }
}
