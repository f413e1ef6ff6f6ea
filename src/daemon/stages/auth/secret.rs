//! The node's own signing secret: a file in the data directory, created at the first start.
//!
//! The file holds printable text, and that text is the HMAC key. White space at its end is ignored,
//! so that a file edited by hand still works.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::daemon::base::secret_file::{self, UnusableSecret};
use crate::protocol::paths::SIGNING_SECRET;

/// The minimum that RFC 7518 §3.2 requires of an HS256 key.
pub(super) const MIN_SECRET_BYTES: usize = 32;
/// Random bytes of a new secret. Their base64url text has 64 characters.
const RANDOM_BYTES: usize = 48;
/// The most bytes of a secret.
const MAX_SECRET_BYTES: usize = 4096;

/// Why there is no signing secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: String, source: std::io::Error },
    #[error(
        "{path} can be read by others (mode {mode:04o}), who could then sign tokens of any user: \
         run `chmod 600 {path}`, or delete the file so that the next start makes a new one"
    )]
    Exposed { path: String, mode: u32 },
    #[error(
        "{path} holds {bytes} bytes; a signing secret has {MIN_SECRET_BYTES} to \
         {MAX_SECRET_BYTES}: delete the file so that the next start makes a new one"
    )]
    BadLength { path: String, bytes: usize },
}

/// A signing secret. `Debug` does not print its content.
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

impl SigningSecret {
    /// Reads `<data_dir>/signing.key`. Creates the file (mode 0600, atomically) and the directory
    /// if they do not exist. Blocks on the disk.
    ///
    /// # Errors
    /// The file can be read by others, has a wrong length, or cannot be read or created.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, SecretError> {
        let path = data_dir.join(SIGNING_SECRET);
        match File::open(&path) {
            Ok(file) => Self::read(file, &path),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(data_dir, &path),
            Err(source) => Err(io("read", &path, source)),
        }
    }

    /// Reads an existing file: the shared secret of a cluster. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Self::load_or_create`], or the file does not exist.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        Self::read(File::open(path).map_err(|source| io("read", path, source))?, path)
    }

    /// Returns the HMAC key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn read(file: File, path: &Path) -> Result<Self, SecretError> {
        let secret = secret_file::read(file, &(MIN_SECRET_BYTES..=MAX_SECRET_BYTES));
        secret.map(Self).map_err(|error| match error {
            UnusableSecret::Unreadable(source) => io("read", path, source),
            UnusableSecret::Exposed(mode) => {
                SecretError::Exposed { path: path.display().to_string(), mode }
            }
            UnusableSecret::BadLength(bytes) => {
                SecretError::BadLength { path: path.display().to_string(), bytes }
            }
        })
    }

    fn create(data_dir: &Path, path: &Path) -> Result<Self, SecretError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|source| io("create directory", data_dir, source))?;
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>());
        let draft = data_dir.join(format!("{SIGNING_SECRET}.{:016x}.new", rand::random::<u64>()));
        let published = publish(&draft, path, secret.as_bytes());
        // The draft is not needed any more. A draft that cannot be removed is harmless: its mode is
        // 0600.
        let _ = std::fs::remove_file(&draft);
        match published {
            Ok(()) => Ok(Self(secret.into_bytes())),
            // Another process created the file first: use its secret.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let file = File::open(path).map_err(|source| io("read", path, source))?;
                Self::read(file, path)
            }
            Err(source) => Err(io("create", path, source)),
        }
    }
}

/// Writes the secret to a draft and links it to its final name, which fails if the name exists.
fn publish(draft: &Path, path: &Path, secret: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::hard_link(draft, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn io(what: &'static str, path: &Path, source: std::io::Error) -> SecretError {
    SecretError::Io { what, path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_start_creates_a_secret_the_next_keeps_it() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("deep/data");
        let made = SigningSecret::load_or_create(&data_dir).unwrap();
        assert_eq!(made.as_bytes().len(), 64);
        let path = data_dir.join(SIGNING_SECRET);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let kept = SigningSecret::load_or_create(&data_dir).unwrap();
        assert_eq!(kept.as_bytes(), made.as_bytes());
        assert_eq!(std::fs::read_dir(&data_dir).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn two_nodes_make_two_secrets() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = directories.each_ref().map(|dir| SigningSecret::load_or_create(dir.path()));
        assert_ne!(a.unwrap().as_bytes(), b.unwrap().as_bytes());
    }

    #[test]
    fn starting_twice_at_once_ends_with_one_secret() {
        let directory = tempfile::tempdir().unwrap();
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| SigningSecret::load_or_create(directory.path()));
            let threads: Vec<_> = (0..8).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let stored = std::fs::read(directory.path().join(SIGNING_SECRET)).unwrap();
        for secret in secrets {
            assert_eq!(secret.unwrap().as_bytes(), stored);
        }
        let shared = SigningSecret::load(&directory.path().join(SIGNING_SECRET)).unwrap();
        assert_eq!(shared.as_bytes(), stored);
        let missing = SigningSecret::load(&directory.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        SigningSecret::load_or_create(directory.path()).unwrap();
        let path = directory.path().join(SIGNING_SECRET);
        for mode in [0o640, 0o604, 0o666, 0o620] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = SigningSecret::load_or_create(directory.path()).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
            assert!(error.contains(&format!("{mode:04o}")), "{error}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(SigningSecret::load_or_create(directory.path()).is_ok());
    }

    #[test]
    fn wrong_lengths_are_refused_without_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SIGNING_SECRET);
        SigningSecret::load_or_create(directory.path()).unwrap();
        for content in [String::new(), "x".repeat(31), "x".repeat(4097), "\n".repeat(64)] {
            std::fs::write(&path, &content).unwrap();
            let error = SigningSecret::load_or_create(directory.path()).unwrap_err();
            assert!(matches!(error, SecretError::BadLength { .. }), "{error}");
        }
        std::fs::write(&path, format!("{}\n", "x".repeat(32))).unwrap();
        let secret = SigningSecret::load_or_create(directory.path()).unwrap();
        assert_eq!(secret.as_bytes(), "x".repeat(32).as_bytes());
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = SigningSecret(b"hush".to_vec());
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
