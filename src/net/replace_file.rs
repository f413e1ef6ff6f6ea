//! Replaces small files so that a reader, also one after a crash, finds the old or the new one.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of a file that only its owner may read and change.
const PRIVATE: u32 = 0o600;

/// Replaces a small file atomically: writes and syncs a new file beside it, then renames that. A
/// file that is there keeps its mode, and a link leads to the new file as it did to the old one.
/// Something that is no regular file, such as `/dev/stdout`, is written to. Blocks on the disk.
///
/// # Errors
/// The folder does not exist, or cannot be written to; the new file is removed.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let known = fs::metadata(path).ok();
    if known.as_ref().is_some_and(|known| !known.is_file()) {
        return fs::write(path, bytes);
    }
    replace(path, bytes, known.map(|known| known.permissions()))
}

/// Replaces a small file as [`replace_file`] does. Only the owner may read or change the new file,
/// from its creation on and whatever the mode of the old one was. Blocks on the disk.
///
/// # Errors
/// As of [`replace_file`].
pub fn replace_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, Some(fs::Permissions::from_mode(PRIVATE)))
}

/// The new file has the mode from before anything is written to it; without one, that of any file
/// that this process creates.
fn replace(path: &Path, bytes: &[u8], mode: Option<fs::Permissions>) -> io::Result<()> {
    let path = place_of(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Two programs that write the same file must not write the same new one.
    name.push(format!(".{}.new", std::process::id()));
    let new_path = path.with_file_name(name);
    let written = write_new(&new_path, bytes, mode);
    if let Err(error) = written.and_then(|()| fs::rename(&new_path, &path)) {
        let _ = fs::remove_file(&new_path);
        return Err(error);
    }
    File::open(folder_of(&path))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: Option<fs::Permissions>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if mode.is_some() {
        // Until it has its own mode, nobody else can open it.
        options.mode(PRIVATE);
    }
    let mut file = options.open(path)?;
    if let Some(mode) = mode {
        file.set_permissions(mode)?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Returns the place of a file that need not be there, behind all links.
fn place_of(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let name: &OsStr = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let folder = fs::canonicalize(folder_of(path))?;
    let place = folder.join(name);
    match fs::read_link(&place) {
        Ok(target) => place_of(&folder.join(target)),
        Err(_) => Ok(place),
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn replaced_file_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        replace_file(&path, b"a longer text").unwrap();
        let old = File::open(&path).unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let kept = io::read_to_string(old).unwrap();
        assert_eq!(kept, "a longer text", "readers of the old file are not disturbed");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace_file(&dir.path().join("none/meta"), b"three").is_err());
        // A folder is at its place.
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(replace_file(&taken, b"three").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_and_a_mode_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let file = dir.path().join("etc/file");
        let [near, far] = ["near", "far"].map(|name| dir.path().join(name));
        symlink("etc/file", &near).unwrap();
        symlink("near", &far).unwrap();
        // The links lead nowhere yet.
        replace_file(&far, b"one").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"one");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        replace_file(&far, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(near.is_symlink() && far.is_symlink());
        assert_eq!(fs::read_dir(dir.path().join("etc")).unwrap().count(), 1);
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        symlink(&one, &other).unwrap();
        symlink(&other, &one).unwrap();
        assert!(replace_file(&one, b"three").is_err(), "links in a circle");
    }

    #[test]
    fn a_private_file_is_private_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        replace_private_file(&path, b"one").unwrap();
        assert_eq!(mode_of(&path), PRIVATE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        replace_private_file(&path, b"two").unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode_of(&path)), (b"two".to_vec(), PRIVATE));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_pipe_is_written_to() {
        let (mut read, write) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&write));
        replace_file(Path::new(&path), b"text").unwrap();
        drop(write);
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).unwrap();
        assert_eq!(text, "text");
    }
}
