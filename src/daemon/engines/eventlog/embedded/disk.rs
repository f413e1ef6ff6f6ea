//! What the writer asks of files, and what a file's error means to whoever appended.
//!
//! A trait, so that tests can make a write or an fsync fail at a chosen moment.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::daemon::engines::eventlog::LogError;

/// A segment as its writer holds it.
pub(super) trait SegmentFile: Send + Debug {
    /// All of the bytes.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Contents and length are on the disk when it returns.
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// Where segments are made.
pub(super) trait Disk: Send + Sync + Debug {
    /// Empties the file if it exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Files made in or removed from the directory stay so.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
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
}

/// Writes a small file whole or not at all: beside it, synced, then renamed over it.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) => LocalDisk.sync_directory(directory),
        None => Ok(()),
    }
}

/// What a failure to write means: no room is [`LogError::Full`], everything else, an I/O error
/// too, is [`LogError::Unavailable`], so that an operator does not look for space on a dying disk.
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
    fn no_room_is_told_from_a_broken_disk() {
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

    #[test]
    fn a_replaced_file_has_the_new_contents_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
