//! Decompression of permessage-deflate messages (RFC 7692 §7.2.2).

use flate2::{Decompress, FlushDecompress};

use super::DEFLATE_TAIL;

/// Size of the window: a compressed message can refer to this many bytes before it.
pub const WINDOW_BYTES: usize = 32 << 10;
/// Room for a small message; more is taken as needed.
const STEP_BYTES: usize = 4 << 10;

/// Why a compressed message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("a compressed message does not inflate")]
    Malformed,
    #[error("a message inflates to more than the {max} bytes allowed")]
    TooLarge { max: usize },
}

/// Inflates messages. One serves any number of connections, except for [`Self::inflate_next`].
#[derive(Debug)]
pub struct Inflater {
    inflate: Decompress,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { inflate: Decompress::new(false) }
    }
}

impl Inflater {
    /// Inflates a message that was compressed without context.
    pub fn inflate_alone(
        &mut self,
        compressed: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, InflateError> {
        self.inflate.reset(false);
        self.inflate_next(compressed, max_bytes)
    }

    /// Inflates a message that may refer to `window`, the end of the messages before it. The window
    /// is handed in so that viewers of one stream can share it.
    pub fn inflate_after(
        &mut self,
        window: &[u8],
        compressed: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, InflateError> {
        self.inflate.reset(false);
        if !window.is_empty() {
            self.inflate.set_dictionary(window).map_err(|_| InflateError::Malformed)?;
        }
        self.inflate_next(compressed, max_bytes)
    }

    /// Inflates a message that may refer to those this inflater has read since it was made.
    pub fn inflate_next(
        &mut self,
        compressed: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        if !self.inflate_part(compressed, &mut out, max_bytes)? {
            return Err(InflateError::Malformed);
        }
        // A message that ends its deflate stream leaves the tail unread.
        self.inflate_part(&DEFLATE_TAIL, &mut out, max_bytes)?;
        Ok(out)
    }

    /// Appends what `input` inflates to. Returns false if the deflate stream ended before `input`.
    fn inflate_part(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        max_bytes: usize,
    ) -> Result<bool, InflateError> {
        while !input.is_empty() {
            // One byte more than allowed shows that there is more.
            out.reserve(STEP_BYTES.min(max_bytes + 1 - out.len()));
            let total_in = self.inflate.total_in();
            let out_bytes = out.len();
            self.inflate
                .decompress_vec(input, out, FlushDecompress::Sync)
                .map_err(|_| InflateError::Malformed)?;
            let taken = (self.inflate.total_in() - total_in) as usize;
            if out.len() > max_bytes {
                return Err(InflateError::TooLarge { max: max_bytes });
            }
            if taken == 0 && out.len() == out_bytes {
                return Ok(false);
            }
            input = &input[taken..];
        }
        Ok(true)
    }
}

/// Returns the window after a message.
pub fn window_after(window: &[u8], message: &[u8]) -> Vec<u8> {
    let keep = WINDOW_BYTES.saturating_sub(message.len()).min(window.len());
    let kept = &window[window.len() - keep..];
    [kept, &message[message.len() - message.len().min(WINDOW_BYTES)..]].concat()
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    const MAX_BYTES: usize = 4096;

    fn compressor() -> Compress {
        Compress::new(Compression::new(9), false)
    }

    fn compress(with: &mut Compress, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 1024);
        with.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - DEFLATE_TAIL.len());
        out
    }

    proptest! {
        #[test]
        fn compressed_text_inflates(text in "[a-f ]{64,2000}") {
            let compressed = compress(&mut compressor(), text.as_bytes());
            prop_assert!(compressed.len() < text.len());
            let inflated = Inflater::default().inflate_alone(&compressed, 2000).unwrap();
            prop_assert_eq!(inflated, text.as_bytes());
        }

        #[test]
        fn windows_stand_for_the_messages_before(
            texts in prop::collection::vec("[a-d ]{1,4000}", 1..40),
        ) {
            let mut with = compressor();
            let mut inflater = Inflater::default();
            let mut keeping = Inflater::default();
            let mut window = Vec::new();
            for text in &texts {
                let compressed = compress(&mut with, text.as_bytes());
                let message = inflater.inflate_after(&window, &compressed, MAX_BYTES).unwrap();
                prop_assert_eq!(&message, text.as_bytes());
                prop_assert_eq!(keeping.inflate_next(&compressed, MAX_BYTES).unwrap(), message);
                window = window_after(&window, text.as_bytes());
                prop_assert!(window.len() <= WINDOW_BYTES);
            }
        }

        #[test]
        fn any_bytes_inflate_alike_or_are_refused(bytes: Vec<u8>) {
            crate::fuzzing::deflate(&bytes);
        }
    }

    #[test]
    fn a_message_for_another_window_is_refused() {
        let text = b"a text long enough to be referred to as a whole".repeat(4);
        let mut with = compressor();
        compress(&mut with, &text);
        let second = compress(&mut with, &text);
        let mut inflater = Inflater::default();
        let inflated = inflater.inflate_after(&[], &second, MAX_BYTES);
        assert_eq!(inflated, Err(InflateError::Malformed));
        assert_eq!(inflater.inflate_after(&text, &second, MAX_BYTES).unwrap(), text);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = compress(&mut compressor(), &vec![0; 32 << 20]);
        assert!(bomb.len() < 64 << 10);
        for max in [0, MAX_BYTES, 16 << 20] {
            let inflated = Inflater::default().inflate_alone(&bomb, max);
            assert_eq!(inflated, Err(InflateError::TooLarge { max }));
        }
    }

    #[test]
    fn a_limit_is_inclusive() {
        let compressed = compress(&mut compressor(), &[b'x'; 100]);
        assert!(Inflater::default().inflate_alone(&compressed, 100).is_ok());
        assert!(Inflater::default().inflate_alone(&compressed, 99).is_err());
    }

    #[test]
    fn bytes_after_the_end_of_the_stream_are_refused() {
        let mut compressed = Vec::with_capacity(64);
        compressor().compress_vec(b"text", &mut compressed, FlushCompress::Finish).unwrap();
        assert_eq!(Inflater::default().inflate_alone(&compressed, 100).unwrap(), b"text");
        compressed.push(0);
        let inflated = Inflater::default().inflate_alone(&compressed, 100);
        assert_eq!(inflated, Err(InflateError::Malformed));
    }
}
