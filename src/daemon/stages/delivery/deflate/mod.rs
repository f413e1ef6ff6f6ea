//! permessage-deflate (RFC 7692) for many viewers at once. No viewer owns a compressor.
//!
//! # Terms
//!
//! - The *window* is the text, at most 32 KiB of it, that a deflate stream may refer back to. With
//!   context takeover it reaches over message boundaries, so a frame can refer to earlier frames
//!   and a comment costs less than half of its plain bytes.
//! - The *shared window* is one such window for all viewers of a stream that use the same encoding.
//!   One compressor writes it, and all viewers are sent the same compressed bytes.
//! - A *key frame* refers to nothing before it. The compressor is reset in front of it; because the
//!   frame before ended in a flush, a receiver cannot tell the new deflate stream from the old one.
//!   A joining viewer can therefore start at any key frame.
//! - The *position in the window* of a viewer ([`WindowPosition`]) is the number of the last
//!   compressed frame it was sent. It can read the frame with the next number, and every key frame.
//!
//! # Modes
//!
//! The handshake agrees on one of two:
//! - [`per_message`]: no context takeover. Each frame is compressed by itself, and the result
//!   serves every viewer.
//! - [`shared_window`]: context takeover. A viewer outside the window is sent frames that are
//!   compressed by themselves until the next key frame.
//!
//! Viewers themselves always compress without context; each worker has one
//! [`Inflater`](crate::net::websocket::Inflater) for them.

mod compressor;
mod compressors;
mod per_message;
mod shared_window;

#[cfg(test)]
pub(super) use compressor::{Compressor, CompressorLimits};
pub(super) use compressors::Compressors;
pub(super) use per_message::{compress, compress_always};
pub(super) use shared_window::{StreamWindow, WindowFrame, WindowPosition};

use crate::net::websocket::DEFLATE_TAIL as TAIL;
