//! The file with the last good key set, for a start while the issuer is away.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fetch::MAX_BYTES;
use super::set::{self, PublicKey, UnusableSet};
use crate::daemon::base::config::KeySource;
use crate::daemon::base::secret_file::{self, UnusableSecret};
use crate::net::replace_file::replace_private_file;
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

/// Why the set of the file is not used.
#[derive(Debug, thiserror::Error)]
enum UnusableFile {
    #[error(transparent)]
    Secret(#[from] UnusableSecret),
    #[error("it is not JSON with a source, a time and a set")]
    NotJson,
    #[error("its keys are from {0}, which is not the configured issuer")]
    OtherSource(String),
    #[error("its keys were read longer ago than `auth.jwks_max_age`")]
    Old,
    #[error("its key set is refused: {0}")]
    Refused(#[from] UnusableSet),
}

/// A set that an earlier run read.
#[derive(Debug)]
pub(super) struct KeptSet {
    pub(super) keys: Vec<PublicKey>,
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

    /// Returns the set of an earlier run. `None` without one from the same source that is at most
    /// `max_age` old; why a file is not used is logged. Blocks on the disk.
    pub(super) fn read(&self, now_ms: u64, max_age: Duration) -> Option<KeptSet> {
        self.try_read(now_ms, max_age).unwrap_or_else(|error| {
            tracing::warn!(path = %self.path.display(), %error, "kept issuer keys not used");
            None
        })
    }

    fn try_read(&self, now_ms: u64, max_age: Duration) -> Result<Option<KeptSet>, UnusableFile> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(UnusableSecret::from(error).into()),
        };
        let bytes = secret_file::read(file, &ALLOWED_BYTES)?;
        let content: Content = serde_json::from_slice(&bytes).map_err(|_| UnusableFile::NotJson)?;
        if content.source != self.source {
            return Err(UnusableFile::OtherSource(content.source));
        }
        // A time to come is that of a clock that was ahead.
        let read_at_ms = content.read_at.min(now_ms);
        if Duration::from_millis(now_ms - read_at_ms) > max_age {
            return Err(UnusableFile::Old);
        }
        let set = json::to_vec(&content.set).map_err(|_| UnusableFile::NotJson)?;
        Ok(Some(KeptSet { keys: set::read(&set)?, read_at_ms }))
    }

    /// Keeps a set. Only the owner may read or change the file. Blocks on the disk.
    pub(super) fn write(&self, set: &[u8], read_at_ms: u64) -> std::io::Result<()> {
        let source = self.source.clone();
        let content = Content { source, read_at: read_at_ms, set: serde_json::from_slice(set)? };
        replace_private_file(&self.path, &json::to_vec(&content)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::daemon::stages::auth::fixtures::jwk;

    fn source(address: &str) -> KeySource {
        KeySource::Set(address.parse().unwrap())
    }

    const READ_MS: u64 = 1_750_000_000_000;
    const MAX_AGE: Duration = Duration::from_secs(60);

    fn refusal(file: &KeyFile) -> String {
        assert!(file.read(READ_MS, MAX_AGE).is_none());
        file.try_read(READ_MS, MAX_AGE).unwrap_err().to_string()
    }

    #[test]
    fn a_set_is_kept_for_its_source_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path(), &source("https://id.example/keys"));
        assert!(file.try_read(READ_MS, MAX_AGE).unwrap().is_none(), "none is no fault");
        let set = serde_json::json!({"keys": [jwk::rsa("a"), jwk::ed25519("b")]}).to_string();
        file.write(set.as_bytes(), READ_MS).unwrap();
        let kept = file.read(READ_MS, MAX_AGE).unwrap();
        assert_eq!((kept.keys.len(), kept.read_at_ms), (2, READ_MS));
        let mode = std::fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let other = KeyFile::new(directory.path(), &source("https://other.example/keys"));
        assert!(refusal(&other).contains("https://id.example/keys"));
    }

    #[test]
    fn an_old_set_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path(), &source("https://id.example/keys"));
        let set = serde_json::json!({"keys": [jwk::rsa("a")]}).to_string();
        let max_age_ms = MAX_AGE.as_millis() as u64;
        for (read_at, expected) in [
            (READ_MS - max_age_ms, Some(READ_MS - max_age_ms)),
            (READ_MS - max_age_ms - 1, None),
            (READ_MS + 1, Some(READ_MS)),
            (u64::MAX, Some(READ_MS)),
        ] {
            file.write(set.as_bytes(), read_at).unwrap();
            let kept = file.read(READ_MS, MAX_AGE);
            assert_eq!(kept.map(|kept| kept.read_at_ms), expected, "{read_at}");
        }
        file.write(set.as_bytes(), 1).unwrap();
        assert!(refusal(&file).contains("`auth.jwks_max_age`"));
    }

    #[test]
    fn unusable_files_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path(), &source("https://id.example/keys"));
        let set = serde_json::json!({"keys": [jwk::rsa("a")]}).to_string();
        file.write(set.as_bytes(), READ_MS).unwrap();
        std::fs::set_permissions(&file.path, Permissions::from_mode(0o666)).unwrap();
        assert!(refusal(&file).contains("chmod 600"));
        std::fs::set_permissions(&file.path, Permissions::from_mode(0o600)).unwrap();
        assert!(file.read(READ_MS, MAX_AGE).is_some());
        std::fs::write(&file.path, "{\"source\":\"https://id.example/keys\"").unwrap();
        assert!(refusal(&file).contains("not JSON"), "cut off");
        file.write(br#"{"keys":[]}"#, READ_MS).unwrap();
        assert!(refusal(&file).contains("no key for"));
        std::fs::remove_file(&file.path).unwrap();
        std::fs::create_dir(&file.path).unwrap();
        assert!(!refusal(&file).is_empty(), "a folder");
    }
}
