//! Recordings of a console's feed: `lc top --record FILE` writes them, `--replay FILE` shows them.
//!
//! In: moments as the console has them, with what happened. Out: the moment of any time, and the
//! figures for the charts before it. Always holds: what was written before a kill is readable; a
//! file that is cut or damaged says where; an existing file is never replaced. When full: moments
//! that come while `MAX_QUEUED` wait for the disk are left out.
//!
//! A file is a sequence of moments, each of two zstd frames, so `zstd -dc FILE` shows them as JSON
//! lines. All numbers are little-endian.
//!
//! 1. A skippable frame (`0x184D2A50`): `LCTOP`, the version 1 (1 byte), the time in ms (8), the
//!    bytes of the next frame (4), 12 figures as `f32` in the order of the charts, NaN if unknown
//!    (48), new happenings as JSON (any), and the CRC-32 of all this (4).
//! 2. A zstd frame with a checksum: the moment as JSON, and a line feed.

mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;

pub(crate) use reader::FeedRecording;
pub(crate) use writer::FeedRecorder;

/// A recording of a feed cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FeedRecordingError {
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "{path} is no recording of lc top (lc replay plays recordings of chat): {why}",
        path = path.display()
    )]
    NotARecording { path: PathBuf, why: String },
    #[error("the moment of {time} is damaged (byte {byte}): {why}")]
    Moment { time: String, byte: u64, why: String },
}
