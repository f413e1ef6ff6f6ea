//! permessage-deflate (RFC 7692) for many viewers at once: no viewer owns a compressor.
//!
//! Two ways, agreed in the handshake:
//! - [`single`]: each frame by itself, without context takeover. One compressed frame serves everybody,
//!   whatever else each of them was sent.
//! - [`shared`]: one compressor a stream and encoding, with context takeover: a frame refers to what the
//!   frames before it said, so a comment costs less than half. Who enters waits for a key frame.
//!
//! What viewers send is without context in both, and is inflated by one [`Inflater`](crate::net::websocket::Inflater) per worker.

mod compressors;
mod shared;
mod single;

pub(super) use compressors::Compressors;
pub(super) use shared::{InWindow, Link, StreamDeflate};
pub(super) use single::compress;

use crate::net::websocket::DEFLATE_TAIL as TAIL;
