//! The socket file: bound, replaced, and removed.

use std::fs;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UnixListener;

/// Only the owner and the group may connect.
const SOCKET_MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o750;
/// The capacity of `sockaddr_un` on Linux without the closing NUL.
const MAX_PATH_BYTES: usize = 107;

/// Why the admin socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "another daemon listens on {}: stop it, or give this one a socket of its own with \
         --admin-socket (and a data directory of its own with --data-dir)", .0.display()
    )]
    InUse(PathBuf),
    #[error(
        "{} is not a socket and will not be removed; name another path with --admin-socket",
        .0.display()
    )]
    NotASocket(PathBuf),
    #[error(
        "{} has {bytes} bytes, but the path of a socket may have at most {MAX_PATH_BYTES}: choose a \
         shorter one with --admin-socket", path.display()
    )]
    PathTooLong { path: PathBuf, bytes: usize },
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io { doing: &'static str, path: PathBuf, cause: io::Error },
}

/// A file, as the kernel identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }
}

/// A listening socket and its file, which is removed on drop.
#[derive(Debug)]
pub(super) struct AdminSocket {
    path: PathBuf,
    bound: Mutex<Bound>,
}

#[derive(Debug, Clone)]
struct Bound {
    listener: Arc<UnixListener>,
    file: FileId,
}

impl AdminSocket {
    /// Binds the path, which no other process may listen on.
    pub(super) fn bind(path: &Path) -> Result<Self, AdminError> {
        Ok(Self { path: path.to_owned(), bound: Mutex::new(Bound::new(path)?) })
    }

    pub(super) fn listener(&self) -> Arc<UnixListener> {
        self.bound.lock().listener.clone()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the path no longer names this socket, so that no client finds it.
    pub(super) fn is_lost(&self) -> bool {
        FileId::of(&self.path).ok() != Some(self.bound.lock().file)
    }

    /// Binds the path again, under the same conditions as at first. On success the previous
    /// listener is closed as soon as nobody accepts on it.
    pub(super) fn bind_again(&self) -> Result<(), AdminError> {
        *self.bound.lock() = Bound::new(&self.path)?;
        Ok(())
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Another daemon may have taken the path since then. Its socket stays.
        if !self.is_lost() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Bound {
    /// Binds beside the wanted path, sets the mode there, and renames the file. The path therefore
    /// never names a socket with another mode, and a dead daemon's socket is replaced in one step.
    fn new(path: &Path) -> Result<Self, AdminError> {
        check_socket_path(path)?;
        make_directory(path)?;
        refuse_if_in_use(path)?;
        let temporary = path.with_file_name(format!(".{}", std::process::id()));
        let failed = |doing| {
            let path = path.to_owned();
            move |cause| AdminError::Io { doing, path, cause }
        };
        // A process with the same id may have died between two of these lines.
        let _ = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary).map_err(failed("listen on"))?;
        let placed = fs::set_permissions(&temporary, fs::Permissions::from_mode(SOCKET_MODE))
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| FileId::of(path));
        match placed {
            Ok(file) => Ok(Self { listener: Arc::new(listener), file }),
            Err(cause) => {
                let _ = fs::remove_file(&temporary);
                Err(failed("place a socket at")(cause))
            }
        }
    }
}

/// Fails if the path cannot name a socket. Creates nothing.
pub fn check_socket_path(path: &Path) -> Result<(), AdminError> {
    let bytes = path.as_os_str().len();
    if bytes > MAX_PATH_BYTES {
        return Err(AdminError::PathTooLong { path: path.to_owned(), bytes });
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(AdminError::NotASocket(path.to_owned())),
        _ => Ok(()),
    }
}

fn make_directory(path: &Path) -> Result<(), AdminError> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|cause| AdminError::Io {
        doing: "create the directory",
        path: directory.to_owned(),
        cause,
    })
}

/// Fails unless the path is free or names a socket that no process accepts on.
fn refuse_if_in_use(path: &Path) -> Result<(), AdminError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(AdminError::NotASocket(path.to_owned()));
        }
        _ => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // It was removed between the two checks.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog means that a daemon is busy.
        Ok(_) => Err(AdminError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(AdminError::InUse(path.to_owned()))
        }
        Err(cause) => Err(AdminError::Io { doing: "connect to", path: path.to_owned(), cause }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_private_and_removed_on_drop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lcd/admin.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(
            mode(path.parent().unwrap()) & 0o027,
            0,
            "others have no access, the group cannot write"
        );
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the socket: {left:?}");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_a_dead_daemons_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        let refused = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(&refused, AdminError::InUse(_)), "{refused}");
        assert!(refused.to_string().contains("--admin-socket"), "{refused}");
        assert!(UnixStream::connect(&path).is_ok(), "the first still listens");

        // A daemon that was killed leaves its file behind.
        let file = first.bound.lock().file;
        first.bound.lock().file = FileId { device: 0, inode: 0 };
        drop(first);
        assert!(path.exists() && UnixStream::connect(&path).is_err());
        let second = AdminSocket::bind(&path).unwrap();
        assert!(second.bound.lock().file != file && UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_stopping_daemon_keeps_its_successors_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = AdminSocket::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_removed_socket_is_bound_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/admin.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert!(!socket.is_lost());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(socket.is_lost());
        socket.bind_again().unwrap();
        assert!(!socket.is_lost() && UnixStream::connect(&path).is_ok());
        // A file of somebody else stays.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "keep me").unwrap();
        assert!(socket.is_lost() && socket.bind_again().is_err());
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
    }

    #[tokio::test]
    async fn other_files_and_long_paths_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notes.txt");
        fs::write(&file, "keep me").unwrap();
        assert!(matches!(AdminSocket::bind(&file), Err(AdminError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "keep me");
        let long = directory.path().join("x".repeat(120));
        let error = AdminSocket::bind(&long).unwrap_err();
        assert!(error.to_string().contains("107"), "{error}");
    }
}
