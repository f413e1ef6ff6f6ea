//! Files that are removed while the log is open, and damage that is repaired.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{segment_files, small_segments};
use crate::daemon::base::clock::SystemClock;
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, read_key, take, texts,
};
use crate::daemon::engines::eventlog::embedded::check::check;
use crate::daemon::engines::eventlog::embedded::segment::{self, SegmentHeader};
use crate::daemon::engines::eventlog::embedded::{
    EmbeddedLog, Findings, Missing, MissingPart, repair,
};
use crate::daemon::engines::eventlog::{
    LogError, LogTelemetry, Position, SharedLog, StartAt, Topic,
};

const TOPIC: Topic = Topic::CommentEvents;
/// The time within which an operator is told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

fn open(directory: &Path, config: &EventLogConfig) -> (SharedLog, StatusBoard) {
    let board = StatusBoard::default();
    let telemetry = LogTelemetry::new(&board);
    let log = EmbeddedLog::open(directory, config, Arc::new(SystemClock), telemetry);
    (Arc::new(log.unwrap()), board)
}

/// Waits until a problem is there, or is solved, and returns its text.
async fn told(board: &StatusBoard, code: &str, is_there: bool) -> String {
    let told = async {
        loop {
            let problems = board.problems().list();
            let found = problems.into_iter().find(|problem| problem.code == code);
            if found.is_some() == is_there {
                return found.map(|problem| problem.text).unwrap_or_default();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TOLD_WITHIN, told).await.unwrap_or_else(|_| panic!("{code}: {is_there} in time"))
}

#[tokio::test]
async fn nothing_is_acked_into_a_removed_file() {
    let directory = tempfile::tempdir().unwrap();
    let (log, board) = open(directory.path(), &EventLogConfig::default());
    append(&log, numbered(1, 0, 5)).await;
    let path = segment_files(directory.path()).pop().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    let refused = log.append(TOPIC, numbered(1, 5, 1)).await.unwrap_err().to_string();
    assert!(refused.contains(&path.display().to_string()), "{refused}");
    assert!(refused.contains("removed or replaced"), "{refused}");
    let text = told(&board, "log_files_missing", true).await;
    assert!(text.contains(&path.display().to_string()) && text.contains("restart lcd"), "{text}");

    // A copy is another file, and holds nothing that was written after it was made.
    fs::write(&path, b"another").unwrap();
    let refused = log.append(TOPIC, numbered(1, 5, 1)).await.unwrap_err().to_string();
    assert!(refused.contains("a copy is another file"), "{refused}");
    assert!(log.ping().await.unwrap_err().to_string().contains(path.to_str().unwrap()));
    assert_eq!(fs::read(&path).unwrap(), b"another", "the operator's file is not written to");
    fs::rename(&elsewhere, &path).unwrap();
    told(&board, "log_files_missing", false).await;
    log.ping().await.unwrap();
    append(&log, numbered(1, 5, 2)).await;
    assert_eq!(texts(&read_key(&log, 1, 100).await), names(&numbered(1, 0, 7)));
    log.close().await.unwrap();
}

#[tokio::test]
async fn removed_old_segment_is_told_and_refuses_appends() {
    let directory = tempfile::tempdir().unwrap();
    let (log, board) = open(directory.path(), &small_segments());
    for first in (0..1000).step_by(100) {
        append(&log, numbered(1, first, 100)).await;
    }
    let files = segment_files(directory.path());
    assert!(files.len() > 2);
    fs::remove_file(&files[0]).unwrap();
    let text = told(&board, "log_files_missing", true).await;
    assert!(text.contains(&files[0].display().to_string()), "{text}");
    let refused = log.append(TOPIC, numbered(1, 1000, 1)).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    // The other topics go on.
    log.append(Topic::DeadLetters, numbered(1, 0, 1)).await.unwrap();
    log.close().await.unwrap();

    // After a restart the rest is used, and each group says what it missed.
    let (log, board) = open(directory.path(), &small_segments());
    append(&log, numbered(1, 1000, 1)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let first = take(&mut *member, 1).await[0].position.offset;
    let text = told(&board, "records_skipped", true).await;
    assert!(text.contains(&format!("offsets 1 to {}", first - 1)), "{text}");
    log.close().await.unwrap();
}

#[tokio::test]
async fn all_files_of_a_topic_gone_is_told_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = open(directory.path(), &EventLogConfig::default());
    append(&log, numbered(1, 0, 5)).await;
    let epoch = log.epoch();
    log.close().await.unwrap();
    fs::remove_dir_all(directory.path().join(TOPIC.name())).unwrap();
    let (log, board) = open(directory.path(), &EventLogConfig::default());
    assert_ne!(log.epoch(), epoch);
    assert!(told(&board, "log_replaced", true).await.contains("comment_events"));
    log.close().await.unwrap();
}

#[tokio::test]
async fn repair_loses_only_what_is_damaged() {
    // Of each segment: a byte in the middle, one in the header, and the end cut off.
    for place in ["middle", "header", "end"] {
        let directory = tempfile::tempdir().unwrap();
        let (log, _) = open(directory.path(), &small_segments());
        for first in 0..1000 {
            append(&log, numbered(1, first, 1)).await;
        }
        log.close().await.unwrap();
        let files = segment_files(directory.path());
        let path = &files[1];
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        match place {
            "middle" => bytes[whole.len() / 2] ^= 1,
            "header" => bytes[10] ^= 1,
            _ => bytes.truncate(whole.len() - 3),
        }
        fs::write(path, &bytes).unwrap();

        let found = repair(directory.path(), false).unwrap().damage;
        assert_eq!(fs::read(path).unwrap(), bytes, "{place}: a dry run changes nothing");
        assert!(found.iter().any(|damage| damage.path == *path), "{place}: {found:?}");
        let lost: u64 = found.iter().map(|damage| damage.lost.end - damage.lost.start).sum();
        assert_eq!(lost, if place == "header" { 0 } else { 1 }, "{place}: {found:?}");
        assert_eq!(repair(directory.path(), true).unwrap().damage, found);
        let again = repair(directory.path(), false).unwrap();
        let nothing = Findings::default();
        assert_eq!(again, nothing, "{place}: repaired once for all");
        let kept = path.with_extension("damaged");
        assert_eq!(fs::read(kept).unwrap(), bytes, "{place}: the damaged file is kept");

        let (log, board) = open(directory.path(), &small_segments());
        let gone = found.iter().flat_map(|damage| damage.lost.clone()).next();
        let mut wanted = names(&numbered(1, 0, 1000));
        if let Some(offset) = gone {
            wanted.remove(offset as usize - 1);
        }
        assert_eq!(texts(&read_key(&log, 1, 10_000).await), wanted, "{place}");
        let mut member = consumer(&log, "g", StartAt::Earliest).await;
        assert_eq!(texts(&take(&mut *member, wanted.len()).await), wanted, "{place}");
        let skipped = board.metrics().records_skipped.totals().get("g").copied().unwrap_or(0);
        assert_eq!(skipped, lost, "{place}: the consumer tells what it passed over");
        append(&log, numbered(1, 1000, 1)).await;
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn damage_names_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let (log, board) = open(directory.path(), &small_segments());
    for first in 0..1000 {
        append(&log, numbered(1, first, 1)).await;
    }
    let path = segment_files(directory.path()).swap_remove(1);
    let bytes = fs::read(&path).unwrap();
    // Changed in place, as a disk does.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let at = bytes.len() as u64 / 2;
    std::os::unix::fs::FileExt::write_all_at(&file, &[!bytes[at as usize]], at).unwrap();
    let in_use = repair(directory.path(), true).unwrap_err().to_string();
    assert!(in_use.contains("in use by another lcd"), "{in_use}");
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let error = async {
        loop {
            if let Err(error) = member.poll(100, Duration::from_millis(10)).await {
                return error.to_string();
            }
        }
    };
    let error = timeout(TOLD_WITHIN, error).await.expect("an error in time");
    for part in [path.to_str().unwrap(), "at byte", "lcd repair-log"] {
        assert!(error.contains(part), "{error}");
    }
    let text = told(&board, "log_damaged", true).await;
    assert!(text.contains("g cannot read comment_events") && text.contains("repair-log"), "{text}");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at as usize..][..1], at).unwrap();
    drop(member);
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    assert_eq!(take(&mut *member, 1000).await.len(), 1000);
    member.poll(1, Duration::from_millis(1)).await.unwrap();
    told(&board, "log_damaged", false).await;
    log.close().await.unwrap();
}

#[tokio::test]
async fn missing_segments_are_found_without_damage() {
    let directory = tempfile::tempdir().unwrap();
    assert!(repair(directory.path(), false).unwrap().is_empty);
    let (log, _) = open(directory.path(), &small_segments());
    log.close().await.unwrap();
    let fresh = repair(directory.path(), false).unwrap();
    assert!(fresh.is_empty && fresh.missing.is_empty(), "{fresh:?}");
    let (log, _) = open(directory.path(), &small_segments());
    for first in (0..1000).step_by(100) {
        append(&log, numbered(1, first, 100)).await;
    }
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    take(&mut *member, 1000).await;
    member.commit(&[Position { partition: 0, offset: 1001 }]).await.unwrap();
    drop(member);
    log.close().await.unwrap();
    assert_eq!(repair(directory.path(), true).unwrap(), Findings::default());

    let mut files = segment_files(directory.path());
    fs::remove_file(files.pop().unwrap()).unwrap();
    let segments = || match repair(directory.path(), true).unwrap().missing.as_slice() {
        [Missing { part: MissingPart::Segments, text }] => text.clone(),
        other => panic!("{other:?}"),
    };
    let told = segments();
    assert!(told.contains("on are missing, although g has read the records before offset 1001"));
    files.into_iter().for_each(|path| fs::remove_file(path).unwrap());
    let told = segments();
    assert!(told.contains("all segments are missing, although g has read"), "{told}");
    fs::remove_dir_all(directory.path().join(TOPIC.name())).unwrap();
    let told = segments();
    assert!(told.ends_with("comment_events: all segments are missing"), "{told}");
    fs::remove_file(directory.path().join("meta")).unwrap();
    let found = repair(directory.path(), true).unwrap();
    assert_eq!((found.missing.len(), found.is_empty), (0, true), "nothing shows that it was used");
}

/// As retention leaves the log of a quiet system.
#[tokio::test]
async fn log_without_records_needs_no_identity() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = open(directory.path(), &small_segments());
    log.close().await.unwrap();
    for path in segment_files(directory.path()) {
        fs::remove_file(path).unwrap();
    }
    let header = SegmentHeader { base: 500, follows: 500, created_ms: 0 };
    let newest = directory.path().join(TOPIC.name()).join(segment::file_name(header.base));
    fs::write(newest, header.encode()).unwrap();
    fs::remove_file(directory.path().join("meta")).unwrap();
    let found = repair(directory.path(), false).unwrap();
    assert!(found.is_empty && found.missing.is_empty(), "{found:?}");
    check(directory.path()).unwrap();
    let (log, _) = open(directory.path(), &small_segments());
    log.close().await.unwrap();
}

#[tokio::test]
async fn missing_identity_is_not_a_missing_segment() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = open(directory.path(), &EventLogConfig::default());
    append(&log, numbered(1, 0, 5)).await;
    log.close().await.unwrap();
    let meta = directory.path().join("meta");
    let whole = fs::read(&meta).unwrap();
    let found = || repair(directory.path(), false);
    let identity = |missing: &[Missing]| match missing {
        [Missing { part: MissingPart::Identity, text }] => text.clone(),
        other => panic!("{other:?}"),
    };
    fs::write(&meta, &whole[1..]).unwrap();
    assert!(identity(&found().unwrap().missing).contains("changed since it was written"));
    fs::remove_file(&meta).unwrap();
    assert!(identity(&found().unwrap().missing).ends_with("meta: missing"));
    assert!(check(directory.path()).is_err(), "a start is refused");
    fs::create_dir(&meta).unwrap();
    assert!(matches!(found(), Err(LogError::Unavailable(_))), "it cannot be read");
    fs::remove_dir(&meta).unwrap();
    fs::write(&meta, &whole).unwrap();
    assert_eq!(found().unwrap(), Findings::default());
}
