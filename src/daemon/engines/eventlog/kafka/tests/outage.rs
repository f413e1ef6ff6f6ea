//! Brokers that are unreachable, slow, or refuse records, on a simulated cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Code};
use tokio::time::timeout;

use super::{SimulatedCluster, settings};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::conformance::{
    append, consumer, names, numbered, take, texts,
};
use crate::daemon::engines::eventlog::kafka::KafkaLog;
use crate::daemon::engines::eventlog::{LogError, LogTelemetry, SharedLog, StartAt, Topic};
use crate::protocol::NodeId;

const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: Topic = Topic::CommentEvents;
const BROKER: i32 = 1;

/// A cluster of one broker with the topics, because it cannot create topics itself.
fn simulated(name: &str) -> (SimulatedCluster, KafkaConfig) {
    simulated_brokers(name, 1)
}

fn simulated_brokers(name: &str, brokers: i32) -> (SimulatedCluster, KafkaConfig) {
    let cluster = MockCluster::new(brokers).expect("a simulated cluster");
    let config = KafkaConfig {
        brokers: vec![cluster.bootstrap_servers()],
        append_timeout: Duration::from_secs(3),
        ..settings(name)
    };
    for topic in Topic::ALL {
        let partitions =
            crate::daemon::engines::eventlog::kafka::topics::configured_partitions(&config, topic)
                as i32;
        let name = format!("{}{}", config.prefix, topic.name());
        cluster.create_topic(&name, partitions, 1).expect("a topic");
    }
    (cluster, config)
}

async fn open(config: &KafkaConfig, max_pending: ByteSize) -> SharedLog {
    let log_config = EventLogConfig { max_pending_bytes: max_pending, ..Default::default() };
    let node = NodeId::new("test");
    Arc::new(
        KafkaLog::open(config, &log_config, &node, LogTelemetry::default()).await.expect("a log"),
    )
}

/// Appends until an append is refused at once.
async fn until_refused_at_once(log: &SharedLog) {
    let refused = async {
        loop {
            let began = Instant::now();
            let outcome = log.append(TOPIC, numbered(9, 0, 1)).await;
            assert!(matches!(outcome, Err(LogError::Unavailable(_))), "{outcome:?}");
            if began.elapsed() < Duration::from_millis(50) {
                return;
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("a refusal at once");
}

/// Appends until an append succeeds.
async fn until_accepted(log: &SharedLog) {
    let accepted = async {
        while log.append(TOPIC, numbered(9, 0, 1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, accepted).await.expect("an append that works again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_are_refused_at_once_during_an_outage() {
    let (cluster, config) = simulated("outage");
    let log = open(&config, ByteSize::mib(64)).await;
    append(&log, numbered(1, 0, 10)).await;
    cluster.broker_down(BROKER).unwrap();
    let began = Instant::now();
    until_refused_at_once(&log).await;
    let limit = config.append_timeout + Duration::from_secs(2);
    assert!(began.elapsed() < limit, "known after {:?}", began.elapsed());
    assert!(matches!(log.bounds(TOPIC, 0).await, Err(LogError::Unavailable(_))));
    assert!(matches!(log.read(TOPIC, 1, 1, 1).await, Err(LogError::Unavailable(_))));
    cluster.broker_up(BROKER).unwrap();
    let began = Instant::now();
    until_accepted(&log).await;
    println!("works again after {:?}", began.elapsed());
    append(&log, numbered(1, 10, 10)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let of_key = |record: &crate::daemon::engines::eventlog::Record| record.key == 1;
    let mut records = Vec::new();
    while records.len() < 20 {
        records.extend(take(&mut *member, 1).await.into_iter().filter(of_key));
    }
    assert_eq!(texts(&records), names(&numbered(1, 0, 20)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_miss_nothing_in_an_outage() {
    let (cluster, config) = simulated("waiting");
    let log = open(&config, ByteSize::mib(64)).await;
    append(&log, numbered(1, 0, 5)).await;
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    let mut follower = log.follow(TOPIC).await.unwrap();
    assert_eq!(texts(&take(&mut *member, 5).await), names(&numbered(1, 0, 5)));
    cluster.broker_down(BROKER).unwrap();
    until_refused_at_once(&log).await;
    // No record arrives, and nothing fails.
    let polled = member.poll(10, Duration::from_millis(300)).await.unwrap();
    assert_eq!(polled.records, []);
    assert_eq!(follower.next(10, Duration::from_millis(300)).await.unwrap(), []);
    cluster.broker_up(BROKER).unwrap();
    until_accepted(&log).await;
    append(&log, numbered(1, 5, 5)).await;
    let mut read = Vec::new();
    let mut followed = Vec::new();
    let both = async {
        while read.len() < 5 || followed.len() < 5 {
            let records = member.poll(10, Duration::from_millis(50)).await.unwrap().records;
            read.extend(records.into_iter().filter(|record| record.key == 1));
            let records = follower.next(10, Duration::from_millis(50)).await.unwrap();
            followed.extend(records.into_iter().filter(|record| record.key == 1));
        }
    };
    timeout(PATIENCE, both).await.expect("all in time");
    assert_eq!(texts(&read), names(&numbered(1, 5, 5)));
    assert_eq!(texts(&followed), names(&numbered(1, 5, 5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_is_retried_until_the_brokers_accept_it() {
    let (cluster, config) = simulated("retries");
    let log = open(&config, ByteSize::mib(64)).await;
    let no = Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    cluster.request_errors(RDKafkaApiKey::Produce, &[no, no, no]);
    let appends: Vec<_> = (0..20).map(|n| log.append(TOPIC, numbered(1, n, 1))).collect();
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let mut member = consumer(&log, "g", StartAt::Earliest).await;
    assert_eq!(texts(&take(&mut *member, 20).await), names(&numbered(1, 0, 20)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_record_does_not_affect_the_next() {
    let (cluster, config) = simulated("refusals");
    let log = open(&config, ByteSize::mib(64)).await;
    let large = Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[large]);
    let refused = log.append(TOPIC, numbered(1, 0, 1)).await;
    let Err(LogError::Unavailable(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("max.message.bytes"), "three bytes are not too many: {text}");
    let invalid = Code::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    cluster.request_errors(RDKafkaApiKey::Produce, &[invalid]);
    let refused = log.append(TOPIC, numbered(1, 0, 1)).await;
    let Err(LogError::Unavailable(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("comment_events"), "{text}");
    append(&log, numbered(1, 1, 1)).await;
}

/// Brokers that have lost records find a hole in the numbers of an idempotent producer, which then
/// accepts nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_failed_for_good_is_replaced() {
    let (cluster, config) = simulated("failed");
    let log = open(&config, ByteSize::mib(64)).await;
    append(&log, numbered(1, 0, 1)).await;
    for round in 1..=2 {
        let hole = Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[hole]);
        // Of two partitions, and more than one batch of each.
        let lost = (0..20).map(|n| log.append(TOPIC, numbered(n as u64 % 2, 1_000 + n, 1)));
        let lost = futures_util::future::join_all(lost).await;
        assert!(lost.iter().any(Result::is_err), "{lost:?}");
        for outcome in lost {
            let is_retried = matches!(outcome, Ok(_) | Err(LogError::Unavailable(_)));
            assert!(is_retried, "the log is not closed: {outcome:?}");
        }
        let replaced = async {
            while let Err(error) = log.append(TOPIC, numbered(1, round, 1)).await {
                assert!(matches!(error, LogError::Unavailable(_)), "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, replaced).await.expect("another producer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_over_the_bound_is_refused_at_once() {
    let (cluster, config) = simulated("bound");
    let log = open(&config, ByteSize::kib(1)).await;
    append(&log, numbered(1, 0, 1)).await;
    cluster.broker_round_trip_time(BROKER, Duration::from_millis(500)).unwrap();
    let first = log.append(TOPIC, numbered(1, 1, 5));
    let second = timeout(Duration::from_millis(100), log.append(TOPIC, numbered(1, 6, 5))).await;
    let Ok(Err(LogError::Unavailable(text))) = second else { panic!("{second:?}") };
    assert!(text.contains("eventlog.max_pending_bytes"), "{text}");
    first.await.unwrap();
    append(&log, numbered(1, 6, 5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_partition_is_asked() {
    let (cluster, config) = simulated_brokers("partitions", 3);
    let name = format!("{}{}", config.prefix, TOPIC.name());
    for partition in 0..3 {
        cluster.partition_leader(&name, partition, Some(partition + 1)).unwrap();
    }
    let log = open(&config, ByteSize::mib(1)).await;
    assert_eq!(log.unreachable_partitions().await.unwrap(), [0; 0]);
    cluster.broker_down(2).unwrap();
    assert_eq!(log.unreachable_partitions().await.unwrap(), [1], "partition 0 answers");
    cluster.broker_up(2).unwrap();
    let back = async {
        while !log.unreachable_partitions().await.is_ok_and(|none| none.is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, back).await.expect("all answer again");
    for broker in 1..=3 {
        cluster.broker_down(broker).unwrap();
    }
    assert!(log.unreachable_partitions().await.is_err(), "none answers");
    // Closing waits for nothing here: the brokers are gone.
    drop(log);
}
