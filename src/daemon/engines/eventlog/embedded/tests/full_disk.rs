//! Appends on a full or failing disk: a batch is stored completely or not at all, readers never see
//! a failed one, and appends work again when there is space.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::faulty_disk::{Faults, FaultyDisk};
use super::{open, segment_files, small_segments};
use crate::daemon::base::clock::SystemClock;
use crate::daemon::base::config::{EventLogConfig, Guarantee};
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, read_key, take, texts,
};
use crate::daemon::engines::eventlog::embedded::EmbeddedLog;
use crate::daemon::engines::eventlog::embedded::disk::Platform;
use crate::daemon::engines::eventlog::{
    LogError, LogTelemetry, NewRecord, Position, SharedLog, StartAt, Topic,
};

const TOPIC: Topic = Topic::CommentEvents;

/// A log with ten records on a disk that fails on demand.
struct Failing {
    disk: FaultyDisk,
    directory: TempDir,
    config: EventLogConfig,
    log: SharedLog,
    /// The acknowledged records.
    stored: usize,
}

impl Failing {
    async fn with(config: EventLogConfig) -> Self {
        let disk = FaultyDisk::default();
        let directory = tempfile::tempdir().unwrap();
        let platform = Platform {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(SystemClock),
            telemetry: LogTelemetry::default(),
        };
        let log = EmbeddedLog::open_on(&platform, directory.path(), &config);
        let log: SharedLog = Arc::new(log.unwrap());
        append(&log, numbered(1, 0, 10)).await;
        Self { disk, directory, config, log, stored: 10 }
    }

    async fn refused(&self, batch: Vec<NewRecord>) -> LogError {
        self.log.append(TOPIC, batch).await.expect_err("a refused append")
    }

    /// Checks that the acknowledged records, and no others, can be read and are in the file.
    async fn check_only_stored(&self) {
        let wanted = names(&numbered(1, 0, self.stored));
        assert_eq!(texts(&read_key(&self.log, 1, 1000).await), wanted);
        let bounds = self.log.bounds(TOPIC, 0).await.unwrap();
        assert_eq!((bounds.earliest, bounds.end), (1, self.stored as u64 + 1));
    }

    fn file_bytes(&self) -> u64 {
        std::fs::metadata(segment_files(self.directory.path()).last().unwrap()).unwrap().len()
    }

    /// Checks that appends continue after the last acknowledged one, now and after reopening.
    async fn check_recovered(mut self) {
        self.disk.heal();
        let positions = append(&self.log, numbered(1, self.stored, 5)).await;
        assert_eq!(positions[0].offset, self.stored as u64 + 1, "no offset was used up");
        self.stored += 5;
        self.check_only_stored().await;
        self.log.close().await.unwrap();
        self.log = open(self.directory.path(), &self.config);
        self.check_only_stored().await;
    }
}

#[tokio::test]
async fn full_disk_refuses_the_whole_batch() {
    for room in [0, 1, 36, 50, 4000] {
        for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EFBIG] {
            let failing = Failing::with(small_segments()).await;
            let before = failing.file_bytes();
            let room_bytes = Some((room, errno));
            failing.log.ping().await.unwrap();
            failing.disk.set(Faults { room_bytes, ..Faults::default() });
            assert!(matches!(failing.log.ping().await, Err(LogError::Full(_))));
            let error = failing.refused(numbered(1, 90, 100)).await;
            assert!(matches!(&error, LogError::Full(text) if text.contains(".log")), "{error}");
            assert_eq!(failing.file_bytes(), before);
            failing.check_only_stored().await;
            failing.check_recovered().await;
        }
    }
}

#[tokio::test]
async fn failed_commit_refuses_all_its_batches() {
    let failing = Failing::with(EventLogConfig::default()).await;
    let mut member = consumer(&failing.log, "g", StartAt::Earliest).await;
    take(&mut *member, 10).await;
    failing.disk.set(Faults { room_bytes: Some((100, Errno::ENOSPC)), ..Faults::default() });
    let calls: Vec<_> =
        (0..50).map(|n| failing.log.append(TOPIC, numbered(1, 90 + n * 10, 10))).collect();
    for outcome in futures_util::future::join_all(calls).await {
        assert!(matches!(outcome, Err(LogError::Full(_))));
    }
    assert_eq!(member.poll(10, Duration::ZERO).await.unwrap().records, []);
    failing.check_recovered().await;
}

#[tokio::test]
async fn failed_fsync_stores_nothing() {
    for errno in [Errno::EIO, Errno::ENOSPC] {
        let failing = Failing::with(small_segments()).await;
        let before = failing.file_bytes();
        failing.disk.set(Faults { sync: Some(errno), ..Faults::default() });
        for _ in 0..3 {
            let error = failing.refused(numbered(1, 90, 3)).await;
            match errno {
                Errno::EIO => assert!(matches!(error, LogError::Unavailable(_)), "{error}"),
                _ => assert!(matches!(error, LogError::Full(_)), "{error}"),
            }
        }
        assert_eq!(failing.file_bytes(), before);
        failing.check_only_stored().await;
        failing.check_recovered().await;
    }
}

#[tokio::test]
async fn nothing_is_stored_before_a_failed_write_is_undone() {
    let failing = Failing::with(small_segments()).await;
    let sync = Some(Errno::EIO);
    failing.disk.set(Faults { sync, truncate: Some(Errno::EIO), ..Faults::default() });
    failing.refused(numbered(1, 90, 3)).await;
    // Syncing works again, undoing does not: nothing may be appended to the file.
    failing.disk.set(Faults { truncate: Some(Errno::EIO), ..Faults::default() });
    failing.refused(numbered(1, 95, 3)).await;
    failing.check_only_stored().await;
    failing.check_recovered().await;
}

#[tokio::test]
async fn disk_that_lost_synced_data_is_not_written_to() {
    let failing = Failing::with(small_segments()).await;
    let lose_byte_at = Some(failing.file_bytes() - 1);
    failing.disk.set(Faults { sync: Some(Errno::EIO), lose_byte_at, ..Faults::default() });
    failing.refused(numbered(1, 90, 3)).await;
    failing.disk.heal();
    let error = failing.refused(numbered(1, 90, 3)).await;
    assert!(matches!(&error, LogError::Corrupt(text) if text.contains(".log at byte")), "{error}");
}

#[tokio::test]
async fn failed_creation_of_a_segment_is_retried() {
    let config = EventLogConfig { segment_bytes: ByteSize::b(100), ..EventLogConfig::default() };
    let failing = Failing::with(config).await;
    for room in [0, 20, 36] {
        failing.disk.set(Faults { room_bytes: Some((room, Errno::ENOSPC)), ..Faults::default() });
        let error = failing.refused(numbered(1, 90, 3)).await;
        assert!(matches!(error, LogError::Full(_)), "{error}");
        failing.check_only_stored().await;
    }
    failing.check_recovered().await;
}

#[tokio::test]
async fn at_most_once_answers_before_the_sync() {
    let config = EventLogConfig { guarantee: Guarantee::AtMostOnce, ..small_segments() };
    let failing = Failing::with(config).await;
    let mut member = consumer(&failing.log, "g", StartAt::Earliest).await;
    // Acknowledged, but only synced records can be consumed.
    take(&mut *member, 10).await;
    failing.disk.set(Faults { sync: Some(Errno::EIO), ..Faults::default() });
    append(&failing.log, numbered(1, 90, 3)).await;
    failing.log.append(TOPIC, numbered(1, 95, 3)).await.unwrap_err();
    assert_eq!(texts(&read_key(&failing.log, 1, 1000).await), names(&numbered(1, 0, 10)));
    failing.disk.heal();
    append(&failing.log, numbered(1, 10, 1)).await;
    failing.log.close().await.unwrap();
    let log = open(failing.directory.path(), &failing.config);
    assert_eq!(texts(&read_key(&log, 1, 1000).await), names(&numbered(1, 0, 11)));
}

#[tokio::test]
async fn a_slow_trial_is_waited_for_by_the_next() {
    let failing = Failing::with(EventLogConfig::default()).await;
    let trial_delay = Duration::from_millis(600);
    failing.disk.set(Faults { trial_delay, ..Faults::default() });
    let began = Instant::now();
    timeout(Duration::from_millis(100), failing.log.ping()).await.expect_err("still writing");
    failing.log.ping().await.expect("the write that was begun first ends");
    assert!(began.elapsed() < trial_delay * 2, "no second write was begun");
    failing.disk.set(Faults { sync: Some(Errno::EIO), ..Faults::default() });
    failing.log.ping().await.expect_err("an outcome is used once");
}

/// Appends until the disk is full, then frees space and appends again. Runs in its own process,
/// whose files or file system are limited.
async fn fill_then_free(directory: &Path, make_room: impl FnOnce()) {
    let log = open(&directory.join("log"), &EventLogConfig::default());
    append(&log, numbered(1, 0, 1)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    take(&mut *member, 1).await;
    member.commit(&[Position { partition: 0, offset: 1 }]).await.unwrap();
    let mut stored = 1;
    let error = loop {
        match log.append(TOPIC, numbered(1, stored, 100)).await {
            Ok(positions) => stored += positions.len(),
            Err(error) => break error,
        }
        assert!(stored < 1_000_000, "the limit does not hold");
    };
    assert!(matches!(error, LogError::Full(_)), "{error}");
    assert!(stored > 100);
    assert_eq!(texts(&read_key(&log, 1, 10_000).await), names(&numbered(1, 0, stored)));
    // Positions need no more space.
    member.commit(&[Position { partition: 0, offset: 2 }]).await.unwrap();
    make_room();
    append(&log, numbered(1, stored, 1000)).await;
    let wanted = names(&numbered(1, 0, stored + 1000));
    assert_eq!(texts(&read_key(&log, 1, 10_000).await), wanted);
    log.close().await.unwrap();
    let log = open(&directory.join("log"), &EventLogConfig::default());
    assert_eq!(texts(&read_key(&log, 1, 10_000).await), wanted);
    println!("filled and freed");
}

const DIRECTORY: &str = "LCD_TEST_LIMITED_DIRECTORY";

fn given_directory() -> std::path::PathBuf {
    std::env::var_os(DIRECTORY).expect("started by its test alone").into()
}

#[tokio::test]
#[ignore = "the child process of a test"]
async fn child_with_limited_files() {
    // Without a handler this signal kills a process whose file grows too large.
    let too_large = tokio::signal::unix::SignalKind::from_raw(nix::libc::SIGXFSZ);
    let _taken = tokio::signal::unix::signal(too_large).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 200_000, hard).unwrap();
    fill_then_free(&given_directory(), || {
        setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "the child process of a test"]
async fn child_on_a_small_file_system() {
    let directory = given_directory();
    let ballast = directory.join("ballast");
    std::fs::write(&ballast, vec![1; 512 * 1024]).unwrap();
    fill_then_free(&directory, || std::fs::remove_file(&ballast).unwrap()).await;
}

#[test]
fn limit_of_the_kernel_on_file_sizes_is_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let output = super::child("full_disk::child_with_limited_files")
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("filled and freed"), "{output:?}");
}

#[test]
fn file_system_without_room_is_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"";
    let in_namespace = |command: &Command| {
        let mut isolated = Command::new("unshare");
        isolated.args(["--map-root-user", "--mount", "sh", "-c", mount]).arg(directory.path());
        isolated.arg(command.get_program()).args(command.get_args());
        isolated.env(DIRECTORY, directory.path());
        isolated.output()
    };
    if !in_namespace(&Command::new("true")).is_ok_and(|output| output.status.success()) {
        eprintln!(
            "note: this system lets nobody mount a tmpfs of its own; a full one is not tried"
        );
        return;
    }
    let output = in_namespace(&super::child("full_disk::child_on_a_small_file_system")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("filled and freed"), "{output:?}");
}
