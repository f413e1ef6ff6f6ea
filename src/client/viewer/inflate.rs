//! permessage-deflate with the server's context kept (RFC 7692 §7.2.2), without state of its own: what a
//! message refers to is handed in, so that viewers of one stream can share it.

use flate2::{Decompress, FlushDecompress};

use super::ViewerError;

/// What a compressed message can refer to: the last so many bytes of what came compressed before.
pub const WINDOW_BYTES: usize = 32 << 10;
/// As of an uncompressed message.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// What a sender has cut off a message's end.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// Room for a small batch; more is taken as needed.
const STEP_BYTES: usize = 4 << 10;

/// Inflates messages, each behind a window of its own.
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
    /// A message that came after those that `window` is the end of; an empty one for the first.
    ///
    /// # Errors
    /// It is not deflate, refers to more than there is, or is too large.
    pub fn message(&mut self, window: &[u8], compressed: &[u8]) -> Result<Vec<u8>, ViewerError> {
        let broken = |problem: String| {
            ViewerError::BadMessage(format!("a compressed message does not inflate: {problem}"))
        };
        self.inflate.reset(false);
        if !window.is_empty() {
            self.inflate.set_dictionary(window).map_err(|error| broken(error.to_string()))?;
        }
        let mut out = Vec::new();
        for mut input in [compressed, &TAIL] {
            while !input.is_empty() {
                out.reserve(STEP_BYTES);
                let before = (self.inflate.total_in(), out.len());
                self.inflate
                    .decompress_vec(input, &mut out, FlushDecompress::Sync)
                    .map_err(|error| broken(error.to_string()))?;
                let taken = (self.inflate.total_in() - before.0) as usize;
                input = &input[taken..];
                if taken == 0 && out.len() == before.1 {
                    return Err(broken("there is more than its end".to_owned()));
                }
                if out.len() > MAX_MESSAGE_BYTES {
                    return Err(broken("it is too large".to_owned()));
                }
            }
        }
        Ok(out)
    }
}

/// The window after a message.
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

    fn compress(with: &mut Compress, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 1024);
        with.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - TAIL.len());
        out
    }

    proptest! {
        #[test]
        fn a_stream_with_context_is_read_through_windows(
            texts in prop::collection::vec("[a-d ]{1,4000}", 1..40),
        ) {
            let mut with = Compress::new(Compression::new(9), false);
            let mut inflater = Inflater::default();
            let mut window = Vec::new();
            for text in &texts {
                let compressed = compress(&mut with, text.as_bytes());
                let message = inflater.message(&window, &compressed).unwrap();
                prop_assert_eq!(&message, text.as_bytes());
                window = window_after(&window, &message);
                prop_assert!(window.len() <= WINDOW_BYTES);
            }
        }

        #[test]
        fn any_bytes_inflate_or_are_refused(window: Vec<u8>, compressed: Vec<u8>) {
            let _ = Inflater::default().message(&window, &compressed);
        }
    }

    #[test]
    fn what_refers_to_another_window_is_refused_and_a_bomb_too() {
        let text = b"a text long enough to be referred to as a whole".repeat(4);
        let mut with = Compress::new(Compression::new(9), false);
        compress(&mut with, &text);
        let second = compress(&mut with, &text);
        let mut inflater = Inflater::default();
        assert!(inflater.message(&[], &second).is_err());
        assert_eq!(inflater.message(&text, &second).unwrap(), text);
        let bomb = compress(&mut Compress::new(Compression::new(9), false), &vec![0; 32 << 20]);
        assert!(inflater.message(&[], &bomb).is_err());
    }
}
