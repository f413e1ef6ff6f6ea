//! The committed position of one group, in a file of two slots.
//!
//! ```text
//! slot:  0  u64  number of the commit; the slot with the higher one is valid
//!        8  u64  offset to read next
//!        16 u32  crc32c of the 16 bytes before
//! ```
//!
//! A commit is one small write in place, which also works on a full disk. From then on it survives
//! the process. It is synced at most once per [`SYNC_INTERVAL`], to leave the disk to the log,
//! which syncs before every answer. A power failure may undo the commits since the last sync; the
//! group then reads their records again.
//!
//! The slots are 4096 bytes apart. A commit writes the slot that does not hold the last synced
//! commit, so a power failure always leaves that one intact.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::disk::{Disk as _, LocalDisk, read_failure, write_failure};
use super::record::{u32_at, u64_at};
use crate::daemon::engines::eventlog::LogError;

const SLOT_BYTES: usize = 20;
const SLOT_DISTANCE_BYTES: u64 = 4096;
const FILE_BYTES: u64 = 2 * SLOT_DISTANCE_BYTES;
/// Bounds the work that a group repeats after a power failure.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Commit {
    number: u64,
    next_offset: u64,
}

/// The file of a group. The first commit creates it.
#[derive(Debug)]
pub(super) struct PositionFile {
    path: PathBuf,
    file: Option<File>,
    last: Option<Commit>,
    /// The slot that commits are written to. The other one is synced.
    slot: u64,
    synced_at: Option<Instant>,
}

impl PositionFile {
    /// Reads the last commit, if there is one.
    pub(super) fn open(path: PathBuf) -> Result<Self, LogError> {
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, file: None, last: None, slot: 0, synced_at: None });
            }
            Err(error) => return Err(read_failure("opening", &path, &error)),
        };
        let mut bytes = [0; FILE_BYTES as usize];
        let length = file.read_at(&mut bytes, 0).map_err(|e| read_failure("reading", &path, &e))?;
        let slots = [decode(&bytes[..SLOT_BYTES]), decode(&bytes[SLOT_DISTANCE_BYTES as usize..])];
        let last = slots.into_iter().flatten().max_by_key(|commit| commit.number);
        let slot = u64::from(last.is_some() && last == slots[0]);
        // The previous process may not have synced.
        file.sync_data().map_err(|error| read_failure("syncing", &path, &error))?;
        // A file of zeros is left by a crash between its creation and the first commit. Any other
        // file without a valid slot is damaged, and guessing a position could skip records.
        if last.is_none() && bytes[..length].iter().any(|byte| *byte != 0) {
            return Err(LogError::Corrupt(format!(
                "{}: neither slot holds a position; remove the file to let the group start again",
                path.display()
            )));
        }
        Ok(Self { path, file: Some(file), last, slot, synced_at: None })
    }

    pub(super) fn next_offset(&self) -> Option<u64> {
        self.last.map(|commit| commit.next_offset)
    }

    /// Stores a position. Only a power failure may undo it. Blocks on the disk.
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
        file.write_all_at(&encode(commit), self.slot * SLOT_DISTANCE_BYTES)?;
        if self.synced_at.is_none_or(|at| at.elapsed() >= SYNC_INTERVAL) {
            file.sync_data()?;
            self.slot = 1 - self.slot;
            self.synced_at = Some(Instant::now());
        }
        Ok(())
    }
}

/// Creates the file at its full size, so that a commit never needs more space.
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
    fn stored_position_is_read_again() {
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
    fn last_synced_commit_survives_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.position");
        let mut file = PositionFile::open(path.clone()).unwrap();
        // The first of three that follow each other is synced; so is the first after opening.
        let mut next = 0;
        for round in 0..6 {
            file.synced_at = None;
            next += 1;
            file.store(next).unwrap();
            let synced = next;
            let slot = (file.slot * SLOT_DISTANCE_BYTES) as usize;
            for _ in 0..2 {
                next += 1;
                file.store(next).unwrap();
                assert_eq!(reopened(&path), Some(next), "only the process died");
                let whole = std::fs::read(&path).unwrap();
                for torn_at in 0..SLOT_BYTES {
                    let mut torn = whole.clone();
                    torn[slot + torn_at] ^= 0xFF;
                    std::fs::write(&path, &torn).unwrap();
                    assert_eq!(reopened(&path), Some(synced));
                }
                std::fs::write(&path, &whole).unwrap();
            }
            if round % 2 == 1 {
                file = PositionFile::open(path.clone()).unwrap();
            }
        }
    }

    #[test]
    fn two_damaged_slots_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.position");
        std::fs::write(&path, vec![7; FILE_BYTES as usize]).unwrap();
        let error = PositionFile::open(path).unwrap_err();
        assert!(matches!(&error, LogError::Corrupt(text) if text.contains("a.position")));
    }
}
