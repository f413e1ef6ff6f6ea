//! Checks that text which arrives in pieces is UTF-8, so that other bytes are refused before the
//! message is whole (RFC 6455 §8.1).

use super::frame::FrameError;

/// The most bytes of a character without its last one.
const MAX_START: usize = 3;

/// The check of one message. Keeps the start of a character that a piece has cut.
#[derive(Debug, Default)]
pub(super) struct TextCheck {
    start: [u8; MAX_START + 1],
    start_bytes: usize,
}

impl TextCheck {
    /// Adds the next piece.
    ///
    /// # Errors
    /// [`FrameError::NotUtf8`]: no bytes that follow can make the text valid.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), FrameError> {
        while self.start_bytes > 0 {
            let Some((byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.start[self.start_bytes] = *byte;
            self.start_bytes += 1;
            if cut_character(&self.start[..self.start_bytes])?.is_empty() {
                self.start_bytes = 0;
            }
        }
        let cut = cut_character(piece)?;
        self.start[..cut.len()].copy_from_slice(cut);
        self.start_bytes = cut.len();
        Ok(())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`FrameError::NotUtf8`]: its last character is cut.
    pub(super) fn finish(&self) -> Result<(), FrameError> {
        if self.start_bytes == 0 { Ok(()) } else { Err(FrameError::NotUtf8) }
    }
}

/// Returns the start of a character at the end of the text, which is cut there.
fn cut_character(text: &[u8]) -> Result<&[u8], FrameError> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(&[]),
        Err(error) if error.error_len().is_none() => Ok(&text[error.valid_up_to()..]),
        Err(_) => Err(FrameError::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pieces: &[&[u8]]) -> Result<(), FrameError> {
        let mut check = TextCheck::default();
        pieces.iter().try_for_each(|piece| check.push(piece))?;
        check.finish()
    }

    proptest! {
        #[test]
        fn divided_text_is_as_good_as_whole(text: String, cuts in prop::collection::vec(0_usize..9, 0..40)) {
            let mut pieces = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(check(&pieces), Ok(()));
        }

        #[test]
        fn other_bytes_are_refused_as_when_whole(bytes: Vec<u8>) {
            let single: Vec<_> = bytes.chunks(1).collect();
            prop_assert_eq!(check(&single).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }

    #[test]
    fn bytes_are_refused_as_soon_as_they_cannot_be_text() {
        for (before, byte, reason) in [
            (b"\xCE\xBA\xED", b"\xA0", "half of a surrogate pair"),
            (b"\xCE\xBA\xF4", b"\x90", "beyond Unicode"),
        ] {
            let mut check = TextCheck::default();
            assert_eq!(check.push(before), Ok(()), "{reason}");
            assert_eq!(check.push(byte), Err(FrameError::NotUtf8), "{reason}");
        }
    }
}
