//! The identity of this node: its name, a random number kept in the data directory, and a
//! description.
//!
//! The identity tells a node that was restarted from another node that was given the same name.
//! The file is locked while the process lives, so that no second one uses the directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::daemon::base::config::Config;
use crate::daemon::engines::registry::NodeIdentity;
use crate::protocol::NodeId;

/// The file of the identity in the data directory.
const FILE: &str = "node.id";

const LOCK_ATTEMPTS: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The identity of this node, and the lock that makes it the only process with it.
#[derive(Debug)]
pub(super) struct ClaimedIdentity {
    pub(super) identity: NodeIdentity,
    _lock: File,
}

impl ClaimedIdentity {
    /// Reads the identity, or makes one at the first start.
    pub(super) fn claim(config: &Config) -> anyhow::Result<Self> {
        let path = config.node.data_dir.join(FILE);
        let (id, lock) = claim_file(&path)?;
        let host = nix::unistd::gethostname()
            .map(|host| host.to_string_lossy().into_owned())
            .unwrap_or_else(|_| "an unknown host".to_owned());
        let listen = config.gateway.listen;
        let about = format!("{listen} on {host}, process {}", std::process::id());
        let node = NodeId::new(&config.node.name);
        // A copy of the directory on another host is another node.
        let identity = NodeIdentity { node, identity: format!("{id} on {host}"), about };
        Ok(Self { identity, _lock: lock })
    }
}

fn claim_file(path: &Path) -> anyhow::Result<(String, File)> {
    let name = path.display();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {name}"))?;
    lock(&file).with_context(|| format!("cannot lock {name}"))?;
    let mut id = String::new();
    file.read_to_string(&mut id).with_context(|| format!("cannot read {name}"))?;
    if id.trim().is_empty() {
        id = format!("{:032x}", rand::random::<u128>());
        file.write_all(id.as_bytes()).with_context(|| format!("cannot write {name}"))?;
    }
    Ok((id.trim().to_owned(), file))
}

/// Locks the file, unless another daemon has it. `lcd check` has it for a moment.
fn lock(file: &File) -> anyhow::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    bail!("another lcd uses this data directory: stop it, or choose another with --data-dir")
}

/// Fails if the file of the identity cannot be opened as the start opens it. Creates nothing.
pub(super) fn check_file(data_dir: &Path) -> Result<(), String> {
    let path = data_dir.join(FILE);
    if !path.exists() {
        return Ok(());
    }
    let opened = OpenOptions::new().read(true).write(true).open(&path);
    opened.map(drop).map_err(|error| {
        format!(
            "cannot open {}: {error}. This user must be able to read and write it",
            path.display()
        )
    })
}

/// Returns whether a daemon uses the data directory. Creates nothing.
pub(super) fn is_in_use(data_dir: &Path) -> bool {
    let Ok(file) = File::open(data_dir.join(FILE)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_keeps_the_identity_that_none_can_share() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (first, lock) = claim_file(&path).unwrap();
        let error = format!("{:#}", claim_file(&path).unwrap_err());
        assert!(error.contains("--data-dir"), "{error}");
        assert!(is_in_use(directory.path()));
        drop(lock);
        assert!(!is_in_use(directory.path()));
        assert_eq!(claim_file(&path).unwrap().0, first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(claim_file(&other.path().join(FILE)).unwrap().0, first);
    }
}
