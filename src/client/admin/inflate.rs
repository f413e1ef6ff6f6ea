//! Answers that the daemon has compressed.

use bytes::BytesMut;
use flate2::{Decompress, FlushDecompress, Status};
use hyper::header::{CONTENT_ENCODING, HeaderMap};

use super::AdminError;

/// The coding that is asked for and read.
pub(super) const CODING: &str = "deflate";
const STEP_BYTES: usize = 32 << 10;

/// Inflates the pieces of one answer.
pub(super) struct AnswerInflater {
    inflate: Decompress,
    step: Vec<u8>,
}

impl AnswerInflater {
    /// Returns an inflater if the head of an answer says that it needs one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let is_deflated = headers.get(CONTENT_ENCODING).is_some_and(|value| value == CODING);
        is_deflated
            .then(|| Self { inflate: Decompress::new(true), step: Vec::with_capacity(STEP_BYTES) })
    }

    /// Appends what a piece of the answer inflates to.
    ///
    /// # Errors
    /// It does not inflate, or `text` would be longer than `max_bytes`.
    pub(super) fn append(
        &mut self,
        mut piece: &[u8],
        text: &mut BytesMut,
        max_bytes: usize,
    ) -> Result<(), AdminError> {
        loop {
            let before = self.inflate.total_in();
            self.step.clear();
            let status = self
                .inflate
                .decompress_vec(piece, &mut self.step, FlushDecompress::Sync)
                .map_err(|error| AdminError::broken("the answer does not inflate", &error))?;
            piece = &piece[(self.inflate.total_in() - before) as usize..];
            text.extend_from_slice(&self.step);
            if text.len() > max_bytes {
                return Err(AdminError::Broken(format!("an answer above {max_bytes} bytes")));
            }
            // Room that is left shows that the piece holds nothing more.
            if status == Status::StreamEnd || self.step.len() < self.step.capacity() {
                return Ok(());
            }
        }
    }
}
