//! The conformance suite: tests of the contract that every engine passes.
//!
//! An engine implements [`Harness`] and calls `eventlog_suite!` in its tests. Tests wait for
//! events, with one generous timeout, so that a distributed engine passes too.

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
use crate::protocol::NodeId;

/// Longer than any engine needs for any step.
const PATIENCE: Duration = Duration::from_secs(30);
/// A wait that may pass without an event.
const MOMENT: Duration = Duration::from_millis(30);
const TOPIC: Topic = Topic::CommentEvents;
/// Timestamp of the records: today, because an engine may delete records older than its retention.
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
    /// Starts the engine with another empty log.
    async fn start_another(&self) -> Self;
    fn log(&self) -> SharedLog;
    /// Returns the owner that the lag names; `None` for an engine that knows none.
    fn node(&self) -> Option<NodeId> {
        None
    }
    /// Closes the log and opens the same data again.
    async fn restart(&mut self);
}

/// Writes the tests of an engine, whose harness is opened by the call given.
macro_rules! eventlog_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::eventlog::conformance],
                positions_follow_the_order_of_the_batch,
                appends_of_a_key_keep_the_order_of_calls,
                acked_records_are_there_once_after_a_restart,
                closing_makes_pending_appends_durable,
                record_is_read_as_it_was_appended,
                batch_with_a_large_record_is_refused_whole,
                empty_batch_appends_nothing,
                key_stays_in_its_partition,
                consumer_gets_every_record_in_order,
                group_resumes_after_its_last_commit,
                groups_have_positions_of_their_own,
                new_group_begins_at_the_requested_end,
                first_poll_reports_the_assignment,
                poll_returns_at_most_the_requested_records,
                poll_without_records_returns_empty_in_time,
                append_wakes_a_waiting_poll,
                dropped_poll_has_consumed_nothing,
                two_members_read_every_record_between_them,
                follower_gets_every_record_from_the_end_on,
                read_returns_only_records_of_its_key,
                pages_join_without_gap_or_repeat,
                read_of_a_partition_returns_all_keys,
                read_at_the_end_reports_it,
                bounds_follow_appends,
                lag_counts_from_the_last_commit,
                lag_tells_age_owner_and_change,
                topics_are_independent,
                epoch_identifies_the_log,
                closed_log_refuses_every_call,
                closing_ends_a_waiting_poll,
        }
    };
}
pub(crate) use eventlog_suite;

pub(crate) fn record(key: u64, text: &str) -> NewRecord {
    NewRecord { key, timestamp_ms: *TODAY_MS, payload: Bytes::copy_from_slice(text.as_bytes()) }
}

/// Returns `count` records of a key, numbered from `first`.
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

/// Reads every record of a key, page by page.
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

/// Reads the first record of a key at or behind an offset.
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

/// Polls until the member has its assignment. Returns the records of that poll.
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

/// Polls until `count` records have arrived.
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

/// Returns the position behind the last of these records, all of one partition.
fn behind(records: &[Record]) -> Vec<Position> {
    let last = records.last().expect("records").position;
    vec![Position { partition: last.partition, offset: last.offset + 1 }]
}
