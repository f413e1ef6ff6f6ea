//! A disk that fails on demand.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use parking_lot::Mutex;

use crate::daemon::engines::eventlog::embedded::disk::{Disk, LocalDisk, SegmentFile};

/// The faults of the disk. Each lasts until it is reset.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Writes fail after this many more bytes.
    pub room_bytes: Option<(usize, Errno)>,
    pub sync: Option<Errno>,
    pub truncate: Option<Errno>,
    pub remove: Option<Errno>,
    /// A trial write takes this long.
    pub trial_delay: Duration,
    /// A failing sync also loses the byte at this position, which had been durable before.
    pub lose_byte_at: Option<u64>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct FaultyDisk {
    faults: Arc<Mutex<Faults>>,
}

impl FaultyDisk {
    pub(super) fn set(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    pub(super) fn heal(&self) {
        self.set(Faults::default());
    }

    fn wrap(&self, file: io::Result<Box<dyn SegmentFile>>) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultyFile { file: file?, faults: self.faults.clone() }))
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn SegmentFile>,
    faults: Arc<Mutex<Faults>>,
}

fn fail(fault: Option<Errno>) -> io::Result<()> {
    fault.map_or(Ok(()), |errno| Err(errno.into()))
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.wrap(LocalDisk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.wrap(LocalDisk.open(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fail(self.faults.lock().remove)?;
        LocalDisk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_directory(path)
    }

    fn try_write(&self, directory: &Path) -> io::Result<()> {
        let delay = self.faults.lock().trial_delay;
        std::thread::sleep(delay);
        let faults = self.faults.lock();
        if let Some((_, errno)) = faults.room_bytes {
            return Err(errno.into());
        }
        fail(faults.sync)?;
        LocalDisk.try_write(directory)
    }
}

impl SegmentFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut faults = self.faults.lock();
        if let Some((room_bytes, errno)) = &mut faults.room_bytes {
            let fits = bytes.len().min(*room_bytes);
            *room_bytes -= fits;
            self.file.write_at(&bytes[..fits], position)?;
            if fits < bytes.len() {
                return Err((*errno).into());
            }
            return Ok(());
        }
        self.file.write_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        let faults = self.faults.lock();
        if let (Some(_), Some(position)) = (faults.sync, faults.lose_byte_at) {
            self.file.write_at(&[0xEE], position)?;
        }
        fail(faults.sync)?;
        self.file.sync()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        fail(self.faults.lock().truncate)?;
        self.file.truncate(bytes)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }
}
