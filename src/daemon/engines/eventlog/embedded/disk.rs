//! The file operations of the writer, and the conversion of file errors into log errors.
//!
//! A trait, so that tests can make a write or an fsync fail at a chosen time.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::file_id::FileId;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::disk_probe::try_write;
use crate::daemon::engines::eventlog::{LogError, LogTelemetry};

/// Bytes of a trial write: one block.
const TRIAL_BYTES: usize = 4096;

/// The file of the segment that is written.
pub(super) trait SegmentFile: Send + Debug {
    /// Writes all of the bytes.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Returns whether this is the file at `path`. It is not after the path was removed or
    /// replaced.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}

/// Creates, opens and removes segment files.
pub(super) trait Disk: Send + Sync + Debug {
    /// Creates a file, or empties an existing one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes created and removed files of a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Writes a little to a directory, and leaves nothing there.
    fn try_write(&self, directory: &Path) -> io::Result<()>;
}

/// The disk and the clock of a log, and whom it tells of losses.
#[derive(Debug, Clone)]
pub(super) struct Platform {
    pub disk: Arc<dyn Disk>,
    pub clock: SharedClock,
    pub telemetry: LogTelemetry,
}

/// The operating system's files.
#[derive(Debug)]
pub(super) struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn try_write(&self, directory: &Path) -> io::Result<()> {
        try_write(directory, TRIAL_BYTES)
    }
}

impl SegmentFile for File {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_all_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let own = FileId::of(&self.metadata()?);
        Ok(FileId::at(path)? == Some(own))
    }
}

/// Converts an error of a write. A disk without space is [`LogError::Full`]. Every other error is
/// [`LogError::Unavailable`], so that operators do not look for space on a failing disk.
pub(super) fn write_failure(doing: &str, path: &Path, error: &io::Error) -> LogError {
    let text = format!("{doing} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            LogError::Full(text)
        }
        _ => LogError::Unavailable(text),
    }
}

pub(super) fn read_failure(doing: &str, path: &Path, error: &io::Error) -> LogError {
    LogError::Unavailable(format!("{doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn full_disk_differs_from_a_broken_disk() {
        let meaning = |errno| {
            write_failure("writing", Path::new("x"), &io::Error::from_raw_os_error(errno as i32))
        };
        for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EFBIG] {
            assert!(matches!(meaning(errno), LogError::Full(_)), "{errno}");
        }
        for errno in [Errno::EIO, Errno::EROFS, Errno::EACCES] {
            assert!(matches!(meaning(errno), LogError::Unavailable(_)), "{errno}");
        }
    }
}
