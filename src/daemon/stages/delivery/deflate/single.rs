//! Each message by itself.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::TAIL;

/// zlib's own default: without context the higher levels find nothing more.
const LEVEL: Compression = Compression::new(6);

/// A smaller message is sent as it is: deflate would not make it smaller.
const MIN_BYTES: usize = 64;

thread_local! {
    /// One compressor a thread: its window and hash tables are some 256 KiB.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(LEVEL, false));
}

/// The compressed payload; `None` where it would not be smaller.
pub(crate) fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < MIN_BYTES {
        return None;
    }
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(payload.len());
        // A sync flush ends in TAIL; output that does not fit is larger than the input anyway.
        let status = compress.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        let whole = status == Status::Ok && compress.total_in() == payload.len() as u64;
        (whole && out.ends_with(&TAIL)).then(|| {
            out.truncate(out.len() - TAIL.len());
            out
        })
    })
}
