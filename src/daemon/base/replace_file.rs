//! Replaces small files so that a crash leaves the old or the new one, and names those that are
//! kept aside.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Replaces a small file atomically: writes and syncs a new file, then renames it. Blocks on the
/// disk.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new_path = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new_path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new_path, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Returns `NAME.ENDING`, or the first of `NAME.ENDING-2` and so on at which nothing stands.
pub(crate) fn free_name(path: &Path, ending: &str) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { format!(".{ending}") } else { format!(".{ending}-{number}") });
        PathBuf::from(name)
    };
    let mut number = 1;
    // A link that leads nowhere stands there too.
    while name(number).symlink_metadata().is_ok() {
        number += 1;
    }
    name(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_kept_aside_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.log");
        std::fs::write(dir.path().join("1.log.damaged"), "").unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("1.log.damaged-2")).unwrap();
        assert_eq!(free_name(&path, "damaged"), dir.path().join("1.log.damaged-3"));
    }
}
