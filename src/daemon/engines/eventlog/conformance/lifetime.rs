//! Restarts, closing, and the separation of logs and topics.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    Harness, PATIENCE, TOPIC, append, behind, consumer, joined, names, numbered, read_key, take,
    texts,
};
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, StartAt, Topic};

pub(crate) async fn acked_records_are_there_once_after_a_restart(harness: &mut impl Harness) {
    for round in 0..3 {
        append(&harness.log(), numbered(1, round * 50, 50)).await;
        harness.restart().await;
        let wanted = names(&numbered(1, 0, (round + 1) * 50));
        assert_eq!(texts(&read_key(&harness.log(), 1, 1000).await), wanted);
    }
}

pub(crate) async fn closing_makes_pending_appends_durable(harness: &mut impl Harness) {
    let log = harness.log();
    let appends: Vec<_> = (0..100).map(|n| log.append(TOPIC, numbered(1, n, 1))).collect();
    harness.restart().await;
    let kept = join_all(appends).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(kept, 100);
    let wanted = names(&numbered(1, 0, 100));
    assert_eq!(texts(&read_key(&harness.log(), 1, 1000).await), wanted);
}

pub(crate) async fn topics_are_independent(harness: &mut impl Harness) {
    let log = harness.log();
    for (number, topic) in Topic::ALL.into_iter().enumerate() {
        log.append(topic, numbered(1, number, 1)).await.unwrap();
    }
    for (number, topic) in Topic::ALL.into_iter().enumerate() {
        let mut member =
            log.consume(topic, ConsumerGroup::Test("g"), StartAt::Earliest).await.unwrap();
        let records = take(&mut *member, 1).await;
        assert_eq!(texts(&records), [format!("1:{number}")]);
        member.commit(&behind(&records)).await.unwrap();
        let partition = log.partition_of(topic, 1);
        let bounds = log.bounds(topic, partition).await.unwrap();
        let page = log.read_partition(topic, partition, bounds.earliest, 10).await.unwrap();
        assert_eq!(page.records, records);
    }
}

pub(crate) async fn epoch_identifies_the_log(harness: &mut impl Harness) {
    let epoch = harness.log().epoch();
    append(&harness.log(), numbered(1, 0, 1)).await;
    harness.restart().await;
    assert_eq!(harness.log().epoch(), epoch);
    assert_ne!(harness.start_another().await.log().epoch(), epoch);
}

pub(crate) async fn closed_log_refuses_every_call(harness: &mut impl Harness) {
    let log = harness.log();
    append(&log, numbered(1, 0, 1)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let one = take(&mut *member, 1).await;
    log.close().await.unwrap();
    fn is_closed<T>(outcome: &Result<T, LogError>) -> bool {
        matches!(outcome, Err(LogError::Closed))
    }
    assert!(is_closed(&log.append(TOPIC, numbered(1, 1, 1)).await));
    assert!(is_closed(&log.consume(TOPIC, ConsumerGroup::Test("h"), StartAt::Earliest).await));
    assert!(is_closed(&log.read(TOPIC, 1, 1, 1).await));
    assert!(is_closed(&log.read_partition(TOPIC, 0, 1, 1).await));
    assert!(is_closed(&log.bounds(TOPIC, 0).await));
    assert!(is_closed(&log.committed(TOPIC, ConsumerGroup::Test("g")).await));
    assert!(is_closed(&log.lag().await));
    assert!(is_closed(&log.close().await));
    assert!(is_closed(&member.poll(1, Duration::ZERO).await));
    assert!(is_closed(&member.commit(&behind(&one)).await));
}

pub(crate) async fn closing_ends_a_waiting_poll(harness: &mut impl Harness) {
    let log = harness.log();
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    joined(&mut *member).await;
    let waiting = tokio::spawn(async move { member.poll(1, 2 * PATIENCE).await });
    tokio::task::yield_now().await;
    log.close().await.unwrap();
    let polled = timeout(PATIENCE, waiting).await.expect("an end of the poll").unwrap();
    assert!(matches!(polled, Err(LogError::Closed)));
}
