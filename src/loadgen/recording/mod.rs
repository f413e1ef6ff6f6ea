//! Recordings of chat. `lc record` and `lc import` write them; `lc replay` and `lc loadgen
//! --replay` read them. `docs/recording.md` is the description for others.
//!
//! A recording is a sequence of lines ([`RecordedEvent`]): JSON, or JSON compressed with zstd
//! ([`archive`]) or, as written earlier, with gzip. Which one it is, is read off the first bytes.
//!
//! Always holds: times only move forward. An end that was cut off costs only what was cut, and the
//! reader says so. When full: a reader holds one frame of at most 1 MiB, or one line.
//!
//! It belongs to the load generator because a recording is a [`Workload`](super::Workload). The
//! client neither reads nor writes recordings.

mod archive;
mod line;
mod reader;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ahash::AHashMap;

use crate::protocol::quantity::show_duration;

pub use line::{
    RECORDING_VERSION, RecordedComment, RecordedDeletion, RecordedEvent, RecordedSender,
    RecordedThrottle, RecordingHeader,
};
pub use reader::RecordingReader;
pub use writer::RecordingWriter;

/// The `mod` of a comment that was deleted.
const DELETED: &str = "delete";

/// The comments of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    pub comments: Vec<RecordedComment>,
    /// Says what is missing, if the recording's writer was killed or the file is damaged.
    pub torn: Option<String>,
}

/// A recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}, line {line}: {problem}; expected {{\"ts_ms\":0,\"user\":\"ann\",\"text\":\"hi\"}}{}",
        import_hint(*.line), path = path.display()
    )]
    Line { path: PathBuf, line: usize, problem: String },
    #[error("{path} has no comments{}", reason_text(.reason.as_deref()), path = path.display())]
    Empty { path: PathBuf, reason: Option<String> },
    /// `last_ms` is the time of the last comment, if it is before the part.
    #[error(
        "{path} has no comments in the selected part{}",
        last_text(*.last_ms), path = path.display()
    )]
    OutsidePart { path: PathBuf, last_ms: Option<u64> },
}

fn last_text(last_ms: Option<u64>) -> String {
    last_ms
        .map(|last_ms| format!(": its last comment is at {}", show_duration(last_ms)))
        .unwrap_or_default()
}

fn reason_text(reason: Option<&str>) -> String {
    // An export of another program may be one line without its end.
    reason.map(|reason| format!(": {reason}{}", import_hint(1))).unwrap_or_default()
}

/// Returns the end of the message about a wrong line. A file that is wrong from the start may be an
/// export of another program.
fn import_hint(line: usize) -> &'static str {
    if line == 1 { "; lc import makes a recording of another program's export" } else { "" }
}

/// Reads the comments of a recording into memory. One that was deleted has `mod` set.
///
/// # Errors
/// The file cannot be opened or read, a line in the middle is none, or there is no comment.
pub fn read(path: &Path) -> Result<Recording, RecordingError> {
    let mut reader = RecordingReader::open(path)?;
    let mut comments: Vec<RecordedComment> = Vec::new();
    let mut by_id: AHashMap<Arc<str>, usize> = AHashMap::new();
    while let Some(event) = reader.next_event()? {
        match event {
            RecordedEvent::Comment(comment) => {
                if let Some(id) = &comment.id {
                    by_id.insert(id.clone(), comments.len());
                }
                comments.push(comment);
            }
            RecordedEvent::Deletion(deletion) => {
                if let Some(number) = by_id.get(&deletion.id) {
                    comments[*number].moderation.get_or_insert_with(|| DELETED.to_owned());
                }
            }
            RecordedEvent::Header(_) | RecordedEvent::Throttle(_) => {}
        }
    }
    let torn = reader.torn();
    if comments.is_empty() {
        return Err(RecordingError::Empty { path: path.to_owned(), reason: torn });
    }
    Ok(Recording { comments, torn })
}

#[cfg(test)]
mod tests;
