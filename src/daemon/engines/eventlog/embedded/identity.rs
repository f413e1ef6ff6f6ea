//! The identity of the log in a directory, and the lock that lets one process at a time open it.
//!
//! The file `meta`, which is always replaced as a whole:
//!
//! ```text
//! lcd event log 1
//! epoch 2917312881
//! topics comment_events moderation_events
//! earlier 1093840922=57
//! crc32c 5d0a7c11
//! ```
//!
//! The topics are those that have been created, so that a topic without files is known to be lost
//! rather than new. `earlier` has the earlier epochs of the log, each with the first offset of
//! `comment_events` that may have another record now. The first epoch of a log has no such line.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use super::disk::{read_failure, write_failure};
use crate::daemon::engines::eventlog::{EarlierEpoch, LogError};
use crate::net::replace_file::replace_file;
use crate::protocol::Epoch;

const TITLE: &str = "lcd event log 1";
/// Earlier epochs that are kept, the latest ones.
const MAX_EARLIER: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub epoch: Epoch,
    /// Names of the topics that have been created.
    pub topics: Vec<String>,
    /// Oldest first. Empty in the first epoch.
    pub earlier: Vec<EarlierEpoch>,
}

impl Identity {
    /// Creates the identity of a new log. The epoch is never 0, which means "none".
    pub(super) fn random(topics: Vec<String>) -> Self {
        let epoch = Epoch(rand::random_range(1..=u32::MAX));
        Self { epoch, topics, earlier: Vec::new() }
    }

    /// Returns the identity of this log after a loss: a new epoch, in which the comment events from
    /// `end` on are new.
    pub(super) fn after_loss(&self, topics: Vec<String>, end: u64) -> Self {
        let before = EarlierEpoch { epoch: self.epoch, until: end };
        let earlier = self.earlier.iter().copied().chain([before]);
        let earlier = earlier.map(|of| EarlierEpoch { until: of.until.min(end), ..of });
        let omitted = (self.earlier.len() + 1).saturating_sub(MAX_EARLIER);
        Self { earlier: earlier.skip(omitted).collect(), ..Self::random(topics) }
    }

    /// Reads the identity. `None` if the directory has never held a log.
    pub(super) fn load(directory: &Path) -> Result<Option<Self>, LogError> {
        let path = directory.join("meta");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read_failure("reading", &path, &error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        let damaged = || {
            LogError::Corrupt(format!(
                "{}: not the identity of an event log, or changed since it was written",
                path.display()
            ))
        };
        parse(&text).ok_or_else(damaged).map(Some)
    }

    pub(super) fn store(&self, directory: &Path) -> Result<(), LogError> {
        let path = directory.join("meta");
        replace_file(&path, self.to_text().as_bytes())
            .map_err(|e| write_failure("writing", &path, &e))
    }

    fn to_text(&self) -> String {
        let mut body = format!("{TITLE}\nepoch {}\ntopics {}\n", self.epoch, self.topics.join(" "));
        if !self.earlier.is_empty() {
            let earlier = self.earlier.iter().map(|of| format!("{}={}", of.epoch, of.until));
            body.push_str(&format!("earlier {}\n", earlier.collect::<Vec<_>>().join(" ")));
        }
        let checksum = crc32c::crc32c(body.as_bytes());
        format!("{body}crc32c {checksum:08x}\n")
    }
}

/// Describes a log that cannot be opened: there are records, and no identity.
pub(super) fn without_identity(directory: &Path) -> LogError {
    LogError::Corrupt(format!(
        "{} holds records, but the file `meta` with the identity of the log is missing: restore it, \
         or move the directory away to begin a new log",
        directory.display()
    ))
}

fn parse(text: &str) -> Option<Identity> {
    let (body, checksum) = text.split_at_checked(text.find("crc32c ")?)?;
    let checksum = checksum.strip_prefix("crc32c ")?.strip_suffix('\n')?;
    if u32::from_str_radix(checksum, 16).ok()? != crc32c::crc32c(body.as_bytes()) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let epoch = Epoch(lines.next()?.strip_prefix("epoch ")?.parse().ok()?);
    let topics = lines.next()?.strip_prefix("topics ")?;
    let topics = topics.split_whitespace().map(str::to_owned).collect();
    // Absent in the first epoch, and in files of earlier versions.
    let earlier = lines.next().and_then(|line| line.strip_prefix("earlier ")).unwrap_or_default();
    let of_epoch = |text: &str| {
        let (epoch, until) = text.split_once('=')?;
        Some(EarlierEpoch { epoch: Epoch(epoch.parse().ok()?), until: until.parse().ok()? })
    };
    let earlier = earlier.split_whitespace().map(of_epoch).collect::<Option<_>>()?;
    Some(Identity { epoch, topics, earlier })
}

/// The lock of a process that has the log open. The kernel releases it when the process is killed.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    pub(super) fn acquire(directory: &Path) -> Result<Self, LogError> {
        let path = directory.join("LOCK");
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|e| write_failure("opening", &path, &e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(LogError::Unavailable(format!(
                    "{} is in use by another lcd (process {}): stop it, or give this one another \
                     node.data_dir",
                    directory.display(),
                    holder.trim()
                )));
            }
            Err(TryLockError::Error(error)) => {
                return Err(write_failure("locking", &path, &error));
            }
        }
        // Only for the message above: the lock holds without it, for example on a full disk.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file would leave the lock with a child process that is being started. If
        // unlocking fails, closing must do.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_survives_storing_and_loading() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        let first = Identity::random(vec!["a".into(), "b".into()]);
        let second = first.after_loss(first.topics.clone(), 57);
        let third = second.after_loss(first.topics.clone(), 9);
        for identity in [first, second, third] {
            identity.store(dir.path()).unwrap();
            assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity));
        }
    }

    #[test]
    fn any_changed_byte_is_detected() {
        let first = Identity { epoch: Epoch(12), topics: vec!["a".into()], earlier: Vec::new() };
        let text = first.after_loss(first.topics.clone(), 57).to_text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert_eq!(parse(&changed), None, "byte {at}");
        }
        assert!(parse(&text[..text.len() - 1]).is_none() && parse("").is_none());
    }

    #[test]
    fn an_earlier_epoch_ends_where_the_log_was_shortest() {
        let mut identity = Identity::random(Vec::new());
        let mut expected = Vec::new();
        for end in (1..=100).chain([70]) {
            expected.push(EarlierEpoch { epoch: identity.epoch, until: end });
            identity = identity.after_loss(Vec::new(), end);
        }
        expected.iter_mut().for_each(|of| of.until = of.until.min(70));
        assert_eq!(identity.earlier, expected.split_off(101 - MAX_EARLIER));
    }

    #[test]
    fn second_lock_fails_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::acquire(dir.path()).unwrap();
        let error = DirectoryLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        DirectoryLock::acquire(dir.path()).unwrap();
    }
}
