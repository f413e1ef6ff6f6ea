//! A viewer's side of the wire, for tests: takes frames apart and inflates as RFC 7692 says, with an
//! inflater that keeps its window and knows nothing of key frames.

use flate2::{Decompress, FlushDecompress};

use crate::protocol::ServerMessage;
use crate::protocol::message::{Encoding, json, msgpack};
use crate::protocol::websocket::{Opcode, parse_header};

/// The inflater of one connection.
#[derive(Debug)]
pub(super) struct Inflate(Decompress);

impl Inflate {
    pub(super) fn new() -> Self {
        Self(Decompress::new(false))
    }

    pub(super) fn message(&mut self, compressed: &[u8]) -> Result<Vec<u8>, String> {
        let mut input = [compressed, &[0x00, 0x00, 0xFF, 0xFF]].concat();
        let mut out = Vec::new();
        while !input.is_empty() {
            out.reserve(64 * 1024);
            let before = self.0.total_in();
            let result = self.0.decompress_vec(&input, &mut out, FlushDecompress::Sync);
            result.map_err(|error| error.to_string())?;
            let taken = (self.0.total_in() - before) as usize;
            if taken == 0 && out.len() < out.capacity() {
                return Err("the inflater does not go on".to_owned());
            }
            input.drain(..taken);
        }
        Ok(out)
    }
}

/// What came as one message.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) message: ServerMessage,
    pub(super) compressed: bool,
    /// On the wire, its head included.
    pub(super) bytes: usize,
}

/// One viewer's end: bytes in, messages out.
#[derive(Debug)]
pub(super) struct Peer {
    encoding: Encoding,
    inflate: Inflate,
    bytes: Vec<u8>,
}

impl Peer {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { encoding, inflate: Inflate::new(), bytes: Vec::new() }
    }

    /// The messages that are whole with these bytes.
    ///
    /// # Panics
    /// What came cannot be read.
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
            let payload = match header.rsv1 {
                true => self.inflate.message(payload).expect("a window that fits"),
                false => payload.to_vec(),
            };
            let message = match self.encoding {
                Encoding::Json => json::decode_server(&payload).expect("JSON"),
                Encoding::Msgpack => msgpack::decode_server(&payload).expect("MessagePack"),
            };
            all.push(Read { message, compressed: header.rsv1, bytes: end });
        }
        all
    }

    /// Whether nothing was begun and not finished.
    pub(super) fn is_at_rest(&self) -> bool {
        self.bytes.is_empty()
    }
}
