//! The identity of a file, by which a file that lost its name is recognized.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::daemon::engines::eventlog::LogError;

/// The identity of a file, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Returns the file at a path; `None` if there is none.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the error for a file that is no longer at its path.
pub(super) fn moved_away(path: &Path) -> LogError {
    LogError::Unavailable(format!(
        "{} was removed or replaced while lcd runs: move the same file back (a copy is another \
         file), or restart lcd, which continues with what is there then",
        path.display()
    ))
}
