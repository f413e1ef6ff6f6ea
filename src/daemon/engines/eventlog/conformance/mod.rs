//! What every engine of the event log must do, as tests that use the contract alone.
//!
//! An engine implements [`Harness`] and writes `conformance_suite!(ItsHarness);` in its tests. Waits
//! are for events, under one generous limit, so that a distributed engine fits as well.

mod appends;
mod consumers;
mod lifetime;
mod reads;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::timeout;

use super::{
    Bounds, ConsumerGroup, LogConsumer, NewRecord, Position, Record, SharedLog, StartAt, Topic,
};

/// Longer than any engine needs for anything here.
const PATIENCE: Duration = Duration::from_secs(30);
/// Short enough to wait for in vain.
const MOMENT: Duration = Duration::from_millis(30);
const TOPIC: Topic = Topic::CommentEvents;
/// What records are dated: today, because an engine may delete what is older than its retention.
static TODAY_MS: LazyLock<u64> = LazyLock::new(|| {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.expect("a clock after 1970").as_millis() as u64
});

pub(crate) use appends::*;
pub(crate) use consumers::*;
pub(crate) use lifetime::*;
pub(crate) use reads::*;

/// One engine under test.
pub(crate) trait Harness: Sized {
    /// An engine with an empty log.
    async fn start() -> Self;
    fn log(&self) -> SharedLog;
    /// Closes the log and opens the same data again.
    async fn restart(&mut self);
}

/// Writes a test for each promise of the contract. A second argument is an attribute of each test,
/// as `ignore = "needs …"`.
macro_rules! conformance_suite {
    ($harness:ty $(, $attribute:meta)?) => {
        $crate::daemon::engines::eventlog::conformance::conformance_suite!(@tests $harness, [$($attribute)?]:
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
            every_follower_gets_every_record_from_the_end_on
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
    (@tests $harness:ty, $attribute:tt: $($name:ident)*) => {
        $(
            $crate::daemon::engines::eventlog::conformance::conformance_suite!(@test $harness, $attribute, $name);
        )*
    };
    (@test $harness:ty, [$($attribute:meta)?], $name:ident) => {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])?
            async fn $name() {
                $crate::daemon::engines::eventlog::conformance::$name::<$harness>().await;
            }
    };
}
pub(crate) use conformance_suite;

pub(crate) fn record(key: u64, text: &str) -> NewRecord {
    NewRecord { key, timestamp_ms: *TODAY_MS, payload: Bytes::copy_from_slice(text.as_bytes()) }
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

pub(crate) async fn consumer(
    log: &SharedLog,
    group: &'static str,
    start: StartAt,
) -> Box<dyn LogConsumer> {
    log.consume(TOPIC, ConsumerGroup::Test(group), start).await.expect("a consumer")
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
