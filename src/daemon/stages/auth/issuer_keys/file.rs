//! The file with the last good key set, for a start while the issuer is away.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fetch::MAX_BYTES;
use super::set;
use crate::daemon::base::config::KeySource;
use crate::daemon::base::secret_file;
use crate::daemon::stages::auth::keys::VerifyingKey;
use crate::net::replace_file::replace_file;
use crate::protocol::json;

/// The name of the file in the data directory. Its keys are public, but whoever may change it makes
/// tokens.
const NAME: &str = "issuer-keys.json";
/// Around the set stand the address and a time.
const ALLOWED_BYTES: std::ops::RangeInclusive<usize> = 2..=MAX_BYTES + 8192;

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// Where the set is from. A file of another source is not used.
    source: String,
    /// When it was read, in milliseconds since the Unix epoch.
    read_at: u64,
    set: Value,
}

/// A set that an earlier run read.
#[derive(Debug)]
pub(super) struct KeptSet {
    pub(super) keys: Vec<VerifyingKey>,
    pub(super) read_at_ms: u64,
}

/// The file of one source.
#[derive(Debug, Clone)]
pub(super) struct KeyFile {
    path: PathBuf,
    source: String,
}

impl KeyFile {
    pub(super) fn new(data_dir: &Path, source: &KeySource) -> Self {
        let source = match source {
            KeySource::Set(address) => address.as_str().to_owned(),
            KeySource::Discovery { issuer, .. } => issuer.clone(),
        };
        Self { path: data_dir.join(NAME), source }
    }

    /// Returns the set of an earlier run. `None` without one from the same source; a file that
    /// cannot be used is logged. Blocks on the disk.
    pub(super) fn read(&self) -> Option<KeptSet> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "issuer keys not read");
                return None;
            }
        };
        let bytes = match secret_file::read(file, &ALLOWED_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "issuer keys not used");
                return None;
            }
        };
        let content: Content = serde_json::from_slice(&bytes).ok()?;
        if content.source != self.source {
            return None;
        }
        let set = json::to_vec(&content.set).ok()?;
        let keys = set::read(&set).ok()?;
        Some(KeptSet { keys, read_at_ms: content.read_at })
    }

    /// Keeps a set. Only the owner may read or change the file. Blocks on the disk.
    pub(super) fn write(&self, set: &[u8], read_at_ms: u64) -> std::io::Result<()> {
        let source = self.source.clone();
        let content = Content { source, read_at: read_at_ms, set: serde_json::from_slice(set)? };
        replace_file(&self.path, &json::to_vec(&content)?)?;
        std::fs::set_permissions(&self.path, Permissions::from_mode(0o600))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::auth::fixtures::jwk;

    fn source(address: &str) -> KeySource {
        KeySource::Set(address.parse().unwrap())
    }

    #[test]
    fn a_set_is_kept_for_its_source_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path(), &source("https://id.example/keys"));
        assert!(file.read().is_none());
        let set = serde_json::json!({"keys": [jwk::rsa("a"), jwk::ed25519("b")]}).to_string();
        file.write(set.as_bytes(), 1_750_000_000_000).unwrap();
        let kept = file.read().unwrap();
        assert_eq!((kept.keys.len(), kept.read_at_ms), (2, 1_750_000_000_000));
        let mode = std::fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let other = KeyFile::new(directory.path(), &source("https://other.example/keys"));
        assert!(other.read().is_none());
    }

    #[test]
    fn a_file_that_others_may_change_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path(), &source("https://id.example/keys"));
        let set = serde_json::json!({"keys": [jwk::rsa("a")]}).to_string();
        file.write(set.as_bytes(), 1).unwrap();
        std::fs::set_permissions(&file.path, Permissions::from_mode(0o666)).unwrap();
        assert!(file.read().is_none());
        std::fs::set_permissions(&file.path, Permissions::from_mode(0o600)).unwrap();
        assert!(file.read().is_some());
        std::fs::write(&file.path, "{\"source\":\"https://id.example/keys\"").unwrap();
        assert!(file.read().is_none(), "cut off");
    }
}
