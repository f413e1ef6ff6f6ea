//! permessage-deflate (RFC 7692) without context takeover: every message stands alone, so one
//! compressed frame serves all viewers and no viewer owns a compressor.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// A smaller message is sent as it is: deflate would not make it smaller.
const MIN_BYTES: usize = 64;

/// What RFC 7692 §7.2.1 cuts off a message's end and a receiver puts back.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

thread_local! {
    /// One compressor a thread: its window and hash tables are some 256 KiB.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(6), false));
}

/// The compressed payload; `None` where it would not be smaller.
pub(super) fn compress(payload: &[u8]) -> Option<Vec<u8>> {
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

/// Why a compressed message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InflateError {
    Malformed,
    TooLarge,
}

/// Decompresses viewers' messages; one a worker.
#[derive(Debug)]
pub(super) struct Inflater {
    inflate: Decompress,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(false) }
    }

    /// The message, of at most `max_bytes`.
    pub(super) fn inflate(
        &mut self,
        payload: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, InflateError> {
        self.inflate.reset(false);
        let mut input = Vec::with_capacity(payload.len() + TAIL.len());
        input.extend_from_slice(payload);
        input.extend_from_slice(&TAIL);
        // One byte more than allowed shows that there is more.
        let mut out = Vec::with_capacity(max_bytes + 1);
        let status = self.inflate.decompress_vec(&input, &mut out, FlushDecompress::Sync);
        match status {
            Err(_) => Err(InflateError::Malformed),
            Ok(_) if out.len() > max_bytes => Err(InflateError::TooLarge),
            Ok(_) if self.inflate.total_in() < payload.len() as u64 => Err(InflateError::Malformed),
            Ok(_) => Ok(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_compressed_inflates(text in "[a-f ]{64,2000}") {
            let compressed = compress(text.as_bytes()).expect("repetitive text gets smaller");
            prop_assert!(compressed.len() < text.len());
            let inflated = Inflater::new().inflate(&compressed, 2000).unwrap();
            prop_assert_eq!(inflated, text.as_bytes());
        }

        #[test]
        fn any_bytes_inflate_or_are_refused(bytes: Vec<u8>) {
            let _ = Inflater::new().inflate(&bytes, 100);
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = compress(&vec![b'x'; 1 << 20]).unwrap();
        assert!(bomb.len() < 4096);
        assert_eq!(Inflater::new().inflate(&bomb, 4096), Err(InflateError::TooLarge));
    }
}
