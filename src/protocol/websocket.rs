//! RFC 6455 framing, both directions, without I/O: what the delivery workers write and read by hand
//! because a library would own a buffer per connection.

use base64::Engine as _;
use sha1::{Digest as _, Sha1};

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub const MAX_HEADER_BYTES: usize = 14;
/// A control frame's payload has at most this many bytes (§5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The decoded head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub fin: bool,
    /// Set on the first frame of a compressed message (RFC 7692).
    pub rsv1: bool,
    pub opcode: Opcode,
    pub mask: Option<[u8; 4]>,
    pub payload_bytes: u64,
    /// Bytes of the header itself.
    pub header_bytes: usize,
}

/// A broken framing rule; answered with close code 1002.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("reserved bits are set and no extension that uses them was agreed")]
    ReservedBits,
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    #[error("a control frame must be whole and have at most 125 bytes")]
    BadControlFrame,
    #[error("the payload's length is not written in the shortest way")]
    LengthNotMinimal,
    #[error("the payload's length is out of range")]
    LengthOutOfRange,
    #[error("a client's frame must be masked")]
    NotMasked,
    #[error("a continuation without a message to continue")]
    StrayContinuation,
    #[error("a new message before the last one ended")]
    InterruptedMessage,
    #[error("a close frame must be empty or begin with a valid close code")]
    BadClose,
    #[error("the compressed payload does not inflate")]
    BadDeflate,
}

/// Reads a frame's head from the start of `bytes`; `None` while bytes are missing.
pub fn parse_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0x30 != 0 {
        return Err(FrameError::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    let opcode = match first & 0x0F {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        other => return Err(FrameError::UnknownOpcode(other)),
    };
    let short = second & 0x7F;
    if opcode.is_control() && (!fin || short > 125) {
        return Err(FrameError::BadControlFrame);
    }
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let masked = second & 0x80 != 0;
    let header_bytes = 2 + length_bytes + if masked { 4 } else { 0 };
    if bytes.len() < header_bytes {
        return Ok(None);
    }
    let payload_bytes = match length_bytes {
        0 => u64::from(short),
        _ => bytes[2..2 + length_bytes].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    match length_bytes {
        2 if payload_bytes < 126 => return Err(FrameError::LengthNotMinimal),
        8 if payload_bytes <= 0xFFFF => return Err(FrameError::LengthNotMinimal),
        8 if payload_bytes >> 63 != 0 => return Err(FrameError::LengthOutOfRange),
        _ => {}
    }
    let mask = masked.then(|| {
        let at = header_bytes - 4;
        [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
    });
    let rsv1 = first & 0x40 != 0;
    Ok(Some(Header { fin, rsv1, opcode, mask, payload_bytes, header_bytes }))
}

/// Appends the head of a whole, unfragmented frame.
pub fn put_header(
    buffer: &mut Vec<u8>,
    opcode: Opcode,
    rsv1: bool,
    mask: Option<[u8; 4]>,
    payload_bytes: usize,
) {
    buffer.push(0x80 | if rsv1 { 0x40 } else { 0 } | opcode as u8);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload_bytes {
        0..126 => buffer.push(masked | payload_bytes as u8),
        126..0x1_0000 => {
            buffer.push(masked | 126);
            buffer.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            buffer.push(masked | 127);
            buffer.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    buffer.extend(mask.into_iter().flatten());
}

/// A whole server frame: head and payload in one buffer, ready to be written as it is.
pub fn server_frame(opcode: Opcode, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(MAX_HEADER_BYTES + payload.len());
    put_header(&mut frame, opcode, rsv1, None, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// The close frame of a code and a reason; the reason is cut at what a control frame holds.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.bytes().take(MAX_CONTROL_BYTES - 2));
    server_frame(Opcode::Close, false, &payload)
}

/// Applies a mask in place; applying it twice gives the original. `offset` is how many bytes of the
/// payload came before `payload`.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[(offset + at) & 3];
    }
}

/// The code of a close frame's payload: `None` if empty.
pub fn parse_close(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if allowed && std::str::from_utf8(reason).is_ok() {
                Ok(Some(code))
            } else {
                Err(FrameError::BadClose)
            }
        }
        [_] => Err(FrameError::BadClose),
    }
}

/// `Sec-WebSocket-Accept` of a `Sec-WebSocket-Key` (§4.2.2).
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_reads_back_as_it_was_written(
            bytes in 0_usize..200_000, rsv1: bool, mask: Option<[u8; 4]>,
        ) {
            let mut buffer = Vec::new();
            put_header(&mut buffer, Opcode::Binary, rsv1, mask, bytes);
            for cut in 0..buffer.len() {
                prop_assert_eq!(parse_header(&buffer[..cut]), Ok(None));
            }
            let header = parse_header(&buffer).unwrap().unwrap();
            prop_assert_eq!(header.header_bytes, buffer.len());
            prop_assert_eq!(header.payload_bytes, bytes as u64);
            prop_assert_eq!((header.mask, header.rsv1, header.fin), (mask, rsv1, true));
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(bytes: Vec<u8>) {
            if let Ok(Some(header)) = parse_header(&bytes) {
                prop_assert!(header.header_bytes <= bytes.len());
            }
        }

        #[test]
        fn a_mask_undoes_itself(payload: Vec<u8>, mask: [u8; 4], cut in 0_usize..64) {
            let mut twice = payload.clone();
            let cut = cut.min(twice.len());
            let (head, tail) = twice.split_at_mut(cut);
            apply_mask(head, mask, 0);
            apply_mask(tail, mask, cut);
            apply_mask(&mut twice, mask, 0);
            prop_assert_eq!(twice, payload);
        }
    }

    #[test]
    fn the_accept_key_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn lengths_that_are_not_minimal_are_refused() {
        assert_eq!(parse_header(&[0x82, 126, 0, 5]), Err(FrameError::LengthNotMinimal));
        assert_eq!(parse_header(&[0x89, 126, 0, 200]), Err(FrameError::BadControlFrame));
        assert_eq!(parse_header(&[0x09, 0]), Err(FrameError::BadControlFrame));
        assert_eq!(parse_header(&[0x83, 0]), Err(FrameError::UnknownOpcode(3)));
    }
}
