//! Decompression of permessage-deflate messages (RFC 7692 §7.2.2).

use std::borrow::Cow;

use flate2::{Decompress, FlushDecompress, Status};

use super::DEFLATE_TAIL;

/// Size of the window: a compressed message can refer to this many bytes before it.
pub const WINDOW_BYTES: usize = 32 << 10;
/// Room for a small message; more is taken as needed.
const STEP_BYTES: usize = 4 << 10;
/// Blocks with BFINAL set in one message. Each costs a copy of the window, and none needs more than
/// one per fragment that its sender flushed.
const MAX_FINAL_BLOCKS: usize = 256;

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
        self.restart_after(window)?;
        self.inflate_blocks(window, compressed, max_bytes)
    }

    /// Inflates a message that may refer to those this inflater has read since it was made. After a
    /// block with BFINAL set, to those of the same message only.
    pub fn inflate_next(
        &mut self,
        compressed: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, InflateError> {
        self.inflate_blocks(&[], compressed, max_bytes)
    }

    /// Inflates a message after `window`, which the inflater has already. A block with BFINAL set
    /// does not end the message: the next block begins at the next byte (RFC 7692 §7.2.3.4).
    fn inflate_blocks(
        &mut self,
        window: &[u8],
        compressed: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        let mut rest = compressed;
        let mut window = Cow::Borrowed(window);
        for _ in 0..=MAX_FINAL_BLOCKS {
            let began = out.len();
            match self.inflate_part(rest, &mut out, max_bytes)? {
                Part::Read => {
                    // The last block of the message continues into the tail that was cut off.
                    self.inflate_part(&DEFLATE_TAIL, &mut out, max_bytes)?;
                    return Ok(out);
                }
                // The message ends with the block itself.
                Part::Ended { left: 0 } => return Ok(out),
                Part::Ended { left } => {
                    rest = &rest[rest.len() - left..];
                    window = window_after(&window, &out[began..]).into();
                    self.restart_after(&window)?;
                }
            }
        }
        Err(InflateError::Malformed)
    }

    /// Begins a new deflate stream that may refer to `window`.
    fn restart_after(&mut self, window: &[u8]) -> Result<(), InflateError> {
        self.inflate.reset(false);
        if !window.is_empty() {
            self.inflate.set_dictionary(window).map_err(|_| InflateError::Malformed)?;
        }
        Ok(())
    }

    /// Appends what `input` inflates to, up to the end of `input` or of the deflate stream.
    fn inflate_part(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        max_bytes: usize,
    ) -> Result<Part, InflateError> {
        loop {
            // One byte more than allowed shows that there is more.
            out.reserve(STEP_BYTES.min(max_bytes + 1 - out.len()));
            let total_in = self.inflate.total_in();
            let out_bytes = out.len();
            let status = self
                .inflate
                .decompress_vec(input, out, FlushDecompress::Sync)
                .map_err(|_| InflateError::Malformed)?;
            let taken = (self.inflate.total_in() - total_in) as usize;
            input = &input[taken..];
            if out.len() > max_bytes {
                return Err(InflateError::TooLarge { max: max_bytes });
            }
            if status == Status::StreamEnd {
                return Ok(Part::Ended { left: input.len() });
            }
            // Output that did not fit comes with the next input, at the latest with the tail.
            if input.is_empty() {
                return Ok(Part::Read);
            }
            if taken == 0 && out.len() == out_bytes {
                return Err(InflateError::Malformed);
            }
        }
    }
}

/// The place where the inflater stopped.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// To the end.
    Read,
    /// To the end of a block with BFINAL set.
    Ended { left: usize },
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

        /// However the sender divides a message into blocks, and whichever of them it marks as the
        /// last, the same text comes out.
        #[test]
        fn any_division_into_blocks_inflates(
            parts in prop::collection::vec(("[a-d ]{0,300}", any::<bool>(), any::<bool>()), 0..20),
        ) {
            let text: String = parts.iter().map(|(part, ..)| part.as_str()).collect();
            let mut compressed = Vec::new();
            let mut with = compressor();
            for (part, ends, is_stored) in &parts {
                if *is_stored {
                    // In its own stream, so that it may follow an end.
                    with = Compress::new(Compression::none(), false);
                }
                let flush = if *ends { FlushCompress::Finish } else { FlushCompress::Full };
                let mut block = Vec::with_capacity(part.len() + 1024);
                with.compress_vec(part.as_bytes(), &mut block, flush).unwrap();
                compressed.extend(block);
                if *ends || *is_stored {
                    with = compressor();
                }
            }
            compressed.extend(compress(&mut compressor(), b""));
            let inflated = Inflater::default().inflate_alone(&compressed, MAX_BYTES * 2).unwrap();
            prop_assert_eq!(String::from_utf8(inflated).unwrap(), text);
        }

        /// The output of damaged bytes is never more than allowed, the same on every reading, and
        /// not changed by what the inflater read before.
        #[test]
        fn damaged_bytes_inflate_the_same_every_time(
            text in "[a-f ]{0,300}",
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            window: Vec<u8>,
            max in 0_usize..400,
        ) {
            let mut compressed = compress(&mut compressor(), text.as_bytes());
            for (at, byte) in &damage {
                if !compressed.is_empty() {
                    let at = at.index(compressed.len());
                    compressed[at] = *byte;
                }
            }
            let alone = Inflater::default().inflate_alone(&compressed, max);
            if let Ok(inflated) = &alone {
                prop_assert!(inflated.len() <= max);
            }
            if damage.is_empty() {
                let expected = if text.len() <= max {
                    Ok(text.into_bytes())
                } else {
                    Err(InflateError::TooLarge { max })
                };
                prop_assert_eq!(&alone, &expected);
            }
            let mut used = Inflater::default();
            let _ = used.inflate_after(&window, &compressed, MAX_BYTES);
            prop_assert_eq!(used.inflate_alone(&compressed, max), alone);
        }
    }

    /// The examples of RFC 7692 §7.2.3, as they are printed there.
    #[test]
    fn examples_of_the_rfc_inflate() {
        for (what, compressed) in [
            ("one block", &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..]),
            (
                "a block without compression",
                &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            ),
            ("a block with BFINAL", &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]),
            (
                "two blocks",
                &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
            ),
            ("BFINAL and nothing after it", &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
        ] {
            let inflated = Inflater::default().inflate_alone(compressed, 5);
            assert_eq!(inflated.as_deref(), Ok(&b"Hello"[..]), "{what}");
            let window = b"unrelated".repeat(9);
            let inflated = Inflater::default().inflate_after(&window, compressed, 5);
            assert_eq!(inflated.as_deref(), Ok(&b"Hello"[..]), "{what} after a window");
        }
        for empty in [&[0x00][..], &[0x02, 0x00], &[0x03, 0x00], &[0x03, 0x00, 0x00], &[]] {
            assert_eq!(Inflater::default().inflate_alone(empty, 0).as_deref(), Ok(&b""[..]));
        }
    }

    #[test]
    fn final_blocks_are_bounded() {
        let many = |count| [0x03_u8, 0x00].repeat(count);
        assert!(Inflater::default().inflate_alone(&many(MAX_FINAL_BLOCKS), 0).is_ok());
        let inflated = Inflater::default().inflate_alone(&many(MAX_FINAL_BLOCKS + 2), 0);
        assert_eq!(inflated, Err(InflateError::Malformed));
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
    fn bytes_after_a_final_block_must_be_blocks() {
        let mut compressed = Vec::with_capacity(64);
        compressor().compress_vec(b"text", &mut compressed, FlushCompress::Finish).unwrap();
        assert_eq!(Inflater::default().inflate_alone(&compressed, 100).unwrap(), b"text");
        compressed.push(0b110);
        let inflated = Inflater::default().inflate_alone(&compressed, 100);
        assert_eq!(inflated, Err(InflateError::Malformed), "block type 3 does not exist");
    }
}
