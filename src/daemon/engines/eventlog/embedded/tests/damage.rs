//! Opening and reading of damaged files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::{open, segment_files, small_segments, try_open};
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, read_key, take, texts,
};
use crate::daemon::engines::eventlog::{LogError, Position, SharedLog, StartAt, Topic};

const TOPIC: Topic = Topic::CommentEvents;

/// Returns a closed log whose comments were appended in commits of these sizes, and the end of each
/// commit in its last segment.
async fn written(config: &EventLogConfig, commits: &[usize]) -> (TempDir, Vec<u64>) {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), config);
    let mut ends = Vec::new();
    let mut first = 0;
    for count in commits {
        append(&log, numbered(1, first, *count)).await;
        first += count;
        let last = segment_files(directory.path()).pop().unwrap();
        ends.push(fs::metadata(last).unwrap().len());
    }
    log.close().await.unwrap();
    (directory, ends)
}

fn last_segment(directory: &Path) -> PathBuf {
    segment_files(directory).pop().unwrap()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

async fn all(log: &SharedLog) -> Vec<String> {
    texts(&read_key(log, 1, 10_000).await)
}

/// Returns the error of opening a damaged log.
fn damage_at_open(directory: &Path) -> String {
    match try_open(directory, &EventLogConfig::default()) {
        Err(LogError::Corrupt(text)) => text,
        other => panic!("expected damage, got {other:?}"),
    }
}

#[tokio::test]
async fn torn_write_loses_nothing_before_it() {
    let config = EventLogConfig::default();
    let (directory, ends) = written(&config, &[5, 3]).await;
    let path = last_segment(directory.path());
    let whole = fs::read(&path).unwrap();
    let acknowledged = ends[0] as usize;
    for cut in (acknowledged..whole.len()).step_by(7).chain([acknowledged, whole.len() - 1]) {
        fs::write(&path, &whole[..cut]).unwrap();
        let log = open(directory.path(), &config);
        let kept = all(&log).await;
        assert!((5..8).contains(&kept.len()), "cut at {cut}");
        assert_eq!(kept, names(&numbered(1, 0, kept.len())));
        append(&log, numbered(1, kept.len(), 2)).await;
        log.close().await.unwrap();
        let log = open(directory.path(), &config);
        assert_eq!(all(&log).await, names(&numbered(1, 0, kept.len() + 2)));
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn missing_sectors_cost_only_the_last_commit() {
    let config = EventLogConfig::default();
    let (directory, ends) = written(&config, &[40, 1, 40, 300]).await;
    let path = last_segment(directory.path());
    let whole = fs::read(&path).unwrap();
    let torn_from = ends[2] as usize;
    let mut rng = StdRng::seed_from_u64(4);
    for round in 0..25 {
        // A power failure: only some sectors of the last commit reached the disk.
        let mut torn = whole.clone();
        for sector in torn_from / 512..=whole.len() / 512 {
            let sector = (sector * 512).max(torn_from)..((sector + 1) * 512).min(whole.len());
            if !sector.is_empty() && rng.random_bool(0.3) {
                torn[sector].fill(0);
            }
        }
        fs::write(&path, &torn).unwrap();
        let log = open(directory.path(), &config);
        let kept = all(&log).await;
        assert!((81..=381).contains(&kept.len()), "round {round}: {} records", kept.len());
        assert_eq!(kept, names(&numbered(1, 0, kept.len())));
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn bytes_behind_the_last_record_are_cut_off() {
    let config = EventLogConfig::default();
    let (directory, _) = written(&config, &[5]).await;
    let path = last_segment(directory.path());
    let whole = fs::read(&path).unwrap();
    for leftover in [vec![0; 1], vec![0; 5000], vec![0xFF; 36], b"any text at all ".repeat(9)] {
        change(&path, |bytes| bytes.extend_from_slice(&leftover));
        let log = open(directory.path(), &config);
        assert_eq!(all(&log).await, names(&numbered(1, 0, 5)));
        log.close().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[tokio::test]
async fn damage_to_acked_records_is_never_cut_off() {
    let (directory, ends) = written(&EventLogConfig::default(), &[5, 5, 1]).await;
    let path = last_segment(directory.path());
    let whole = fs::read(&path).unwrap();
    for at in (36..ends[1] as usize).step_by(11) {
        change(&path, |bytes| bytes[at] ^= 0x55);
        let text = damage_at_open(directory.path());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(text.contains(name) && text.contains("at byte"), "{text}");
        let place: usize =
            text.split("at byte ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
        assert!(place <= at && at < place + 50, "damaged at {at}, reported at {place}");
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(all(&open(directory.path(), &EventLogConfig::default())).await.len(), 11);
}

#[tokio::test]
async fn damage_in_a_sealed_segment_stops_readers_there() {
    let config = EventLogConfig { segment_bytes: ByteSize::kib(3), ..EventLogConfig::default() };
    let (directory, _) = written(&config, &[100; 5]).await;
    let files = segment_files(directory.path());
    assert_eq!(files.len(), 5, "a segment for each commit");
    // Offsets 101 to 200; its records have 36 bytes and up to 6 of text.
    let damaged = &files[1];
    change(damaged, |bytes| bytes[2000] ^= 1);
    let log = open(directory.path(), &config);
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let mut last = 0;
    let error = loop {
        match member.poll(7, Duration::ZERO).await {
            Ok(polled) => {
                for record in polled.records {
                    assert_eq!(record.position.offset, last + 1);
                    last += 1;
                }
            }
            Err(error) => break error,
        }
    };
    let name = damaged.file_name().unwrap().to_str().unwrap();
    assert!(matches!(&error, LogError::Corrupt(text) if text.contains(name)), "{error}");
    assert!((101..200).contains(&last));
    let again = member.poll(7, Duration::ZERO).await;
    assert!(matches!(again, Err(LogError::Corrupt(_))), "never skipped");
    assert!(matches!(log.read(TOPIC, 1, last, 10).await, Err(LogError::Corrupt(_))));
    for readable in [1, 201, 401] {
        assert_eq!(log.read(TOPIC, 1, readable, 50).await.unwrap().records.len(), 50);
    }
    append(&log, numbered(1, 500, 1)).await;
}

#[tokio::test]
async fn truncated_or_missing_segment_is_an_error() {
    let config = EventLogConfig { segment_bytes: ByteSize::kib(3), ..EventLogConfig::default() };
    for cut_to in [None, Some(36), Some(40), Some(3000)] {
        let (directory, _) = written(&config, &[100; 4]).await;
        let files = segment_files(directory.path());
        match cut_to {
            None => fs::remove_file(&files[1]).unwrap(),
            Some(length) => change(&files[1], |bytes| bytes.truncate(length)),
        }
        let log = open(directory.path(), &config);
        let mut offset = 1;
        let outcome = loop {
            match log.read(TOPIC, 1, offset, 1).await {
                Ok(page) if page.at_end => break Ok(()),
                Ok(page) => offset = page.next_offset,
                Err(error) => break Err(error),
            }
        };
        assert!(matches!(outcome, Err(LogError::Corrupt(_))), "{cut_to:?}: {outcome:?}");
        assert!((101..201).contains(&offset));
    }
}

#[tokio::test]
async fn incomplete_new_segment_is_created_again() {
    let config = small_segments();
    let (directory, _) = written(&config, &[5]).await;
    let unfinished = last_segment(directory.path()).with_file_name("00000000000000000006.log");
    for contents in [&b""[..], b"lcdlog", &[0; 36]] {
        fs::write(&unfinished, contents).unwrap();
        let log = open(directory.path(), &config);
        assert_eq!(all(&log).await, names(&numbered(1, 0, 5)));
        log.close().await.unwrap();
        assert!(!unfinished.exists());
    }
    change(&last_segment(directory.path()), |bytes| bytes[10] ^= 1);
    assert!(damage_at_open(directory.path()).contains("header"));
}

#[tokio::test]
async fn epoch_changes_when_a_topic_is_lost() {
    let config = small_segments();
    let (directory, _) = written(&config, &[5]).await;
    let meta = directory.path().join("meta");
    let epoch = |directory: &Path| open(directory, &config).epoch();
    let first = epoch(directory.path());
    assert_eq!(epoch(directory.path()), first);

    let kept = fs::read(&meta).unwrap();
    change(&meta, |bytes| bytes[20] ^= 1);
    assert!(damage_at_open(directory.path()).contains("meta"));
    fs::remove_file(&meta).unwrap();
    assert!(damage_at_open(directory.path()).contains("restore it"));
    fs::write(&meta, kept).unwrap();

    fs::remove_dir_all(directory.path().join(TOPIC.name())).unwrap();
    let second = epoch(directory.path());
    assert_ne!(second, first, "comments were lost");
    assert_eq!(epoch(directory.path()), second);
    fs::remove_dir_all(directory.path()).unwrap();
    assert_ne!(epoch(directory.path()), second);
}

#[tokio::test]
async fn lost_offsets_are_not_assigned_again() {
    let config = small_segments();
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &config);
    append(&log, numbered(1, 0, 5)).await;
    let kept = fs::metadata(last_segment(directory.path())).unwrap().len();
    append(&log, numbered(1, 5, 5)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    take(&mut *member, 9).await;
    member.commit(&[Position { partition: 0, offset: 10 }]).await.unwrap();
    drop(member);
    log.close().await.unwrap();
    change(&last_segment(directory.path()), |bytes| bytes.truncate(kept as usize));

    for round in 0..2 {
        let log = open(directory.path(), &config);
        let mut member = consumer(&log, "g", StartAt::Earliest).await;
        assert_eq!(append(&log, numbered(1, 20 + round, 1)).await[0].offset, 10 + round as u64);
        let next = take(&mut *member, 1).await;
        assert_eq!((next[0].position.offset, &*next[0].payload), (10, &b"1:20"[..]));
        let mut wanted = names(&numbered(1, 0, 5));
        wanted.extend(names(&numbered(1, 20, 1 + round)));
        assert_eq!(all(&log).await, wanted);
        let page = log.read(TOPIC, 1, 7, 10).await.unwrap();
        assert_eq!(page.records[0].position.offset, 10, "7 lies in the gap");
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn damaged_position_file_fails_the_open() {
    let (directory, _) = written(&small_segments(), &[5]).await;
    let path = directory.path().join(TOPIC.name()).join("archive.position");
    fs::write(path, vec![9; 8192]).unwrap();
    assert!(damage_at_open(directory.path()).contains("archive.position"));
}
