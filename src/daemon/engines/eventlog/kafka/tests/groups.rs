//! Rebalances: each partition has one reader, and no record is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{CleanUp, open, settings};
use crate::daemon::base::config::{Guarantee, KafkaConfig};
use crate::daemon::engines::eventlog::conformance::{append, consumer, names, numbered};
use crate::daemon::engines::eventlog::{ConsumerGroup, LogConsumer, Position, SharedLog, StartAt};

const PATIENCE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(30);
const KEYS: u64 = 12;
const POLL_RECORDS: usize = 50;

/// The records and the assignment of all members of a group.
#[derive(Debug, Default)]
struct GroupRecords {
    texts: Vec<String>,
    owned: BTreeMap<&'static str, BTreeSet<u32>>,
}

type Shared = Arc<Mutex<GroupRecords>>;

/// A member that polls and commits until it is stopped.
struct RunningMember {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningMember {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

async fn run(log: &SharedLog, name: &'static str, seen: &Shared) -> RunningMember {
    let mut member = consumer(log, "g", StartAt::Earliest).await;
    let (stop, mut stopped) = oneshot::channel();
    let seen = seen.clone();
    let task = tokio::spawn(async move {
        while stopped.try_recv().is_err() {
            step(&mut *member, name, &seen).await;
        }
        seen.lock().owned.remove(name);
    });
    RunningMember { stop, task }
}

/// Polls and commits. Every record must belong to an assigned partition.
async fn step(member: &mut dyn LogConsumer, name: &'static str, seen: &Shared) {
    let polled = member.poll(POLL_RECORDS, MOMENT).await.unwrap();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    {
        let mut seen = seen.lock();
        let owned = seen.owned.entry(name).or_default();
        polled.revoked.iter().for_each(|partition| assert!(owned.remove(partition)));
        for position in &polled.assigned {
            assert!(owned.insert(position.partition), "assigned twice: {position:?}");
        }
        for record in &polled.records {
            let Position { partition, offset } = record.position;
            assert!(owned.contains(&partition), "{name} has no partition {partition}");
            assert!(next.insert(partition, offset + 1).is_none_or(|before| before <= offset));
        }
        let texts = polled.records.iter().map(|r| String::from_utf8_lossy(&r.payload).into_owned());
        seen.texts.extend(texts);
    }
    let next: Vec<_> =
        next.into_iter().map(|(partition, offset)| Position { partition, offset }).collect();
    member.commit(&next).await.unwrap();
}

async fn until(what: &str, seen: &Shared, reached: impl Fn(&GroupRecords) -> bool) {
    let waiting = async {
        while !reached(&seen.lock()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(PATIENCE, waiting).await.is_err() {
        let seen = seen.lock();
        panic!("{what} in time: {:?}, {} records", seen.owned, seen.texts.len());
    }
}

fn has(seen: &GroupRecords, name: &str, partitions: usize) -> bool {
    seen.owned.get(name).is_some_and(|owned| owned.len() == partitions)
}

/// Appends one record per key.
async fn append_round(log: &SharedLog, round: usize) {
    append(log, (0..KEYS).flat_map(|key| numbered(key, round, 1)).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn every_record_is_read_while_members_change() {
    // Long, so that a hand-over that waits for a session to expire is detected.
    let config = KafkaConfig { session_timeout: Duration::from_secs(30), ..settings("rebalance") };
    let _clean_up = CleanUp(config.clone());
    let log: SharedLog = Arc::new(open(&config, Guarantee::AtLeastOnce).await);
    let seen = Shared::default();
    let mut rounds = 0..;
    let one = run(&log, "one", &seen).await;
    until("all partitions", &seen, |seen| has(seen, "one", 3)).await;
    append_round(&log, rounds.next().unwrap()).await;
    let two = run(&log, "two", &seen).await;
    // Appends during the rebalance.
    while !has(&seen.lock(), "two", 1) {
        append_round(&log, rounds.next().unwrap()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until("a share per member", &seen, |seen| has(seen, "one", 2) && has(seen, "two", 1)).await;
    append_round(&log, rounds.next().unwrap()).await;
    let left_at = Instant::now();
    one.stop().await;
    until("a take-over", &seen, |seen| has(seen, "two", 3)).await;
    let took = left_at.elapsed();
    println!("taken over in {took:?}");
    assert!(took < Duration::from_secs(10), "without waiting for the session to expire: {took:?}");
    append_round(&log, rounds.next().unwrap()).await;
    let rounds = rounds.next().unwrap();
    let wanted: BTreeSet<_> = (0..KEYS).flat_map(|key| names(&numbered(key, 0, rounds))).collect();
    until("every record", &seen, |seen| {
        seen.texts.iter().cloned().collect::<BTreeSet<_>>() == wanted
    })
    .await;
    // Only records that were read and not committed before the revocation come twice.
    let twice = seen.lock().texts.len() - wanted.len();
    println!("{rounds} rounds, {twice} records twice");
    assert!(twice <= POLL_RECORDS, "{twice} records twice");
    two.stop().await;
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn member_of_a_stalled_stage_stays_in_its_group() {
    let config = settings("standing");
    let _clean_up = CleanUp(config.clone());
    let log: SharedLog = Arc::new(open(&config, Guarantee::AtLeastOnce).await);
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    // More than the queue holds.
    let large = vec![b'x'; 256 << 10];
    for first in (0..80).step_by(8) {
        let mut batch = numbered(1, first, 8);
        for record in &mut batch {
            record.payload = [&record.payload[..], b" ", &large[..]].concat().into();
        }
        append(&log, batch).await;
    }
    let mut numbers = Vec::new();
    let reading = async {
        while numbers.len() < 80 {
            let polled = member.poll(3, MOMENT).await.unwrap();
            assert_eq!(polled.revoked, [] as [u32; 0]);
            let number = |payload: &[u8]| {
                String::from_utf8_lossy(payload).split(' ').next().map(str::to_owned)
            };
            numbers.extend(polled.records.iter().filter_map(|record| number(&record.payload)));
            if numbers.len() == 3 {
                // Long enough for fetching to pause.
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("all in time");
    assert_eq!(numbers, names(&numbered(1, 0, 80)));
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn positions_of_other_members_are_not_committed() {
    let config = settings("foreign");
    let _clean_up = CleanUp(config.clone());
    let log: SharedLog = Arc::new(open(&config, Guarantee::AtLeastOnce).await);
    append(&log, numbered(1, 0, 5)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    // Nothing is assigned yet.
    let topic = crate::daemon::engines::eventlog::Topic::CommentEvents;
    let all: Vec<_> = (0..3).map(|partition| Position { partition, offset: 2 }).collect();
    member.commit(&all).await.unwrap();
    assert_eq!(log.committed(topic, ConsumerGroup::Test("g")).await.unwrap(), []);
    drop(member);
    log.close().await.unwrap();
}
