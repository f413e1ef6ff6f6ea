//! Consumer groups: every record, in order, from the last commit on.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    Harness, MOMENT, PATIENCE, TODAY_MS, TOPIC, append, behind, consumer, end_of, joined, names,
    numbered, record, take, texts,
};
use crate::daemon::engines::eventlog::{
    ConsumerGroup, NewRecord, Polled, Position, SharedLog, StartAt,
};
use crate::protocol::admin::ConsumerLag;

pub(crate) async fn consumer_gets_every_record_in_order(harness: &mut impl Harness) {
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

pub(crate) async fn group_resumes_after_its_last_commit(harness: &mut impl Harness) {
    append(&harness.log(), numbered(1, 0, 30)).await;
    let mut first = consumer(&harness.log(), "g", StartAt::Earliest).await;
    let ten = take(&mut *first, 10).await;
    first.commit(&behind(&ten)).await.unwrap();
    take(&mut *first, 5).await;
    drop(first);
    // The five were not committed, so they are read again, here and after a restart.
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

pub(crate) async fn groups_have_positions_of_their_own(harness: &mut impl Harness) {
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

pub(crate) async fn new_group_begins_at_the_requested_end(harness: &mut impl Harness) {
    let log = harness.log();
    append(&log, numbered(1, 0, 5)).await;
    let mut latest = consumer(&log, "latest", StartAt::Latest).await;
    assert_eq!(joined(&mut *latest).await, []);
    append(&log, numbered(1, 5, 1)).await;
    assert_eq!(texts(&take(&mut *latest, 1).await), ["1:5"]);
    let mut earliest = consumer(&log, "earliest", StartAt::Earliest).await;
    assert_eq!(texts(&take(&mut *earliest, 6).await), names(&numbered(1, 0, 6)));
}

pub(crate) async fn first_poll_reports_the_assignment(harness: &mut impl Harness) {
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

pub(crate) async fn poll_returns_at_most_the_requested_records(harness: &mut impl Harness) {
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

pub(crate) async fn poll_without_records_returns_empty_in_time(harness: &mut impl Harness) {
    let log = harness.log();
    let mut consumer = consumer(&log, "g", StartAt::Earliest).await;
    joined(&mut *consumer).await;
    for wait in [Duration::ZERO, MOMENT] {
        let polled = timeout(PATIENCE, consumer.poll(10, wait)).await.expect("within its wait");
        assert_eq!(polled.unwrap(), Polled::default());
    }
}

pub(crate) async fn append_wakes_a_waiting_poll(harness: &mut impl Harness) {
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

pub(crate) async fn dropped_poll_has_consumed_nothing(harness: &mut impl Harness) {
    const RECORDS: usize = 300;
    // Appended together, so that an engine with transactions needs thirty and not three hundred,
    // which take minutes on a busy machine.
    const TOGETHER: usize = 10;
    let log = harness.log();
    let mut consumer = consumer(&log, "g", StartAt::Earliest).await;
    let writing = async {
        for first in (0..RECORDS).step_by(TOGETHER) {
            let one = |number| append(&log, numbered(1, number, 1));
            join_all((first..first + TOGETHER).map(one)).await;
        }
    };
    let reading = async {
        let mut records = Vec::new();
        while records.len() < RECORDS {
            // Dropped after its first step, unless that completed it.
            if let Some(polled) = consumer.poll(5, PATIENCE).now_or_never() {
                records.extend(polled.unwrap().records);
            }
            // Dropped at any step after the writer has run for a while.
            tokio::select! {
                polled = consumer.poll(5, PATIENCE) => records.extend(polled.unwrap().records),
                () = tokio::time::sleep(Duration::from_micros(200)) => {}
            }
        }
        records
    };
    let (records, ()) =
        timeout(PATIENCE, async { tokio::join!(reading, writing) }).await.expect("all in time");
    assert_eq!(texts(&records), names(&numbered(1, 0, RECORDS)));
}

pub(crate) async fn two_members_read_every_record_between_them(harness: &mut impl Harness) {
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

pub(crate) async fn lag_counts_from_the_last_commit(harness: &mut impl Harness) {
    append(&harness.log(), numbered(1, 0, 10)).await;
    assert_eq!(harness.log().committed(TOPIC, ConsumerGroup::Test("g")).await.unwrap(), []);
    let mut member = consumer(&harness.log(), "g", StartAt::Earliest).await;
    let ten = take(&mut *member, 10).await;
    assert!(harness.log().lag().await.unwrap().iter().all(|lag| lag.group != "g"));
    let next = Position { offset: ten[6].position.offset, ..ten[6].position };
    member.commit(&[next]).await.unwrap();
    drop(member);
    for _ in 0..2 {
        let log = harness.log();
        assert!(log.committed(TOPIC, ConsumerGroup::Test("g")).await.unwrap().contains(&next));
        let lag = lag_of(&log, "g", next).await;
        let end = end_of(&log, 1).await.end;
        assert_eq!((lag.position, lag.end), (next.offset, end));
        assert_eq!(lag.lag, end - next.offset);
        drop(log);
        harness.restart().await;
    }
}

pub(crate) async fn lag_tells_age_owner_and_change(harness: &mut impl Harness) {
    const MINUTE_MS: u64 = 60_000;
    let log = harness.log();
    let aged = |minutes, text: &str| NewRecord {
        timestamp_ms: *TODAY_MS - minutes * MINUTE_MS,
        ..record(1, text)
    };
    append(&log, vec![aged(60, "a"), aged(1, "b"), aged(0, "c")]).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let three = take(&mut *member, 3).await;
    let second = three[1].position;
    member.commit(&[second]).await.unwrap();
    let behind_two = lag_when(&log, "g", second, |lag| {
        let is_known = lag.oldest_ms.is_some() && lag.change_per_s.is_some();
        is_known && lag.owner == harness.node()
    });
    let lag = behind_two.await;
    let oldest = lag.oldest_ms.expect("a known age");
    assert!((MINUTE_MS..60 * MINUTE_MS).contains(&oldest), "not that of the first: {oldest}");
    assert_eq!(lag.change_per_s, Some(0.0));
    let end = behind(&three);
    member.commit(&end).await.unwrap();
    let lag = lag_when(&log, "g", end[0], |lag| lag.oldest_ms.is_some()).await;
    assert_eq!((lag.lag, lag.oldest_ms), (0, Some(0)));
    drop(member);
    lag_when(&log, "g", end[0], |lag| lag.owner.is_none()).await;
}

/// Waits for the lag that counts from this position; an engine may return a slightly older lag
/// first.
async fn lag_of(log: &SharedLog, group: &str, next: Position) -> ConsumerLag {
    lag_when(log, group, next, |_| true).await
}

/// Waits for the lag that counts from this position and is as wanted.
async fn lag_when(
    log: &SharedLog,
    group: &str,
    next: Position,
    is_wanted: impl Fn(&ConsumerLag) -> bool,
) -> ConsumerLag {
    let found = async {
        loop {
            let mut lags = log.lag().await.unwrap().into_iter();
            let found = lags.find(|lag| {
                let partition = lag.topic == TOPIC.name() && lag.partition == next.partition;
                lag.group == group && partition && lag.position == next.offset
            });
            match found.filter(|lag| is_wanted(lag)) {
                Some(lag) => return lag,
                None => tokio::time::sleep(MOMENT).await,
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the group's lag in time")
}

pub(crate) async fn follower_gets_every_record_from_the_end_on(harness: &mut impl Harness) {
    let log = harness.log();
    append(&log, numbered(1, 0, 5)).await;
    let mut followers = [log.follow(TOPIC).await.unwrap(), log.follow(TOPIC).await.unwrap()];
    append(&log, numbered(1, 5, 5)).await;
    append(&log, numbered(2, 0, 5)).await;
    for follower in &mut followers {
        let mut records = Vec::new();
        let all = async {
            while records.len() < 10 {
                records.extend(follower.next(3, MOMENT).await.expect("records"));
            }
        };
        timeout(PATIENCE, all).await.expect("every record in time");
        for (key, first) in [(1, 5), (2, 0)] {
            let of_key: Vec<_> = records.iter().filter(|r| r.key == key).cloned().collect();
            assert_eq!(texts(&of_key), names(&numbered(key, first, 5)));
        }
        assert_eq!(follower.next(3, MOMENT).await.unwrap(), [], "no record comes twice");
    }
    assert!(log.lag().await.unwrap().is_empty(), "followers have no position");
}
