//! Topics that are deleted, created again or extended while the log is open, and positions that are
//! no longer in their partition. Whatever is lost is told within seconds.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::{Instant, timeout};

use super::{CleanUp, log_config, settings};
use crate::daemon::base::config::{Guarantee, KafkaConfig};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, read_key, take, texts,
};
use crate::daemon::engines::eventlog::kafka::{KafkaLog, check};
use crate::daemon::engines::eventlog::{
    ConsumerGroup, LogError, LogTelemetry, Position, SharedLog, StartAt, Topic,
};
use crate::protocol::NodeId;
use crate::protocol::admin::ConsumerLag;

const TOPIC: Topic = Topic::CommentEvents;
const PATIENCE: Duration = Duration::from_secs(30);
/// The time within which an operator is told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// A log with the board of its node.
struct OpenLog {
    log: SharedLog,
    board: StatusBoard,
}

async fn open(config: &KafkaConfig, guarantee: Guarantee) -> OpenLog {
    let board = StatusBoard::default();
    let telemetry = LogTelemetry::new(&board);
    let node = NodeId::new("test");
    let log = KafkaLog::open(config, &log_config(guarantee), &node, telemetry).await;
    OpenLog { log: Arc::new(log.expect("a log")), board }
}

impl OpenLog {
    /// Waits for a problem and returns its text.
    async fn told(&self, code: &str) -> String {
        let told = async {
            loop {
                let problems = self.board.problems().list();
                match problems.into_iter().find(|problem| problem.code == code) {
                    Some(problem) => return problem.text,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let problems = || self.board.problems().list();
        timeout(TOLD_WITHIN, told).await.unwrap_or_else(|_| panic!("{code} told: {:?}", problems()))
    }

    async fn replaced(&self) {
        timeout(PATIENCE, self.log.replaced()).await.expect("a log that can be opened again");
    }

    fn skipped(&self, group: &str) -> u64 {
        self.board.metrics().records_skipped.totals().get(group).copied().unwrap_or(0)
    }
}

fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", config.brokers.join(","));
    client
}

fn admin(config: &KafkaConfig) -> AdminClient<DefaultClientContext> {
    client(config).create().unwrap()
}

fn name(config: &KafkaConfig, topic: Topic) -> String {
    format!("{}{}", config.prefix, topic.name())
}

async fn create_by_hand(config: &KafkaConfig, partitions: i32, setting: Option<(&str, &str)>) {
    let name = name(config, TOPIC);
    let mut new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    if let Some((key, value)) = setting {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let created = async {
        // The brokers delete a topic some time after they have answered.
        while admin(config).create_topics([&new], &options).await.unwrap()[0].is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, created).await.expect("a topic");
}

async fn delete(config: &KafkaConfig, topic: Topic) {
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    admin(config).delete_topics(&[&name(config, topic)], &options).await.unwrap()[0]
        .clone()
        .unwrap();
}

/// Removes all records of a partition, as retention does.
async fn remove_records(config: &KafkaConfig, partition: u32) {
    let mut upto = TopicPartitionList::new();
    upto.add_partition_offset(&name(config, TOPIC), partition as i32, Offset::End).unwrap();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    admin(config).delete_records(&upto, &options).await.unwrap();
}

async fn lag_of(log: &SharedLog, group: &str) -> ConsumerLag {
    let lags = log.lag().await.unwrap();
    lags.into_iter().find(|lag| lag.group == group).expect("the group's lag")
}

fn after(position: Position) -> [Position; 1] {
    [Position { offset: position.offset + 1, ..position }]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn records_gone_before_a_start_are_told() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let config = settings("gone");
        let _clean_up = CleanUp(config.clone());
        let open = open(&config, guarantee).await;
        append(&open.log, numbered(1, 0, 4)).await;
        let mut member = consumer(&open.log, "g", StartAt::Earliest).await;
        let last = take(&mut *member, 4).await[3].position;
        member.commit(&after(last)).await.unwrap();
        drop(member);
        append(&open.log, numbered(1, 4, 6)).await;
        remove_records(&config, last.partition).await;
        append(&open.log, numbered(1, 10, 2)).await;

        tokio::time::sleep(Duration::from_millis(1100)).await;
        let lag = lag_of(&open.log, "g").await;
        assert!(lag.expired >= 6, "told while the group is stopped: {lag:?}");
        assert_eq!(lag.lag.min(3), if guarantee == Guarantee::ExactlyOnce { 3 } else { 2 });

        let mut member = consumer(&open.log, "g", StartAt::Earliest).await;
        assert_eq!(texts(&take(&mut *member, 2).await), names(&numbered(1, 10, 2)));
        let text = open.told("records_skipped").await;
        assert!(text.contains("g did not read") && text.contains("comment_events"), "{text}");
        assert!(text.contains(&format!("partition {}", last.partition)), "{text}");
        assert_eq!(open.skipped("g"), lag.expired);

        // A group that never committed says so too, and each loss is told once.
        let mut other = consumer(&open.log, "h", StartAt::Earliest).await;
        assert_eq!(texts(&take(&mut *other, 2).await), names(&numbered(1, 10, 2)));
        assert_eq!(open.skipped("h"), last.offset + lag.expired);
        drop(other);
        let mut other = consumer(&open.log, "h", StartAt::Earliest).await;
        take(&mut *other, 2).await;
        assert_eq!(open.skipped("h"), last.offset + lag.expired);
        open.log.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn running_consumer_tells_what_it_missed() {
    const RECORDS: usize = 120;
    let config = settings("running");
    let _clean_up = CleanUp(config.clone());
    let open = open(&config, Guarantee::AtLeastOnce).await;
    let mut member = consumer(&open.log, "g", StartAt::Earliest).await;
    // More than the consumer and the library hold.
    for first in (0..RECORDS).step_by(8) {
        let mut batch = numbered(1, first, 8);
        for record in &mut batch {
            // Random, so that compression does not make all of them fit.
            let mut random = vec![0; 256 << 10];
            rand::fill(&mut random[..]);
            record.payload = random.into();
        }
        append(&open.log, batch).await;
    }
    let mut read = vec![take(&mut *member, 1).await.remove(0)];
    remove_records(&config, read[0].position.partition).await;
    // Nothing more is appended: the loss must be told although no record comes.
    let all = async {
        while (read.len() as u64 + open.skipped("g")) < RECORDS as u64 {
            read.extend(member.poll(50, Duration::from_millis(50)).await.unwrap().records);
        }
    };
    timeout(PATIENCE, all).await.expect("every record is read or told");
    assert_eq!(read.len() as u64 + open.skipped("g"), RECORDS as u64);
    assert!(open.skipped("g") > 0, "the test must lose records");
    let text = open.told("records_skipped").await;
    let last = read.last().unwrap().position.offset;
    assert!(text.contains(&format!("offsets {} to {RECORDS}", last + 1)), "{text}");
    append(&open.log, numbered(1, RECORDS, 2)).await;
    assert_eq!(texts(&take(&mut *member, 2).await), names(&numbered(1, RECORDS, 2)));
    open.log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn recreated_topic_is_another_log() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let config = settings("recreated");
        let _clean_up = CleanUp(config.clone());
        let old = open(&config, guarantee).await;
        append(&old.log, numbered(1, 0, 9)).await;
        let mut member = consumer(&old.log, "g", StartAt::Earliest).await;
        let last = take(&mut *member, 9).await[8].position;
        member.commit(&after(last)).await.unwrap();
        assert_eq!(old.board.problems().list(), []);

        delete(&config, TOPIC).await;
        create_by_hand(&config, 1, None).await;
        let text = old.told("log_replaced").await;
        assert!(text.contains("was deleted and created again"), "{text}");
        let refused = old.log.append(TOPIC, numbered(1, 9, 1)).await.unwrap_err().to_string();
        assert!(refused.contains("comment_events"), "{refused}");
        assert!(matches!(old.log.read(TOPIC, 1, 1, 1).await, Err(LogError::Unavailable(_))));
        assert!(member.commit(&after(last)).await.is_err(), "a position of the old topic");
        old.replaced().await;
        drop(member);
        old.log.close().await.unwrap();

        let new = open(&config, guarantee).await;
        assert_ne!(new.log.epoch(), old.log.epoch());
        assert_ne!(new.log.identity(), old.log.identity());
        append(&new.log, numbered(1, 9, 3)).await;
        let mut member = consumer(&new.log, "g", StartAt::Earliest).await;
        assert_eq!(texts(&take(&mut *member, 3).await), names(&numbered(1, 9, 3)));
        assert_eq!(texts(&read_key(&new.log, 1, 10).await), names(&numbered(1, 9, 3)));
        new.log.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn no_number_is_acknowledged_twice() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let config = settings("twice");
        let _clean_up = CleanUp(config.clone());
        let old = open(&config, guarantee).await;
        append(&old.log, numbered(1, 0, 60)).await;
        delete(&config, TOPIC).await;
        create_by_hand(&config, 3, None).await;
        // Until the watch compares the topics, records reach the new one.
        let is_told = || !old.board.problems().list().is_empty();
        let appends = async {
            while !is_told() {
                if let Ok(positions) = old.log.append(TOPIC, numbered(1, 60, 1)).await {
                    assert!(
                        positions[0].offset > 60,
                        "{guarantee:?}: acknowledged as {positions:?}"
                    );
                }
            }
        };
        timeout(PATIENCE, appends).await.expect("it is told");
        old.told("log_replaced").await;
        old.log.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn added_partitions_are_another_log() {
    let config = settings("added");
    let _clean_up = CleanUp(config.clone());
    let old = open(&config, Guarantee::AtLeastOnce).await;
    append(&old.log, numbered(1, 0, 3)).await;
    let name = name(&config, TOPIC);
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let more = NewPartitions::new(&name, 6);
    admin(&config).create_partitions([&more], &options).await.unwrap()[0].clone().unwrap();
    let text = old.told("log_replaced").await;
    assert!(text.contains("had 3 partitions and has 6 now"), "{text}");
    assert!(old.log.append(TOPIC, numbered(1, 3, 1)).await.is_err());
    old.replaced().await;
    old.log.close().await.unwrap();
    let new = open(&config, Guarantee::AtLeastOnce).await;
    assert_ne!(new.log.epoch(), old.log.epoch());
    assert_eq!(new.log.partitions(TOPIC), 6);
    append(&new.log, numbered(1, 3, 1)).await;
    new.log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn missing_topic_is_told_and_created_again() {
    let config = settings("missing");
    let _clean_up = CleanUp(config.clone());
    let old = open(&config, Guarantee::AtLeastOnce).await;
    let mut member = consumer(&old.log, "g", StartAt::Earliest).await;
    append(&old.log, numbered(1, 0, 3)).await;
    take(&mut *member, 3).await;
    let began = Instant::now();
    delete(&config, TOPIC).await;
    let text = old.told("topic_missing").await;
    assert!(text.contains("comment_events is missing"), "{text}");
    let refused = old.log.append(TOPIC, numbered(1, 3, 1)).await.unwrap_err().to_string();
    assert!(refused.contains("is missing"), "{refused}");
    old.replaced().await;
    println!("created again after {:?}", began.elapsed());
    drop(member);
    old.log.close().await.unwrap();
    let new = open(&config, Guarantee::AtLeastOnce).await;
    assert_ne!(new.log.epoch(), old.log.epoch());
    assert_eq!(new.log.partitions(TOPIC), 3, "created with the settings, not by a broker");
    append(&new.log, numbered(1, 3, 1)).await;
    new.log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn another_topic_than_the_log_is_taken_into_use() {
    const OTHER: Topic = Topic::WsMessages;
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let config = settings("beside");
        let _clean_up = CleanUp(config.clone());
        let open = open(&config, guarantee).await;
        let mut follower = open.log.follow(OTHER).await.unwrap();
        open.log.append(OTHER, numbered(1, 0, 5)).await.unwrap();
        append(&open.log, numbered(1, 0, 5)).await;
        let mut read = Vec::new();
        while read.len() < 5 {
            read.extend(follower.next(10, PATIENCE).await.unwrap());
        }
        delete(&config, OTHER).await;
        let text = open.told("topic_missing").await;
        assert!(text.contains("ws-messages") && text.contains("comments are taken"), "{text}");
        let began = Instant::now();
        let comments = open.log.append(TOPIC, numbered(1, 5, 3));
        let refused = open.log.append(OTHER, numbered(1, 5, 1));
        let more_comments = open.log.append(TOPIC, numbered(1, 8, 2));
        let refused = refused.await.unwrap_err().to_string();
        assert!(refused.contains("ws-messages is missing"), "{refused}");
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
        comments.await.unwrap();
        more_comments.await.unwrap();
        let text = open.told("log_replaced").await;
        assert!(text.contains("ws-messages was deleted") && text.contains("is in use"), "{text}");
        // The library may know the topic as deleted for a moment.
        let appended = async {
            while open.log.append(OTHER, numbered(1, 5, 3)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, appended).await.expect("an append to the new topic");
        read.clear();
        let following = async {
            while read.len() < 3 {
                read.extend(follower.next(10, PATIENCE).await.unwrap());
            }
        };
        timeout(PATIENCE, following).await.expect("records of the new topic");
        assert_eq!(texts(&read[..3]), names(&numbered(1, 5, 3)));
        append(&open.log, numbered(1, 10, 1)).await;
        let problems = open.board.problems().list();
        assert_eq!(problems.len(), 1, "nothing is missing any more: {problems:?}");
        let replaced = timeout(Duration::from_millis(10), open.log.replaced()).await;
        assert!(replaced.is_err(), "viewers stay");
        assert_eq!(texts(&read_key(&open.log, 1, 20).await), names(&numbered(1, 0, 11)));
        drop(follower);
        open.log.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn commit_of_an_earlier_topic_is_not_used() {
    let config = settings("stale");
    let _clean_up = CleanUp(config.clone());
    let open = open(&config, Guarantee::AtLeastOnce).await;
    append(&open.log, numbered(1, 0, 5)).await;
    let partition = open.log.partition_of(TOPIC, 1) as i32;
    let raw_config = config.clone();
    let committing = move || {
        let group = format!("{}g", raw_config.prefix);
        let raw: BaseConsumer = client(&raw_config).set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&name(&raw_config, TOPIC), partition, Offset::Offset(3)).unwrap();
        list.elements()[0].set_metadata("0123456789abcdef0123456789abcdef");
        raw.commit(&list, CommitMode::Sync).unwrap();
    };
    tokio::task::spawn_blocking(committing).await.unwrap();
    assert_eq!(open.log.committed(TOPIC, ConsumerGroup::Test("g")).await.unwrap(), []);
    let mut member = consumer(&open.log, "g", StartAt::Latest).await;
    assert_eq!(texts(&take(&mut *member, 5).await), names(&numbered(1, 0, 5)));
    open.log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn batches_fit_the_limit_of_the_topic() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let config = settings("limit");
        let _clean_up = CleanUp(config.clone());
        create_by_hand(&config, 1, Some(("max.message.bytes", "40000"))).await;
        let open = open(&config, guarantee).await;
        // Random, so that compression does not make them fit.
        let mut batch = numbered(1, 0, 400);
        for record in &mut batch {
            let random: Vec<u8> = (0..400).map(|_| rand::random()).collect();
            record.payload = random.into();
        }
        let wanted: Vec<_> = batch.iter().map(|record| record.payload.clone()).collect();
        append(&open.log, batch).await;
        let mut member = consumer(&open.log, "g", StartAt::Earliest).await;
        let read = take(&mut *member, 400).await;
        assert!(read.iter().map(|record| &record.payload).eq(&wanted));
        open.log.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn topic_too_small_for_comments_is_named() {
    let config = settings("small");
    let _clean_up = CleanUp(config.clone());
    create_by_hand(&config, 1, Some(("max.message.bytes", "9000"))).await;
    let text = check(&config, &NodeId::new("test")).await.unwrap_err().to_string();
    assert!(text.contains("accepts at most 9000 bytes (max.message.bytes)"), "{text}");
    let open = open(&config, Guarantee::AtLeastOnce).await;
    let told = open.told("appends_refused").await;
    assert!(told.contains("accepts at most 9000 bytes (max.message.bytes)"), "{told}");
    open.log.close().await.unwrap();
}
