//! What every engine of the event log must do, as tests that use the contract alone.
//!
//! An engine implements [`Harness`] and writes `conformance_suite!(ItsHarness);` in its tests. Waits
//! are for events, under one generous limit, so that a distributed engine fits as well.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    Bounds, LogConsumer, LogError, MAX_PAYLOAD_BYTES, NewRecord, Page, Position, Record, SharedLog,
    StartAt, Topic,
};

/// Longer than any engine needs for anything here.
const PATIENCE: Duration = Duration::from_secs(30);
/// Short enough to wait for in vain.
const MOMENT: Duration = Duration::from_millis(30);
const TOPIC: Topic = Topic::CommentEvents;

/// One engine under test.
pub(crate) trait Harness: Sized {
    /// An engine with an empty log.
    async fn start() -> Self;
    fn log(&self) -> SharedLog;
    /// Closes the log and opens the same data again.
    async fn restart(&mut self);
}

/// Writes a test for each promise of the contract.
macro_rules! conformance_suite {
    ($harness:ty) => {
        $crate::daemon::eventlog::conformance::conformance_suite!(@tests $harness:
            positions_are_in_the_order_of_the_batch_and_grow
            appends_of_a_key_keep_the_order_in_which_they_were_called
            what_an_append_returned_for_is_there_once_after_a_restart
            closing_makes_durable_what_was_under_way
            a_record_comes_back_as_it_was_appended
            a_batch_with_a_record_too_large_is_refused_whole
            an_empty_batch_is_nothing
            a_key_stays_in_its_partition
            a_consumer_gets_every_record_in_order
            a_group_resumes_after_its_last_commit
            groups_have_positions_of_their_own
            a_new_group_begins_where_it_asked_to
            the_first_poll_says_what_is_read_from_where
            a_poll_returns_no_more_than_asked_for
            a_poll_without_news_returns_empty_in_time
            a_waiting_poll_wakes_for_an_append
            a_dropped_poll_has_consumed_nothing
            two_members_of_a_group_miss_nothing_between_them
            a_read_brings_the_records_of_its_key_alone
            pages_join_without_gap_or_repeat
            a_read_of_a_partition_brings_all_keys
            a_read_at_the_end_says_so
            bounds_follow_appends
            commits_are_remembered_and_lag_counts_from_them
            topics_are_apart
            the_epoch_is_the_same_after_a_restart_and_another_in_another_log
            a_closed_log_says_so
            closing_ends_a_waiting_poll
        );
    };
    (@tests $harness:ty: $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::daemon::eventlog::conformance::$name::<$harness>().await;
            }
        )*
    };
}
pub(crate) use conformance_suite;

pub(crate) fn record(key: u64, text: &str) -> NewRecord {
    NewRecord {
        key,
        timestamp_ms: 1_700_000_000_000,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// `count` records of a key, numbered from `first` on.
pub(crate) fn numbered(key: u64, first: usize, count: usize) -> Vec<NewRecord> {
    (first..first + count).map(|number| record(key, &format!("{key}:{number}"))).collect()
}

pub(crate) fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

pub(crate) fn names(records: &[NewRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

pub(crate) async fn append(log: &SharedLog, batch: Vec<NewRecord>) -> Vec<Position> {
    let appended = timeout(PATIENCE, log.append(TOPIC, batch)).await.expect("an append in time");
    appended.expect("an append without error")
}

async fn end_of(log: &SharedLog, key: u64) -> Bounds {
    log.bounds(TOPIC, log.partition_of(TOPIC, key)).await.expect("bounds")
}

/// Every record of a key, page by page.
pub(crate) async fn read_key(log: &SharedLog, key: u64, page_records: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let mut offset = end_of(log, key).await.earliest;
    loop {
        let page = log.read(TOPIC, key, offset, page_records).await.expect("a page");
        assert!(page.records.len() <= page_records);
        records.extend(page.records);
        if page.at_end {
            return records;
        }
        offset = page.next_offset;
    }
}

/// The first record of a key at or behind an offset.
async fn read_one(log: &SharedLog, key: u64, mut offset: u64) -> Record {
    loop {
        let page = log.read(TOPIC, key, offset, 1).await.expect("a page");
        if let Some(record) = page.records.into_iter().next() {
            return record;
        }
        assert!(!page.at_end, "no record of key {key} at or behind {offset}");
        offset = page.next_offset;
    }
}

pub(crate) async fn consumer(log: &SharedLog, group: &str, start: StartAt) -> Box<dyn LogConsumer> {
    log.consume(TOPIC, group, start).await.expect("a consumer")
}

/// Polls until the member was told what it reads; what came with that is returned.
async fn joined(consumer: &mut dyn LogConsumer) -> Vec<Record> {
    timeout(PATIENCE, async {
        loop {
            let polled = consumer.poll(1000, MOMENT).await.expect("a poll");
            if !polled.assigned.is_empty() {
                return polled.records;
            }
        }
    })
    .await
    .expect("an assignment in time")
}

/// Polls until `count` records have come.
pub(crate) async fn take(consumer: &mut dyn LogConsumer, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let all = async {
        while records.len() < count {
            let wanted = count - records.len();
            records.extend(consumer.poll(wanted, MOMENT).await.expect("a poll").records);
        }
    };
    timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{count} records in time"));
    records
}

/// The position behind the last of some records of one partition.
fn behind(records: &[Record]) -> Vec<Position> {
    let last = records.last().expect("records").position;
    vec![Position { partition: last.partition, offset: last.offset + 1 }]
}

pub(crate) async fn positions_are_in_the_order_of_the_batch_and_grow<H: Harness>() {
    let harness = H::start().await;
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

pub(crate) async fn appends_of_a_key_keep_the_order_in_which_they_were_called<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut under_way: Vec<_> =
        (0..200).map(|n| log.append(TOPIC, numbered(7, n * 3, 3))).collect();
    // Polled the other way round: the place in the order was taken by the call.
    under_way.reverse();
    for appended in join_all(under_way).await {
        appended.unwrap();
    }
    assert_eq!(texts(&read_key(&log, 7, 1000).await), names(&numbered(7, 0, 600)));
}

pub(crate) async fn what_an_append_returned_for_is_there_once_after_a_restart<H: Harness>() {
    let mut harness = H::start().await;
    for round in 0..3 {
        append(&harness.log(), numbered(1, round * 50, 50)).await;
        harness.restart().await;
        let wanted = names(&numbered(1, 0, (round + 1) * 50));
        assert_eq!(texts(&read_key(&harness.log(), 1, 1000).await), wanted);
    }
}

pub(crate) async fn closing_makes_durable_what_was_under_way<H: Harness>() {
    let mut harness = H::start().await;
    let log = harness.log();
    let under_way: Vec<_> = (0..100).map(|n| log.append(TOPIC, numbered(1, n, 1))).collect();
    harness.restart().await;
    let kept = join_all(under_way).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(kept, 100);
    let wanted = names(&numbered(1, 0, 100));
    assert_eq!(texts(&read_key(&harness.log(), 1, 1000).await), wanted);
}

pub(crate) async fn a_record_comes_back_as_it_was_appended<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let payloads = [
        Bytes::new(),
        Bytes::from_static(&[0, 255, 10, 13, 0]),
        Bytes::from(vec![0xAB; MAX_PAYLOAD_BYTES]),
    ];
    let batch: Vec<_> = payloads
        .into_iter()
        .zip([0, 1, u64::MAX >> 1])
        .map(|(payload, key)| NewRecord { key, timestamp_ms: 1_234_567_890_123 + key % 2, payload })
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

pub(crate) async fn a_batch_with_a_record_too_large_is_refused_whole<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut batch = numbered(1, 0, 3);
    batch[1].payload = Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]);
    let refused = log.append(TOPIC, batch).await;
    assert!(matches!(refused, Err(LogError::TooLarge { bytes }) if bytes == MAX_PAYLOAD_BYTES + 1));
    append(&log, numbered(1, 9, 1)).await;
    assert_eq!(texts(&read_key(&log, 1, 10).await), ["1:9"]);
}

pub(crate) async fn an_empty_batch_is_nothing<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    assert_eq!(append(&log, Vec::new()).await, []);
    let bounds = end_of(&log, 1).await;
    assert_eq!(bounds.earliest, bounds.end);
}

pub(crate) async fn a_key_stays_in_its_partition<H: Harness>() {
    let mut harness = H::start().await;
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

pub(crate) async fn a_consumer_gets_every_record_in_order<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut consumer = consumer(&log, "g", StartAt::Earliest).await;
    let writing = async {
        for first in (0..3000).step_by(30) {
            let batch = (1..=3).flat_map(|key| numbered(key, first, 30)).collect();
            append(&log, batch).await;
        }
    };
    let (records, ()) = tokio::join!(take(&mut *consumer, 9000), writing);
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for record in &records {
        let before = last.insert(record.position.partition, record.position.offset);
        assert!(before.is_none_or(|before| before < record.position.offset));
    }
    for key in 1..=3 {
        let of_key: Vec<_> = records.iter().filter(|r| r.key == key).cloned().collect();
        assert_eq!(texts(&of_key), names(&numbered(key, 0, 3000)));
    }
}

pub(crate) async fn a_group_resumes_after_its_last_commit<H: Harness>() {
    let mut harness = H::start().await;
    append(&harness.log(), numbered(1, 0, 30)).await;
    let mut first = consumer(&harness.log(), "g", StartAt::Earliest).await;
    let ten = take(&mut *first, 10).await;
    first.commit(&behind(&ten)).await.unwrap();
    take(&mut *first, 5).await;
    drop(first);
    // The five were not committed: they come again, here and after a restart.
    let mut second = consumer(&harness.log(), "g", StartAt::Earliest).await;
    let seven = take(&mut *second, 7).await;
    assert_eq!(texts(&seven), names(&numbered(1, 10, 7)));
    drop(second);
    harness.restart().await;
    let mut third = consumer(&harness.log(), "g", StartAt::Latest).await;
    let rest = take(&mut *third, 20).await;
    assert_eq!(texts(&rest), names(&numbered(1, 10, 20)));
    third.commit(&behind(&rest)).await.unwrap();
    drop(third);
    harness.restart().await;
    append(&harness.log(), numbered(1, 30, 1)).await;
    let mut fourth = consumer(&harness.log(), "g", StartAt::Earliest).await;
    assert_eq!(texts(&take(&mut *fourth, 1).await), ["1:30"]);
}

pub(crate) async fn groups_have_positions_of_their_own<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    append(&log, numbered(1, 0, 10)).await;
    let mut one = consumer(&log, "one", StartAt::Earliest).await;
    let mut two = consumer(&log, "two", StartAt::Earliest).await;
    let all = take(&mut *one, 10).await;
    one.commit(&behind(&all)).await.unwrap();
    assert_eq!(texts(&take(&mut *two, 10).await), texts(&all));
    drop(two);
    let mut two = consumer(&log, "two", StartAt::Earliest).await;
    assert_eq!(take(&mut *two, 10).await, all);
}

pub(crate) async fn a_new_group_begins_where_it_asked_to<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    append(&log, numbered(1, 0, 5)).await;
    let mut latest = consumer(&log, "latest", StartAt::Latest).await;
    assert_eq!(joined(&mut *latest).await, []);
    append(&log, numbered(1, 5, 1)).await;
    assert_eq!(texts(&take(&mut *latest, 1).await), ["1:5"]);
    let mut earliest = consumer(&log, "earliest", StartAt::Earliest).await;
    assert_eq!(texts(&take(&mut *earliest, 6).await), names(&numbered(1, 0, 6)));
}

pub(crate) async fn the_first_poll_says_what_is_read_from_where<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    append(&log, numbered(1, 0, 10)).await;
    let mut first = consumer(&log, "g", StartAt::Earliest).await;
    let four = take(&mut *first, 4).await;
    first.commit(&behind(&four)).await.unwrap();
    drop(first);
    let mut second = consumer(&log, "g", StartAt::Earliest).await;
    let mut assigned = Vec::new();
    let mut records = Vec::new();
    while records.len() < 6 {
        let polled = second.poll(6, MOMENT).await.unwrap();
        assert!(polled.records.is_empty() || !assigned.is_empty() || !polled.assigned.is_empty());
        assigned.extend(polled.assigned);
        assert!(polled.revoked.is_empty());
        records.extend(polled.records);
    }
    assigned.sort_unstable();
    let partitions: Vec<_> = assigned.iter().map(|position| position.partition).collect();
    assert_eq!(partitions, (0..log.partitions(TOPIC)).collect::<Vec<_>>(), "each once");
    assert!(assigned.contains(&behind(&four)[0]));
}

pub(crate) async fn a_poll_returns_no_more_than_asked_for<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    append(&log, numbered(1, 0, 100)).await;
    let mut consumer = consumer(&log, "g", StartAt::Earliest).await;
    let mut records = Vec::new();
    for asked in (1..40).cycle() {
        let polled = consumer.poll(asked, PATIENCE).await.unwrap();
        assert!(polled.records.len() <= asked);
        records.extend(polled.records);
        if records.len() == 100 {
            break;
        }
    }
    assert_eq!(texts(&records), names(&numbered(1, 0, 100)));
}

pub(crate) async fn a_poll_without_news_returns_empty_in_time<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut consumer = consumer(&log, "g", StartAt::Earliest).await;
    joined(&mut *consumer).await;
    for wait in [Duration::ZERO, MOMENT] {
        let polled = timeout(PATIENCE, consumer.poll(10, wait)).await.expect("within its wait");
        assert_eq!(polled.unwrap(), super::Polled::default());
    }
}

pub(crate) async fn a_waiting_poll_wakes_for_an_append<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut consumer = consumer(&log, "g", StartAt::Earliest).await;
    joined(&mut *consumer).await;
    for number in 0..20 {
        let (polled, _) = timeout(PATIENCE, async {
            tokio::join!(consumer.poll(10, 2 * PATIENCE), append(&log, numbered(1, number, 1)))
        })
        .await
        .expect("a poll that wakes");
        assert_eq!(texts(&polled.unwrap().records), [format!("1:{number}")]);
    }
}

pub(crate) async fn a_dropped_poll_has_consumed_nothing<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut consumer = consumer(&log, "g", StartAt::Earliest).await;
    let writing = async {
        for number in 0..300 {
            append(&log, numbered(1, number, 1)).await;
        }
    };
    let reading = async {
        let mut records = Vec::new();
        while records.len() < 300 {
            // Dropped after its first step, if that did not bring it to an end already.
            if let Some(polled) = consumer.poll(5, PATIENCE).now_or_never() {
                records.extend(polled.unwrap().records);
            }
            // Dropped wherever it stands when the other side has run for a while.
            tokio::select! {
                polled = consumer.poll(5, PATIENCE) => records.extend(polled.unwrap().records),
                () = tokio::time::sleep(Duration::from_micros(200)) => {}
            }
        }
        records
    };
    let (records, ()) =
        timeout(PATIENCE, async { tokio::join!(reading, writing) }).await.expect("all in time");
    assert_eq!(texts(&records), names(&numbered(1, 0, 300)));
}

pub(crate) async fn two_members_of_a_group_miss_nothing_between_them<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut members = [
        consumer(&log, "g", StartAt::Earliest).await,
        consumer(&log, "g", StartAt::Earliest).await,
    ];
    let batch: Vec<_> = (0..100).flat_map(|key| numbered(key, 0, 2)).collect();
    append(&log, batch.clone()).await;
    let mut seen = std::collections::BTreeSet::new();
    let all = async {
        while seen.len() < batch.len() {
            for member in &mut members {
                let polled = member.poll(50, MOMENT).await.unwrap();
                seen.extend(texts(&polled.records));
            }
        }
    };
    timeout(PATIENCE, all).await.expect("all records in time");
}

pub(crate) async fn a_read_brings_the_records_of_its_key_alone<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    for round in 0..10 {
        let batch = (0..20).flat_map(|key| numbered(key, round * 2, 2)).collect();
        append(&log, batch).await;
    }
    for key in 0..20 {
        let records = read_key(&log, key, 1000).await;
        assert!(records.iter().all(|record| record.key == key));
        assert_eq!(texts(&records), names(&numbered(key, 0, 20)));
    }
    assert_eq!(read_key(&log, 77, 1000).await, []);
}

pub(crate) async fn pages_join_without_gap_or_repeat<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    for round in 0..20 {
        append(&log, [numbered(1, round * 10, 10), numbered(2, round * 10, 10)].concat()).await;
    }
    for page_records in [1, 3, 10, 1000] {
        let records = read_key(&log, 1, page_records).await;
        assert_eq!(texts(&records), names(&numbered(1, 0, 200)));
    }
    // A page from any place holds what is there from that place on.
    let all = read_key(&log, 1, 1000).await;
    for from in (0..200).step_by(17) {
        let page = log.read(TOPIC, 1, all[from].position.offset, 5).await.unwrap();
        assert!(page.records.len() <= 5 && all[from..].starts_with(&page.records));
        let below = all
            .iter()
            .filter(|r| (all[from].position.offset..page.next_offset).contains(&r.position.offset));
        assert_eq!(below.count(), page.records.len(), "all below next_offset are in the page");
    }
}

pub(crate) async fn a_read_of_a_partition_brings_all_keys<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let batch: Vec<_> = (0..50).map(|key| record(key, &format!("{key}"))).collect();
    append(&log, batch.clone()).await;
    let mut found = Vec::new();
    for partition in 0..log.partitions(TOPIC) {
        let mut offset = log.bounds(TOPIC, partition).await.unwrap().earliest;
        loop {
            let page = log.read_partition(TOPIC, partition, offset, 7).await.unwrap();
            assert!(page.records.iter().all(|r| log.partition_of(TOPIC, r.key) == partition));
            found.extend(page.records.into_iter().map(|r| r.key));
            if page.at_end {
                break;
            }
            offset = page.next_offset;
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..50).collect::<Vec<_>>());
}

pub(crate) async fn a_read_at_the_end_says_so<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let end = end_of(&log, 1).await.end;
    let empty = |next_offset| Page { records: Vec::new(), next_offset, at_end: true };
    assert_eq!(log.read(TOPIC, 1, end, 10).await.unwrap(), empty(end));
    append(&log, numbered(1, 0, 3)).await;
    let end = end_of(&log, 1).await.end;
    assert_eq!(log.read(TOPIC, 1, end, 10).await.unwrap(), empty(end));
}

pub(crate) async fn bounds_follow_appends<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let before = end_of(&log, 1).await;
    let positions = append(&log, numbered(1, 0, 10)).await;
    let after = end_of(&log, 1).await;
    assert_eq!(after.earliest, before.earliest);
    assert!(positions.iter().all(|p| (before.end..after.end).contains(&p.offset)));
}

pub(crate) async fn commits_are_remembered_and_lag_counts_from_them<H: Harness>() {
    let mut harness = H::start().await;
    append(&harness.log(), numbered(1, 0, 10)).await;
    assert_eq!(harness.log().committed(TOPIC, "g").await.unwrap(), []);
    let mut member = consumer(&harness.log(), "g", StartAt::Earliest).await;
    let ten = take(&mut *member, 10).await;
    assert!(harness.log().lag().await.unwrap().iter().all(|lag| lag.group != "g"));
    let next = Position { offset: ten[6].position.offset, ..ten[6].position };
    member.commit(&[next]).await.unwrap();
    drop(member);
    for _ in 0..2 {
        let log = harness.log();
        assert!(log.committed(TOPIC, "g").await.unwrap().contains(&next));
        let lags = log.lag().await.unwrap();
        let of_partition = |lag: &&crate::protocol::admin::ConsumerLag| {
            lag.group == "g" && lag.topic == TOPIC.name() && lag.partition == next.partition
        };
        let lag = lags.iter().find(of_partition).expect("the group's lag");
        let end = end_of(&log, 1).await.end;
        assert_eq!((lag.position, lag.end), (next.offset, end));
        assert_eq!(lag.lag, end - next.offset);
        drop(log);
        harness.restart().await;
    }
}

pub(crate) async fn topics_are_apart<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    for (number, topic) in Topic::ALL.into_iter().enumerate() {
        log.append(topic, numbered(1, number, 1)).await.unwrap();
    }
    for (number, topic) in Topic::ALL.into_iter().enumerate() {
        let mut member = log.consume(topic, "g", StartAt::Earliest).await.unwrap();
        let records = take(&mut *member, 1).await;
        assert_eq!(texts(&records), [format!("1:{number}")]);
        member.commit(&behind(&records)).await.unwrap();
        let partition = log.partition_of(topic, 1);
        let bounds = log.bounds(topic, partition).await.unwrap();
        let page = log.read_partition(topic, partition, bounds.earliest, 10).await.unwrap();
        assert_eq!(page.records, records);
    }
}

pub(crate) async fn the_epoch_is_the_same_after_a_restart_and_another_in_another_log<H: Harness>() {
    let mut harness = H::start().await;
    let epoch = harness.log().epoch();
    append(&harness.log(), numbered(1, 0, 1)).await;
    harness.restart().await;
    assert_eq!(harness.log().epoch(), epoch);
    assert_ne!(H::start().await.log().epoch(), epoch);
}

pub(crate) async fn a_closed_log_says_so<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    append(&log, numbered(1, 0, 1)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let one = take(&mut *member, 1).await;
    log.close().await.unwrap();
    fn is_closed<T>(outcome: &Result<T, LogError>) -> bool {
        matches!(outcome, Err(LogError::Closed))
    }
    assert!(is_closed(&log.append(TOPIC, numbered(1, 1, 1)).await));
    assert!(is_closed(&log.consume(TOPIC, "h", StartAt::Earliest).await));
    assert!(is_closed(&log.read(TOPIC, 1, 1, 1).await));
    assert!(is_closed(&log.read_partition(TOPIC, 0, 1, 1).await));
    assert!(is_closed(&log.bounds(TOPIC, 0).await));
    assert!(is_closed(&log.committed(TOPIC, "g").await));
    assert!(is_closed(&log.lag().await));
    assert!(is_closed(&log.close().await));
    assert!(is_closed(&member.poll(1, Duration::ZERO).await));
    assert!(is_closed(&member.commit(&behind(&one)).await));
}

pub(crate) async fn closing_ends_a_waiting_poll<H: Harness>() {
    let harness = H::start().await;
    let log = harness.log();
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    joined(&mut *member).await;
    let waiting = tokio::spawn(async move { member.poll(1, 2 * PATIENCE).await });
    tokio::task::yield_now().await;
    log.close().await.unwrap();
    let polled = timeout(PATIENCE, waiting).await.expect("an end of the poll").unwrap();
    assert!(matches!(polled, Err(LogError::Closed)));
}
