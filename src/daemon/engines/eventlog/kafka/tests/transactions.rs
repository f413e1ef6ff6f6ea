//! `exactly_once`: uncommitted records are never seen.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::time::timeout;

use super::{CleanUp, open, settings};
use crate::daemon::base::config::{Guarantee, KafkaConfig};
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, read_key, take, texts,
};
use crate::daemon::engines::eventlog::{
    CommitOutcome, ConsumerGroup, Position, SharedLog, StartAt, Topic,
};

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: Topic = Topic::CommentEvents;

/// Writes a record in a transaction of another producer. It stays open.
fn write_uncommitted(config: &KafkaConfig, partition: u32) -> BaseProducer {
    let mut client = rdkafka::ClientConfig::new();
    client.set("bootstrap.servers", config.brokers.join(","));
    client.set("transactional.id", format!("{}-stranger", config.prefix));
    let producer: BaseProducer = client.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let topic = format!("{}{}", config.prefix, TOPIC.name());
    let key = 1_u64.to_be_bytes();
    let record = BaseRecord::to(&topic).partition(partition as i32).key(&key).payload("never");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer
}

fn write_and_abort(config: &KafkaConfig, partition: u32) {
    write_uncommitted(config, partition).abort_transaction(PATIENCE).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn aborted_records_are_never_seen() {
    let config = settings("aborted");
    let _clean_up = CleanUp(config.clone());
    let log: SharedLog = Arc::new(open(&config, Guarantee::ExactlyOnce).await);
    let mut follower = log.follow(TOPIC).await.unwrap();
    append(&log, numbered(1, 0, 3)).await;
    let partition = log.partition_of(TOPIC, 1);
    let aborted = config.clone();
    tokio::task::spawn_blocking(move || write_and_abort(&aborted, partition)).await.unwrap();
    append(&log, numbered(1, 3, 3)).await;
    let wanted = names(&numbered(1, 0, 6));
    assert_eq!(texts(&read_key(&log, 1, 2).await), wanted);
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    assert_eq!(texts(&take(&mut *member, 6).await), wanted);
    let mut followed = Vec::new();
    let following = async {
        while followed.len() < 6 {
            followed.extend(follower.next(10, Duration::from_millis(50)).await.unwrap());
        }
    };
    timeout(PATIENCE, following).await.expect("all in time");
    assert_eq!(texts(&followed), wanted);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn records_behind_an_open_transaction_are_lag() {
    let config = settings("open");
    let _clean_up = CleanUp(config.clone());
    let log: SharedLog = Arc::new(open(&config, Guarantee::ExactlyOnce).await);
    append(&log, numbered(1, 0, 3)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let last = take(&mut *member, 3).await[2].position;
    // Behind the last record is the marker of its transaction.
    member.commit(&[Position { offset: last.offset + 2, ..last }]).await.unwrap();
    let lag_becomes = async |wanted: u64| {
        while log.lag().await.unwrap().iter().map(|group| group.lag).sum::<u64>() != wanted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, lag_becomes(0)).await.expect("everything is read");
    let other = config.clone();
    let hanging = move || write_uncommitted(&other, last.partition);
    let hanging = tokio::task::spawn_blocking(hanging).await.unwrap();
    timeout(PATIENCE, lag_becomes(1)).await.expect("nobody can read this record yet");
    drop(hanging);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn newer_process_of_the_node_fences_the_old_one() {
    let config = settings("fenced");
    let _clean_up = CleanUp(config.clone());
    let old: SharedLog = Arc::new(open(&config, Guarantee::ExactlyOnce).await);
    append(&old, numbered(1, 0, 5)).await;
    let new: SharedLog = Arc::new(open(&config, Guarantee::ExactlyOnce).await);
    append(&new, numbered(1, 5, 5)).await;
    let refused = old.append(TOPIC, numbered(2, 0, 1)).await.unwrap_err();
    assert!(refused.to_string().contains("node.name"), "{refused}");
    assert_eq!(texts(&read_key(&new, 1, 100).await), names(&numbered(1, 0, 10)));
    assert_eq!(read_key(&new, 2, 100).await, []);
    new.close().await.unwrap();
    // Once the newer process is gone, the old one continues.
    let alone = async { while old.append(TOPIC, numbered(1, 10, 1)).await.is_err() {} };
    timeout(PATIENCE, alone).await.expect("an append that works again");
    assert_eq!(texts(&read_key(&old, 1, 100).await), names(&numbered(1, 0, 11)));
    old.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn outputs_and_offsets_are_committed_together() {
    let config = settings("together");
    let _clean_up = CleanUp(config.clone());
    let log: SharedLog = Arc::new(open(&config, Guarantee::ExactlyOnce).await);
    append(&log, numbered(1, 0, 4)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let two = take(&mut *member, 2).await;
    let last = two[1].position;
    let next = [Position { offset: last.offset + 1, ..last }];
    let mut outputs = vec![
        (Topic::ModerationEvents, numbered(7, 0, 2)),
        (Topic::DeadLetters, Vec::new()),
        (TOPIC, numbered(1, 4, 1)),
    ];
    let settled = member.append_and_commit(&*log, &mut outputs, &next).await.unwrap();
    assert_eq!(settled, CommitOutcome::Committed);
    assert_eq!(outputs, []);
    drop(member);
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    assert_eq!(texts(&take(&mut *member, 3).await), names(&numbered(1, 2, 3)));
    let mut decisions = log
        .consume(Topic::ModerationEvents, ConsumerGroup::Test("d"), StartAt::Earliest)
        .await
        .unwrap();
    assert_eq!(texts(&take(&mut *decisions, 2).await), names(&numbered(7, 0, 2)));
    log.close().await.unwrap();
}
