//! WebSocket without I/O: RFC 6455 framing and handshake, RFC 7692 permessage-deflate.
//!
//! [`frame`] writes and parses single frames, [`FrameReader`] assembles messages from any division
//! into reads, [`handshake`] and [`extensions`] hold what both ends must compute alike, and
//! [`Inflater`] decompresses. None owns a buffer for a connection that has nothing half-received: a
//! library would own two, which is too much for a million idle viewers.

pub mod extensions;
pub mod frame;
pub mod handshake;
mod inflate;
mod reader;
mod text_check;

pub use extensions::Deflate;
pub use frame::{
    CloseStatus, FrameError, Opcode, apply_mask, client_frame, close_frame, parse_header,
    put_header, server_frame,
};
pub use inflate::{InflateError, Inflater, WINDOW_BYTES, window_after};
pub use reader::{FrameReader, Incoming, Message, ReadRules, Side};

/// The bytes that a sender cuts off the end of a compressed message and the receiver puts back (RFC
/// 7692 §7.2.1).
pub const DEFLATE_TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
