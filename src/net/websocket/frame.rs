//! Single WebSocket frames, in both directions (RFC 6455 §5).

use crate::protocol::CloseCode;

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub const MAX_HEADER_BYTES: usize = 14;
/// The longest payload of a control frame (§5.5).
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

    /// Reports whether a frame with this opcode begins a message.
    pub fn begins_message(self) -> bool {
        matches!(self, Self::Text | Self::Binary)
    }
}

/// A decoded frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub fin: bool,
    /// Set on the first frame of a compressed message (RFC 7692).
    pub rsv1: bool,
    pub opcode: Opcode,
    pub mask: Option<[u8; 4]>,
    pub payload_bytes: u64,
    /// Length of the header itself.
    pub header_bytes: usize,
}

/// A violation of the framing rules. The connection cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("reserved bits are set without an extension that uses them")]
    ReservedBits,
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    #[error("a control frame must not be fragmented and has at most 125 bytes")]
    BadControlFrame,
    #[error("the payload length is not encoded in the shortest form")]
    LengthNotMinimal,
    #[error("the payload length is out of range")]
    LengthOutOfRange,
    #[error("a client's frame must be masked")]
    NotMasked,
    #[error("a server's frame must not be masked")]
    Masked,
    #[error("a continuation frame without a message to continue")]
    StrayContinuation,
    #[error("a new message began before the last one ended")]
    InterruptedMessage,
    #[error("a close frame must be empty or begin with a valid close code")]
    BadClose,
    #[error("a message has more bytes than the {max} allowed")]
    MessageTooLarge { max: usize },
    #[error("a text message is not UTF-8")]
    NotUtf8,
}

/// Code and reason of a close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseStatus {
    /// [`CloseStatus::ABSENT`] if the frame had none.
    pub number: u16,
    pub reason: String,
}

impl CloseStatus {
    /// Stands for a close frame without a code; never sent (§7.4.1).
    pub const ABSENT: u16 = 1005;

    /// Returns the code if it is one of this system's.
    pub fn code(&self) -> Option<CloseCode> {
        CloseCode::from_number(self.number)
    }

    /// Returns the number to answer the close frame with.
    pub fn answer(&self) -> u16 {
        match self.number {
            Self::ABSENT => CloseCode::Normal.number(),
            number => number,
        }
    }
}

impl std::fmt::Display for CloseStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{} {}", self.number, code.as_str()),
            None => write!(f, "{} {}", self.number, self.reason),
        }
    }
}

/// Parses the header at the start of `bytes`. Returns `None` while bytes are missing.
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

/// Appends the header of an unfragmented frame.
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

/// Returns a server's frame, header and payload, ready to be written.
pub fn server_frame(opcode: Opcode, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(MAX_HEADER_BYTES + payload.len());
    put_header(&mut frame, opcode, rsv1, None, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// Returns a client's control frame; a payload beyond [`MAX_CONTROL_BYTES`] is cut.
pub fn client_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL_BYTES)];
    let mut frame = Vec::with_capacity(MAX_HEADER_BYTES + payload.len());
    put_client_frame(&mut frame, opcode, payload, mask);
    frame
}

/// Appends a client's frame, header and masked payload.
pub fn put_client_frame(buffer: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    put_header(buffer, opcode, false, Some(mask), payload.len());
    let at = buffer.len();
    buffer.extend_from_slice(payload);
    apply_mask(&mut buffer[at..], mask, 0);
}

/// Returns a server's close frame; a reason too long for a control frame is cut.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_BYTES - 2)];
    payload.extend_from_slice(reason.as_bytes());
    server_frame(Opcode::Close, false, &payload)
}

/// Masks or unmasks in place. `offset` is the position of `payload` within the frame's payload.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[(offset + at) & 3];
    }
}

/// Parses the payload of a close frame.
pub fn parse_close(payload: &[u8]) -> Result<CloseStatus, FrameError> {
    let [high, low, reason @ ..] = payload else {
        return match payload {
            [] => Ok(CloseStatus { number: CloseStatus::ABSENT, reason: String::new() }),
            _ => Err(FrameError::BadClose),
        };
    };
    let number = u16::from_be_bytes([*high, *low]);
    let allowed = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
    match std::str::from_utf8(reason) {
        Ok(reason) if allowed => Ok(CloseStatus { number, reason: reason.to_owned() }),
        _ => Err(FrameError::BadClose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_read_back_as_written(
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
        fn any_bytes_parse_or_are_refused(bytes: Vec<u8>) {
            if let Ok(Some(header)) = parse_header(&bytes) {
                prop_assert!(header.header_bytes <= bytes.len());
            }
        }

        #[test]
        fn masking_twice_restores_the_payload(payload: Vec<u8>, mask: [u8; 4], cut in 0_usize..64) {
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
    fn lengths_must_be_minimal() {
        assert_eq!(parse_header(&[0x82, 126, 0, 5]), Err(FrameError::LengthNotMinimal));
        assert_eq!(parse_header(&[0x89, 126, 0, 200]), Err(FrameError::BadControlFrame));
        assert_eq!(parse_header(&[0x09, 0]), Err(FrameError::BadControlFrame));
        assert_eq!(parse_header(&[0x83, 0]), Err(FrameError::UnknownOpcode(3)));
    }

    #[test]
    fn client_control_frames_are_masked_and_short() {
        let frame = client_frame(Opcode::Pong, &[7; 200], [1, 2, 3, 4]);
        let header = parse_header(&frame).unwrap().unwrap();
        assert_eq!((header.opcode, header.payload_bytes), (Opcode::Pong, 125));
        let mut payload = frame[header.header_bytes..].to_vec();
        apply_mask(&mut payload, header.mask.unwrap(), 0);
        assert_eq!(payload, [7; 125]);
    }

    #[test]
    fn close_payloads_need_a_valid_code_and_utf8() {
        let status = |number, reason: &str| CloseStatus { number, reason: reason.to_owned() };
        assert_eq!(parse_close(b""), Ok(status(CloseStatus::ABSENT, "")));
        let frame = close_frame(4000, "shutdown");
        assert_eq!(parse_close(&frame[2..]), Ok(status(4000, "shutdown")));
        for payload in [&[3][..], &[3, 237], &[0, 1], &[3, 232, 0xFF]] {
            assert_eq!(parse_close(payload), Err(FrameError::BadClose), "{payload:?}");
        }
    }
}
