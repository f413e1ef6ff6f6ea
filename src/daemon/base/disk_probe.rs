//! A trial write to a disk, which shows what the free space does not: quotas, failing disks, file
//! systems that became read-only.
//!
//! Always holds: the trial leaves no file behind, and touches no file of another.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// Writes `bytes` to a new file in the directory and syncs them. Blocks on the disk.
pub(crate) fn try_write(directory: &Path, bytes: usize) -> io::Result<()> {
    let mut file = unnamed_file(directory)?;
    file.write_all(&vec![0x5a; bytes])?;
    file.sync_data()
}

/// Returns a file that has no name, so that it is gone even if the process is killed.
fn unnamed_file(directory: &Path) -> io::Result<File> {
    let unnamed = OFlag::O_TMPFILE.bits();
    match OpenOptions::new().write(true).custom_flags(unnamed).open(directory) {
        // Some file systems have only files with a name.
        Err(error) if matches!(errno(&error), Some(Errno::EOPNOTSUPP | Errno::EISDIR)) => {
            named_file(directory)
        }
        opened => opened,
    }
}

/// Returns a new file whose name is already gone. What stands under the name is never followed or
/// written to.
fn named_file(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(".write-probe-{}", std::process::id()));
    // A process that was killed may have left one.
    let _ = std::fs::remove_file(&path);
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_leaves_nothing_and_touches_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("data");
        assert!(try_write(&directory, 100).is_err(), "the directory is not there");
        std::fs::create_dir(&directory).unwrap();
        try_write(&directory, 100).unwrap();
        let victim = parent.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let name = directory.join(format!(".write-probe-{}", std::process::id()));
        std::os::unix::fs::symlink(&victim, name).unwrap();
        named_file(&directory).unwrap().write_all(b"probe").unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }
}
