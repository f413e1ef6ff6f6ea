//! Removal of old segments, and its effect on groups that had not read them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use nix::errno::Errno;

use super::faulty_disk::{Faults, FaultyDisk};
use super::{eventually, segment_files};
use crate::daemon::base::clock::Clock;
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, read_key, take, texts,
};
use crate::daemon::engines::eventlog::embedded::EmbeddedLog;
use crate::daemon::engines::eventlog::embedded::disk::Platform;
use crate::daemon::engines::eventlog::embedded::disk::{Disk, LocalDisk};
use crate::daemon::engines::eventlog::{
    LogError, LogTelemetry, Position, SharedLog, StartAt, Topic,
};

const TOPIC: Topic = Topic::CommentEvents;

/// A clock that moves only on demand.
#[derive(Debug, Default, Clone)]
struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn config(retention: Duration, retention_bytes: ByteSize) -> EventLogConfig {
    EventLogConfig {
        segment_bytes: ByteSize::kib(3),
        retention,
        retention_bytes,
        ..EventLogConfig::default()
    }
}

fn open_with(
    disk: impl Disk + 'static,
    directory: &Path,
    config: &EventLogConfig,
    clock: &ManualClock,
) -> Arc<EmbeddedLog> {
    let platform = Platform {
        disk: Arc::new(disk),
        clock: Arc::new(clock.clone()),
        telemetry: LogTelemetry::default(),
    };
    Arc::new(EmbeddedLog::open_on(&platform, directory, config).unwrap())
}

async fn earliest(log: &SharedLog) -> u64 {
    log.bounds(TOPIC, 0).await.unwrap().earliest
}

/// Appends batches of 100 records, each larger than a segment.
async fn fill(log: &SharedLog, batches: usize) {
    for _ in 0..batches {
        append(log, numbered(1, 0, 100)).await;
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn oldest_segments_go_when_a_topic_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(DAY, ByteSize::kib(20));
    let log: SharedLog = open_with(LocalDisk, directory.path(), &config, &ManualClock::default());
    fill(&log, 40).await;
    let kept_bytes = || {
        let files = segment_files(directory.path());
        files.iter().map(|path| std::fs::metadata(path).map_or(0, |m| m.len())).sum::<u64>()
    };
    // The last removal happens after its append is answered.
    eventually("segments to go", || kept_bytes() <= 20 * 1024).await;
    let earliest = earliest(&log).await;
    assert!(earliest > 3000);
    let records = read_key(&log, 1, 1000).await;
    let offsets: Vec<_> = records.iter().map(|record| record.position.offset).collect();
    assert_eq!(offsets, (earliest..=4000).collect::<Vec<_>>());
    let expired = log.read(TOPIC, 1, earliest - 1, 10).await;
    let wanted = earliest - 1;
    assert!(
        matches!(expired, Err(LogError::Expired { wanted: w, earliest: e }) if (w, e) == (wanted, earliest))
    );
    assert!(matches!(log.read(TOPIC, 1, 0, 10).await, Err(LogError::Expired { .. })));
}

#[tokio::test]
async fn segments_go_when_they_are_older_than_the_retention() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::default();
    let config = config(DAY, ByteSize::gib(1));
    let embedded = open_with(LocalDisk, directory.path(), &config, &clock);
    let log: SharedLog = embedded.clone();
    // Three segments, of which the first two are sealed.
    fill(&log, 3).await;
    clock.advance(DAY);
    embedded.enforce_retention();
    append(&log, numbered(1, 0, 1)).await;
    assert_eq!(earliest(&log).await, 1, "sealed exactly a day ago");
    clock.advance(Duration::from_millis(1));
    embedded.enforce_retention();
    append(&log, numbered(1, 0, 1)).await;
    embedded.enforce_retention();
    append(&log, numbered(1, 0, 1)).await;
    assert_eq!(earliest(&log).await, 201);
    assert_eq!(segment_files(directory.path()).len(), 2);
}

#[tokio::test]
async fn old_records_of_a_quiet_topic_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::default();
    let config = config(DAY, ByteSize::gib(1));
    let embedded = open_with(LocalDisk, directory.path(), &config, &clock);
    let log: SharedLog = embedded.clone();
    append(&log, numbered(1, 0, 5)).await;
    let files = || segment_files(directory.path()).len();
    clock.advance(DAY / 7);
    embedded.enforce_retention();
    eventually("the segment to be sealed", || files() == 2).await;
    clock.advance(DAY + Duration::from_millis(1));
    embedded.enforce_retention();
    eventually("the sealed segment to go", || files() == 1).await;
    assert_eq!(earliest(&log).await, 6);
    assert_eq!(append(&log, numbered(1, 5, 1)).await[0].offset, 6);
    drop((log, embedded));
    let log: SharedLog = open_with(LocalDisk, directory.path(), &config, &clock);
    assert_eq!(read_key(&log, 1, 10).await[0].position.offset, 6);
}

#[tokio::test]
async fn slow_group_continues_at_the_earliest_kept() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(DAY, ByteSize::kib(20));
    let log: SharedLog = open_with(LocalDisk, directory.path(), &config, &ManualClock::default());
    fill(&log, 1).await;
    let mut slow = consumer(&log, "slow", StartAt::Earliest).await;
    let mut reading = consumer(&log, "reading", StartAt::Earliest).await;
    take(&mut *slow, 10).await;
    slow.commit(&[Position { partition: 0, offset: 11 }]).await.unwrap();
    drop(slow);
    // This group is in the middle of the first segment when it is removed.
    take(&mut *reading, 10).await;
    fill(&log, 40).await;
    eventually("segments to go", || segment_files(directory.path()).len() <= 5).await;
    let kept = earliest(&log).await;

    let mut slow = consumer(&log, "slow", StartAt::Earliest).await;
    let first = take(&mut *slow, 1).await;
    assert_eq!(first[0].position.offset, kept);
    let lag = log.lag().await.unwrap();
    assert_eq!((lag[0].position, lag[0].lag, lag[0].expired), (11, 4101 - kept, kept - 11));

    let mut last = 10;
    while last < 4100 {
        let next = take(&mut *reading, 1).await[0].position.offset;
        assert!(next == last + 1 || next == kept, "{next} after {last}");
        last = next;
    }
}

#[tokio::test]
async fn segment_that_cannot_be_removed_is_removed_later() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let config = config(DAY, ByteSize::kib(20));
    let clock = ManualClock::default();
    let embedded = open_with(disk.clone(), directory.path(), &config, &clock);
    let log: SharedLog = embedded.clone();
    disk.set(Faults { remove: Some(Errno::EIO), ..Faults::default() });
    fill(&log, 10).await;
    assert_eq!(read_key(&log, 1, 10_000).await.len(), 1000);
    disk.heal();
    embedded.enforce_retention();
    eventually("segments to go", || segment_files(directory.path()).len() <= 5).await;
    drop((log, embedded));
    let log: SharedLog = open_with(LocalDisk, directory.path(), &config, &clock);
    let kept = earliest(&log).await;
    assert_eq!(read_key(&log, 1, 10_000).await.len() as u64, 1001 - kept);
}

#[tokio::test]
async fn half_made_segment_does_not_shadow_later_records() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let clock = ManualClock::default();
    let config = EventLogConfig { retention: DAY, ..EventLogConfig::default() };
    let embedded = open_with(disk.clone(), directory.path(), &config, &clock);
    let log: SharedLog = embedded.clone();
    append(&log, numbered(1, 0, 5)).await;
    // The old segment is to be sealed; the new one is created, but neither synced nor removed.
    clock.advance(DAY / 4);
    let sync = Some(Errno::ENOSPC);
    let remove = Some(Errno::EIO);
    disk.set(Faults { sync, remove, ..Faults::default() });
    embedded.enforce_retention();
    eventually("a second file", || segment_files(directory.path()).len() == 2).await;
    assert!(log.append(TOPIC, numbered(1, 90, 1)).await.is_err());
    disk.heal();
    append(&log, numbered(1, 5, 5)).await;
    drop((log, embedded));
    let log: SharedLog = open_with(LocalDisk, directory.path(), &config, &clock);
    assert_eq!(texts(&read_key(&log, 1, 100).await), names(&numbered(1, 0, 10)));
}
