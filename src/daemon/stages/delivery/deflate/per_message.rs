//! Compression of each message by itself, without context takeover.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::TAIL;
use super::compressor::SPARE_BYTES;

/// The default level of zlib. Without context, higher levels find nothing more.
const LEVEL: Compression = Compression::new(6);

/// Deflate does not make smaller messages smaller.
const MIN_BYTES: usize = 64;

thread_local! {
    /// One compressor per thread: its window and hash tables take about 256 KiB.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(LEVEL, false));
}

/// Returns the compressed payload, or `None` if it would not be smaller.
pub(crate) fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < MIN_BYTES {
        return None;
    }
    compress_within(payload, payload.len())
}

/// Returns the compressed payload, even if that is some bytes larger. `None` if it cannot be
/// compressed.
pub(crate) fn compress_always(payload: &[u8]) -> Option<Vec<u8>> {
    compress_within(payload, payload.len() + payload.len() / 1000 + SPARE_BYTES)
}

fn compress_within(payload: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(max_bytes);
        // A sync flush ends in TAIL, unless the output does not fit.
        let status = compress.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        let whole = status == Status::Ok && compress.total_in() == payload.len() as u64;
        (whole && out.ends_with(&TAIL)).then(|| {
            out.truncate(out.len() - TAIL.len());
            out
        })
    })
}
