//! Taking and giving back the socket file.

use std::fs;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Owner and group, and nobody else.
const SOCKET_MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o750;
/// What `sockaddr_un` holds on Linux, its closing NUL taken off.
const MAX_PATH_BYTES: usize = 107;

/// Why the admin socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "another daemon listens on {}: stop it, or give this one a socket of its own with \
         --admin-socket (and a data directory of its own with --data-dir)", .0.display()
    )]
    InUse(PathBuf),
    #[error(
        "{} is no socket: it will not be removed; name another place with --admin-socket",
        .0.display()
    )]
    NotASocket(PathBuf),
    #[error(
        "{} has {bytes} bytes, and a socket's path may have {MAX_PATH_BYTES}: choose a shorter one \
         with --admin-socket", path.display()
    )]
    PathTooLong { path: PathBuf, bytes: usize },
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

/// A listening socket, and the file that names it, removed when this is dropped.
#[derive(Debug)]
pub(super) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl AdminSocket {
    /// Binds beside the wanted path, sets the mode there, and moves it into place: so the path
    /// never names a socket with another mode, and a dead daemon's socket is replaced in one step.
    pub(super) fn bind(path: &Path) -> Result<Self, AdminError> {
        let bytes = path.as_os_str().len();
        if bytes > MAX_PATH_BYTES {
            return Err(AdminError::PathTooLong { path: path.to_owned(), bytes });
        }
        make_directory(path)?;
        refuse_if_taken(path)?;
        let beside = path.with_file_name(format!(".{}", std::process::id()));
        let failed = |doing| {
            let path = path.to_owned();
            move |source| AdminError::Io { doing, path, source }
        };
        // Left by a process of the same number that died between two of these lines.
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(failed("listen on"))?;
        let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(SOCKET_MODE))
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| fs::symlink_metadata(path));
        let inode = match placed {
            Ok(metadata) => metadata.ino(),
            Err(source) => {
                let _ = fs::remove_file(&beside);
                return Err(failed("put a socket at")(source));
            }
        };
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Another daemon may have taken the path since; its socket stays.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn make_directory(path: &Path) -> Result<(), AdminError> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|source| AdminError::Io {
        doing: "create the directory",
        path: directory.to_owned(),
        source,
    })
}

/// Only a socket that nobody accepts on may be replaced.
fn refuse_if_taken(path: &Path) -> Result<(), AdminError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(AdminError::NotASocket(path.to_owned()));
        }
        _ => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // It went away between the two questions.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog is a daemon that is busy.
        Ok(_) => Err(AdminError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(AdminError::InUse(path.to_owned()))
        }
        Err(source) => {
            Err(AdminError::Io { doing: "see who listens on", path: path.to_owned(), source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_and_its_directory_are_closed_to_others_and_go_away_with_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/lcd/admin.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(
            mode(path.parent().unwrap()) & 0o027,
            0,
            "others get nothing, the group no writing"
        );
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the socket: {left:?}");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_living_daemon_keeps_its_socket_and_a_dead_one_loses_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        let refused = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(&refused, AdminError::InUse(_)), "{refused}");
        assert!(refused.to_string().contains("--admin-socket"), "{refused}");
        assert!(UnixStream::connect(&path).is_ok(), "the first still listens");

        // A daemon that was killed leaves its file behind.
        let AdminSocket { inode, .. } = first;
        let mut first = first;
        first.inode = 0;
        drop(first);
        assert!(path.exists() && UnixStream::connect(&path).is_err());
        let second = AdminSocket::bind(&path).unwrap();
        assert!(second.inode != inode && UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn a_daemon_that_goes_leaves_its_successors_socket_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = AdminSocket::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn what_is_no_socket_or_too_long_is_refused_and_left() {
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
