//! What viewers send, compressed without context.

use flate2::{Decompress, FlushDecompress};

use super::TAIL;

/// Why a compressed message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InflateError {
    Malformed,
    TooLarge,
}

/// Decompresses viewers' messages; one a worker.
#[derive(Debug)]
pub(crate) struct Inflater {
    inflate: Decompress,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { inflate: Decompress::new(false) }
    }

    /// The message, of at most `max_bytes`.
    pub(crate) fn inflate(
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
    use crate::daemon::stages::delivery::deflate::compress;
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
