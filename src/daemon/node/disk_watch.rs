//! Watches the disk of the data directory, on which an embedded log and SQLite stores write.
//!
//! In: a small write and the free space, every [`INTERVAL`]. Out: the problems `disk_full` and
//! `disk_low`, cleared when writes succeed again and when there is space again.
//!
//! Always holds: one probe at a time, off the runtime's threads. A probe leaves no file behind.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statvfs::statvfs;

use crate::daemon::base::problems::Problems;
use crate::protocol::admin::ProblemCode;

/// The time between two probes.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// Bytes written per probe: as much as a batch of comments and a page of each store.
const PROBE_BYTES: usize = 64 * 1024;
/// Free space below this is low, and on a small disk less than [`LOW_SHARE`] of it.
const LOW_BYTES: u64 = 512 * 1024 * 1024;
const LOW_SHARE: u64 = 20;

/// The disk of one directory.
#[derive(Debug, Clone)]
pub(super) struct DiskWatch {
    directory: PathBuf,
    problems: Problems,
}

impl DiskWatch {
    pub(super) fn new(directory: PathBuf, problems: Problems) -> Self {
        Self { directory, problems }
    }

    /// Probes once, and raises or clears the problems.
    pub(super) async fn probe(&self) {
        let directory = self.directory.clone();
        let probed = tokio::task::spawn_blocking(move || probe(&directory)).await;
        // A probe that was lost says nothing about the disk.
        if let Ok(findings) = probed {
            self.report(&findings);
        }
    }

    fn report(&self, findings: &Findings) {
        let Self { directory, problems } = self;
        let subject = directory.display().to_string();
        match &findings.write {
            Ok(()) => problems.clear(ProblemCode::DiskFull, &subject),
            Err(error) => {
                let is_full = matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                );
                let what = if is_full {
                    format!("the disk of {subject} is full")
                } else {
                    format!("cannot write to {subject}: {error}")
                };
                let text = format!(
                    "{what}; comments, bans and tokens are refused; make space or repair the \
                     disk, a restart is not needed"
                );
                problems.raise(ProblemCode::DiskFull, &subject, text);
            }
        }
        match findings.low {
            // The text is about the threshold: a text with the free space would be new each time.
            Some(threshold) if findings.write.is_ok() => {
                let text = format!(
                    "the disk of {subject} has less than {} left; comments, bans and tokens are \
                     refused when it is full; make space, or lower eventlog.retention_bytes",
                    ByteSize::b(threshold).display().iec()
                );
                problems.raise(ProblemCode::DiskLow, &subject, text);
            }
            _ => problems.clear(ProblemCode::DiskLow, &subject),
        }
    }
}

/// The result of one probe.
#[derive(Debug)]
struct Findings {
    write: std::io::Result<()>,
    /// The threshold, if less is free.
    low: Option<u64>,
}

fn probe(directory: &Path) -> Findings {
    let low = statvfs(directory).ok().and_then(|disk| {
        let block = disk.fragment_size();
        let total = disk.blocks().saturating_mul(block);
        let free = disk.blocks_available().saturating_mul(block);
        let threshold = LOW_BYTES.min(total / LOW_SHARE);
        (free < threshold).then_some(threshold)
    });
    Findings { write: try_write(directory), low }
}

fn try_write(directory: &Path) -> std::io::Result<()> {
    let mut file = unnamed_file(directory)?;
    file.write_all(&[0x5a; PROBE_BYTES])?;
    file.sync_data()
}

/// Returns a file that has no name, so that it is gone even if the process is killed.
fn unnamed_file(directory: &Path) -> std::io::Result<File> {
    let unnamed = OFlag::O_TMPFILE.bits();
    match OpenOptions::new().write(true).custom_flags(unnamed).open(directory) {
        // Some file systems have only files with a name.
        Err(error) if matches!(errno(&error), Some(Errno::EOPNOTSUPP | Errno::EISDIR)) => {
            let path = directory.join(".write-probe");
            let file = File::create(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        opened => opened,
    }
}

fn errno(error: &std::io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(problems: &Problems) -> Vec<String> {
        problems.list().into_iter().map(|problem| problem.code).collect()
    }

    #[tokio::test]
    async fn a_write_that_fails_is_a_problem_until_it_works() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("data");
        let problems = Problems::default();
        let watch = DiskWatch::new(directory.clone(), problems.clone());
        watch.probe().await;
        assert_eq!(codes(&problems), ["disk_full"], "the directory is not there");
        std::fs::create_dir(&directory).unwrap();
        watch.probe().await;
        assert!(!codes(&problems).contains(&"disk_full".to_owned()));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn little_space_is_a_problem_of_its_own() {
        let problems = Problems::default();
        let watch = DiskWatch::new("/data".into(), problems.clone());
        watch.report(&Findings { write: Ok(()), low: Some(1 << 20) });
        assert_eq!(codes(&problems), ["disk_low"]);
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        watch.report(&Findings { write: Err(full), low: Some(1 << 20) });
        assert_eq!(codes(&problems), ["disk_full"], "the worse one says enough");
        watch.report(&Findings { write: Ok(()), low: None });
        assert_eq!(codes(&problems), Vec::<String>::new());
    }
}
