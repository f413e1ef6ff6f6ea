//! Trials on a disk. They show what the free space and the mode of a directory do not: quotas,
//! failing disks, file systems that became read-only or take no files at all.
//!
//! Always holds: a trial removes what it made, and touches no file of another. Only a process that
//! is killed during a trial leaves something: an empty directory `.lcd-check-…` where an absent one
//! was tried, or, on a file system without unnamed files, an empty file `.write-probe-…`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// Writes `bytes` to a new file in the directory and syncs them. Blocks on the disk.
pub(crate) fn try_write(directory: &Path, bytes: usize) -> io::Result<()> {
    let mut file = unnamed_file(directory)?;
    file.write_all(&vec![0x5a; bytes])?;
    file.sync_data()
}

/// Bytes that [`try_directory`] writes: one block.
const BLOCK: usize = 4096;

/// Tells whether this user can write in the directory, or create it with all its parents and then
/// write in it. An absent directory is tried under another name beside it, and stays absent. Blocks
/// on the disk.
///
/// # Errors
/// A sentence that says where the fault is and names it.
pub(crate) fn try_directory(path: &Path) -> Result<(), String> {
    // The last ancestor of a relative path is empty and means the working directory.
    let here = Path::new(".");
    let mut ancestors = path.ancestors().filter(|at| !at.as_os_str().is_empty());
    let existing = ancestors.find(|at| at.symlink_metadata().is_ok()).unwrap_or(here);
    let named = existing.display();
    match existing.metadata() {
        Err(error) => return Err(format!("{named} is a link that leads nowhere: {error}")),
        Ok(found) if !found.is_dir() => return Err(format!("{named} is not a directory")),
        Ok(_) => {}
    }
    if existing == path {
        return try_write(path, BLOCK).map_err(|error| format!("cannot write in {named}: {error}"));
    }
    let scratch = existing.join(format!(".lcd-check-{:016x}", rand::random::<u64>()));
    let mut private = DirBuilder::new();
    private.mode(0o700);
    private
        .create(&scratch)
        .map_err(|error| format!("cannot create a directory in {named}: {error}"))?;
    let missing = path.strip_prefix(existing).unwrap_or(path);
    let leaves = missing.components().any(|part| part == Component::ParentDir);
    let wanted = if leaves { scratch.clone() } else { scratch.join(missing) };
    let tried = private.recursive(true).create(&wanted).and_then(|()| try_write(&wanted, BLOCK));
    // The directory is this call's own.
    let removed = std::fs::remove_dir_all(&scratch);
    tried.map_err(|error| format!("cannot create {} and write in it: {error}", path.display()))?;
    removed.map_err(|error| format!("cannot remove the trial {}: {error}", scratch.display()))
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
    fn a_directory_is_tried_and_stays_absent() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        for possible in [at("a"), at("a/b/c"), parent.path().to_owned()] {
            assert_eq!(try_directory(&possible), Ok(()));
        }
        let long = "x".repeat(300);
        for (impossible, named) in [
            (at("file"), "not a directory"),
            (at("file/below"), "not a directory"),
            (at("link"), "leads nowhere"),
            (at("link/below"), "leads nowhere"),
            (at(&long), long.as_str()),
            (Path::new("/proc/lcd").to_owned(), "create a directory in /proc"),
            (Path::new("/proc").to_owned(), "write in /proc"),
            (Path::new("/proc/a/b").to_owned(), "create a directory in /proc"),
        ] {
            let error = try_directory(&impossible).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        let mut left: Vec<_> =
            std::fs::read_dir(parent.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "link"]);
    }

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
