//! The committed position of one group, in a file of two slots.
//!
//! ```text
//! slot:  0  u64  how many-th commit this is; its slot is the number's last bit
//!        8  u64  offset to read next
//!        16 u32  crc32c of the 16 bytes before
//! ```
//!
//! The slots lie 4096 bytes apart, and a commit only ever writes the one that does not hold the last
//! commit, so a write torn by a crash leaves the commit before it. Overwriting in place, rather than
//! renaming, makes a commit one small write and one fdatasync, and possible on a full disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::disk::{Disk as _, LocalDisk, read_failure, write_failure};
use super::record::{u32_at, u64_at};
use crate::daemon::eventlog::LogError;

const SLOT_BYTES: usize = 20;
const SLOT_DISTANCE_BYTES: u64 = 4096;
const FILE_BYTES: u64 = 2 * SLOT_DISTANCE_BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Commit {
    number: u64,
    next_offset: u64,
}

/// A group's file; it is made by the first commit.
#[derive(Debug)]
pub(super) struct PositionFile {
    path: PathBuf,
    file: Option<File>,
    last: Option<Commit>,
}

impl PositionFile {
    /// Reads the last commit, if the file is there and one was ever made.
    pub(super) fn open(path: PathBuf) -> Result<Self, LogError> {
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, file: None, last: None });
            }
            Err(error) => return Err(read_failure("opening", &path, &error)),
        };
        let mut bytes = [0; FILE_BYTES as usize];
        let length = file.read_at(&mut bytes, 0).map_err(|e| read_failure("reading", &path, &e))?;
        let slots = [decode(&bytes[..SLOT_BYTES]), decode(&bytes[SLOT_DISTANCE_BYTES as usize..])];
        let last = slots.into_iter().flatten().max_by_key(|commit| commit.number);
        // All zeros: a crash between making the file and its first commit. Anything else without a
        // sound slot is damage, and guessing a position could skip records.
        if last.is_none() && bytes[..length].iter().any(|byte| *byte != 0) {
            return Err(LogError::Corrupt(format!(
                "{}: neither slot holds a position; remove the file to let the group begin anew",
                path.display()
            )));
        }
        Ok(Self { path, file: Some(file), last })
    }

    pub(super) fn next_offset(&self) -> Option<u64> {
        self.last.map(|commit| commit.next_offset)
    }

    /// Stores a position durably. Blocks on the disk.
    pub(super) fn store(&mut self, next_offset: u64) -> Result<(), LogError> {
        if self.next_offset() == Some(next_offset) {
            return Ok(());
        }
        let number = self.last.map_or(1, |last| last.number + 1);
        let commit = Commit { number, next_offset };
        self.write(commit).map_err(|e| write_failure("committing to", &self.path, &e))?;
        self.last = Some(commit);
        Ok(())
    }

    fn write(&mut self, commit: Commit) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(create(&self.path)?),
        };
        let position = (commit.number % 2) * SLOT_DISTANCE_BYTES;
        file.write_all_at(&encode(commit), position)?;
        file.sync_data()
    }
}

/// Makes the file at its full size, so that no commit ever needs more room.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.write_all_at(&[0; FILE_BYTES as usize], 0)?;
    file.sync_all()?;
    if let Some(directory) = path.parent() {
        LocalDisk.sync_directory(directory)?;
    }
    Ok(file)
}

fn encode(commit: Commit) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(&commit.number.to_le_bytes());
    bytes[8..16].copy_from_slice(&commit.next_offset.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Commit> {
    let commit = Commit { number: u64_at(bytes, 0), next_offset: u64_at(bytes, 8) };
    (crc32c::crc32c(&bytes[..16]) == u32_at(bytes, 16)).then_some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(path: &Path) -> Option<u64> {
        PositionFile::open(path.to_owned()).unwrap().next_offset()
    }

    #[test]
    fn a_stored_position_is_read_again_and_none_is_there_before_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.position");
        let mut file = PositionFile::open(path.clone()).unwrap();
        assert_eq!(file.next_offset(), None);
        assert!(!path.exists(), "a group that never committed leaves no file");
        for next in [5, 9, 9, 7] {
            file.store(next).unwrap();
            assert_eq!(reopened(&path), Some(next));
        }
        std::fs::write(&path, []).unwrap();
        assert_eq!(reopened(&path), None);
    }

    #[test]
    fn a_torn_commit_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.position");
        let mut file = PositionFile::open(path.clone()).unwrap();
        for next in 100..120 {
            file.store(next).unwrap();
            let whole = std::fs::read(&path).unwrap();
            let slot = (file.last.unwrap().number % 2 * SLOT_DISTANCE_BYTES) as usize;
            for torn_at in 0..SLOT_BYTES {
                let mut torn = whole.clone();
                torn[slot + torn_at] ^= 0xFF;
                std::fs::write(&path, &torn).unwrap();
                let before = (next > 100).then(|| next - 1);
                match PositionFile::open(path.clone()) {
                    Ok(file) => assert_eq!(file.next_offset(), before),
                    Err(error) => assert!(before.is_none(), "{error}"),
                }
            }
            std::fs::write(&path, &whole).unwrap();
            assert_eq!(reopened(&path), Some(next));
        }
    }

    #[test]
    fn two_damaged_slots_are_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.position");
        std::fs::write(&path, vec![7; FILE_BYTES as usize]).unwrap();
        let error = PositionFile::open(path).unwrap_err();
        assert!(matches!(&error, LogError::Corrupt(text) if text.contains("a.position")));
    }
}
