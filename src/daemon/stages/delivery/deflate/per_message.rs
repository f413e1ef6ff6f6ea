//! Compression of each message by itself, without context takeover.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::TAIL;

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
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(payload.len());
        // A sync flush ends in TAIL. Output that does not fit is larger than the input.
        let status = compress.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        let whole = status == Status::Ok && compress.total_in() == payload.len() as u64;
        (whole && out.ends_with(&TAIL)).then(|| {
            out.truncate(out.len() - TAIL.len());
            out
        })
    })
}
