//! Watches the disk of the data directory, on which an embedded log and SQLite stores write.
//!
//! In: a small write and the free space, every [`INTERVAL`]. Out: the problems `disk_full` and
//! `disk_low`, cleared when writes succeed again and when there is space again.
//!
//! Always holds: one probe at a time, off the runtime's threads. While a disk does not answer, that
//! is the problem, and no other probe is started. A probe leaves no file behind.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use nix::sys::statvfs::statvfs;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::daemon::base::disk_probe::try_write;
use crate::daemon::base::problems::Problems;
use crate::protocol::admin::ProblemCode;

/// The time between two probes.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// A disk that needs longer for a probe is told.
const LONGEST_PROBE: Duration = Duration::from_secs(4);
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
    /// The probe that did not end in time; the next turn waits for it.
    running: Arc<Mutex<Option<JoinHandle<Findings>>>>,
    longest_probe: Duration,
}

impl DiskWatch {
    pub(super) fn new(directory: PathBuf, problems: Problems) -> Self {
        Self { directory, problems, running: Arc::default(), longest_probe: LONGEST_PROBE }
    }

    /// Probes once, and raises or clears the problems.
    pub(super) async fn probe(&self) {
        let directory = self.directory.clone();
        self.run(move || probe(&directory)).await;
    }

    async fn run(&self, probe: impl FnOnce() -> Findings + Send + 'static) {
        let running = self.running.lock().take();
        let mut running = running.unwrap_or_else(|| tokio::task::spawn_blocking(probe));
        let findings = match tokio::time::timeout(self.longest_probe, &mut running).await {
            Ok(Ok(findings)) => findings,
            // A probe that was lost says nothing about the disk.
            Ok(Err(_)) => return,
            Err(_) => {
                *self.running.lock() = Some(running);
                let text = format!("a write has not ended after {:?}", self.longest_probe);
                let late = std::io::Error::new(ErrorKind::TimedOut, text);
                Findings { write: Err(late), low: None }
            }
        };
        self.report(&findings);
    }

    fn report(&self, findings: &Findings) {
        let Self { directory, problems, .. } = self;
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
    Findings { write: try_write(directory, PROBE_BYTES), low }
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

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_told_and_waited_for() {
        let problems = Problems::default();
        let watch = DiskWatch::new("/data".into(), problems.clone());
        let watch = DiskWatch { longest_probe: Duration::from_millis(20), ..watch };
        let (answer, answered) = std::sync::mpsc::channel::<()>();
        let hanging = move || {
            let _ = answered.recv();
            Findings { write: Ok(()), low: None }
        };
        watch.run(hanging).await;
        assert_eq!(codes(&problems), ["disk_full"]);
        assert!(problems.list()[0].text.contains("has not ended"), "{:?}", problems.list());
        watch.run(|| panic!("a second probe beside the first")).await;
        answer.send(()).unwrap();
        let watch = DiskWatch { longest_probe: Duration::from_secs(60), ..watch };
        watch.run(|| panic!("a second probe beside the first")).await;
        assert_eq!(codes(&problems), Vec::<String>::new());
    }
}
