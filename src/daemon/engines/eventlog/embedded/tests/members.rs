//! Consumers of the embedded log: taking over, catching up, bounded reads.

use std::time::Duration;

use bytesize::ByteSize;

use super::{open, small_segments};
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, take, texts,
};
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, Position, StartAt, Topic};

#[tokio::test]
async fn newer_member_takes_over_from_the_older_one() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &small_segments());
    append(&log, numbered(1, 0, 10)).await;
    let mut old = consumer(&log, "g", StartAt::Earliest).await;
    take(&mut *old, 4).await;
    old.commit(&[Position { partition: 0, offset: 4 }]).await.unwrap();

    let mut new = consumer(&log, "g", StartAt::Earliest).await;
    let polled = old.poll(10, Duration::from_secs(30)).await.unwrap();
    assert_eq!((polled.revoked, polled.records.len()), (vec![0], 0));
    let fenced = old.commit(&[Position { partition: 0, offset: 9 }]).await;
    assert!(matches!(fenced, Err(LogError::Unavailable(_))));
    assert_eq!(texts(&take(&mut *new, 7).await), names(&numbered(1, 3, 7)));
    new.commit(&[Position { partition: 0, offset: 8 }]).await.unwrap();

    let waiting = tokio::spawn(async move {
        let polled = old.poll(10, Duration::from_secs(30)).await;
        (old, polled)
    });
    tokio::task::yield_now().await;
    drop(new);
    let (mut old, polled) = waiting.await.unwrap();
    let polled = polled.unwrap();
    assert_eq!(polled.assigned, [Position { partition: 0, offset: 8 }]);
    let mut records = polled.records;
    if records.len() < 3 {
        records.extend(take(&mut *old, 3 - records.len()).await);
    }
    assert_eq!(texts(&records), names(&numbered(1, 7, 3)));
}

#[tokio::test]
async fn consumer_catches_up_over_many_segments() {
    let directory = tempfile::tempdir().unwrap();
    let config = EventLogConfig { segment_bytes: ByteSize::kib(300), ..EventLogConfig::default() };
    let log = open(directory.path(), &config);
    for first in (0..20_000).step_by(1000) {
        append(&log, numbered(1, first, 1000)).await;
    }
    assert!(super::segment_files(directory.path()).len() >= 3);
    log.close().await.unwrap();
    // After reopening, sealed segments have no index.
    let log = open(directory.path(), &config);
    let mut all = consumer(&log, "all", StartAt::Earliest).await;
    assert_eq!(texts(&take(&mut *all, 20_000).await), names(&numbered(1, 0, 20_000)));
    let offsets = [1, 2, 5_000, 9_999, 19_000, 20_000];
    for (group, offset) in ["a", "b", "c", "d", "e", "f"].into_iter().zip(offsets) {
        let mut member = consumer(&log, group, StartAt::Earliest).await;
        take(&mut *member, 1).await;
        member.commit(&[Position { partition: 0, offset }]).await.unwrap();
        drop(member);
        let mut member = consumer(&log, group, StartAt::Earliest).await;
        let next = take(&mut *member, 1).await;
        assert_eq!(next[0].position.offset, offset);
        let page = log.read(Topic::CommentEvents, 1, offset, 1).await.unwrap();
        assert_eq!(page.records, next);
    }
}

#[tokio::test]
async fn bounded_reads_reach_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &EventLogConfig::default());
    let filler = vec![b'x'; 100_000];
    for _ in 0..20 {
        let batch = (0..10).map(|_| crate::daemon::engines::eventlog::NewRecord {
            key: 2,
            timestamp_ms: 0,
            payload: filler.clone().into(),
        });
        append(&log, batch.collect()).await;
    }
    append(&log, numbered(1, 0, 1)).await;
    log.close().await.unwrap();
    let log = open(directory.path(), &EventLogConfig::default());
    let mut offset = 1;
    let mut calls = 0;
    loop {
        let page = log.read(Topic::CommentEvents, 1, offset, 10).await.unwrap();
        calls += 1;
        if !page.records.is_empty() {
            assert!(page.at_end);
            break;
        }
        assert!(page.next_offset > offset && page.next_offset <= offset + 42, "4 MiB of records");
        offset = page.next_offset;
    }
    assert!((4..=6).contains(&calls), "20 MB in stretches of 4 MiB, not {calls}");
}

#[tokio::test]
async fn commit_beyond_the_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), &small_segments());
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    for wrong in [Position { partition: 0, offset: 2 }, Position { partition: 1, offset: 1 }] {
        assert!(matches!(member.commit(&[wrong]).await, Err(LogError::Unavailable(_))));
    }
    assert_eq!(log.committed(Topic::CommentEvents, ConsumerGroup::Test("g")).await.unwrap(), []);
}
