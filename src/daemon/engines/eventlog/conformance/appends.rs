//! Appending: positions, order, what comes back, what is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    Harness, TODAY_MS, TOPIC, append, end_of, names, numbered, read_key, read_one, record, texts,
};
use crate::daemon::engines::eventlog::{LogError, MAX_PAYLOAD_BYTES, NewRecord, Record};

pub(crate) async fn positions_follow_the_order_of_the_batch(harness: &mut impl Harness) {
    let log = harness.log();
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for size in [1, 7, 64, 1] {
        let batch: Vec<_> = (0..size).map(|n| record(n % 3, &format!("{n}"))).collect();
        let positions = append(&log, batch.clone()).await;
        assert_eq!(positions.len(), batch.len());
        for (new, position) in batch.iter().zip(positions) {
            let before = last.insert(position.partition, position.offset);
            assert!(before.is_none_or(|before| before < position.offset));
            let found = read_one(&log, new.key, position.offset).await;
            assert_eq!((found.position, found.payload), (position, new.payload.clone()));
        }
    }
}

pub(crate) async fn appends_of_a_key_keep_the_order_of_calls(harness: &mut impl Harness) {
    let log = harness.log();
    let mut appends: Vec<_> = (0..200).map(|n| log.append(TOPIC, numbered(7, n * 3, 3))).collect();
    // Polled in reverse: the call decides the place in the order.
    appends.reverse();
    for appended in join_all(appends).await {
        appended.unwrap();
    }
    assert_eq!(texts(&read_key(&log, 7, 1000).await), names(&numbered(7, 0, 600)));
}

pub(crate) async fn record_is_read_as_it_was_appended(harness: &mut impl Harness) {
    let log = harness.log();
    let payloads = [
        Bytes::new(),
        Bytes::from_static(&[0, 255, 10, 13, 0]),
        Bytes::from(vec![0xAB; MAX_PAYLOAD_BYTES]),
    ];
    let batch: Vec<_> = payloads
        .into_iter()
        .zip([0, 1, u64::MAX >> 1])
        .map(|(payload, key)| NewRecord { key, timestamp_ms: *TODAY_MS + key % 2, payload })
        .collect();
    let positions = append(&log, batch.clone()).await;
    for (new, position) in batch.iter().zip(positions) {
        let wanted = Record {
            position,
            key: new.key,
            timestamp_ms: new.timestamp_ms,
            payload: new.payload.clone(),
        };
        assert_eq!(read_one(&log, new.key, position.offset).await, wanted);
    }
}

pub(crate) async fn batch_with_a_large_record_is_refused_whole(harness: &mut impl Harness) {
    let log = harness.log();
    let mut batch = numbered(1, 0, 3);
    batch[1].payload = Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]);
    let refused = log.append(TOPIC, batch).await;
    assert!(matches!(refused, Err(LogError::TooLarge { bytes }) if bytes == MAX_PAYLOAD_BYTES + 1));
    append(&log, numbered(1, 9, 1)).await;
    assert_eq!(texts(&read_key(&log, 1, 10).await), ["1:9"]);
}

pub(crate) async fn empty_batch_appends_nothing(harness: &mut impl Harness) {
    let log = harness.log();
    assert_eq!(append(&log, Vec::new()).await, []);
    let bounds = end_of(&log, 1).await;
    assert_eq!(bounds.earliest, bounds.end);
}

pub(crate) async fn key_stays_in_its_partition(harness: &mut impl Harness) {
    let log = harness.log();
    let partitions: Vec<_> = (0..100).map(|key| log.partition_of(TOPIC, key)).collect();
    assert!(partitions.iter().all(|partition| *partition < log.partitions(TOPIC)));
    let batch: Vec<_> = (0..100).map(|key| record(key, "x")).collect();
    let appended: Vec<_> = append(&log, batch).await.iter().map(|p| p.partition).collect();
    assert_eq!(appended, partitions);
    harness.restart().await;
    let again: Vec<_> = (0..100).map(|key| harness.log().partition_of(TOPIC, key)).collect();
    assert_eq!(again, partitions);
}
