//! Opening and checking: what is created, and which setting is named when something is wrong.

use std::io::Write as _;
use std::time::Duration;

use super::{CleanUp, open, settings};
use crate::daemon::base::config::{
    EventLogConfig, Guarantee, KafkaConfig, KafkaSasl, KafkaTls, PartitionCounts,
};
use crate::daemon::engines::eventlog::kafka::{KafkaLog, check};
use crate::daemon::engines::eventlog::{EventLog as _, Topic};
use crate::protocol::NodeId;

/// What a check and an opening say about settings that are wrong: the same.
async fn complaint(config: &KafkaConfig) -> String {
    let node = NodeId::new("test");
    let checked = check(config, &node).await.expect_err("a complaint").to_string();
    let opened = KafkaLog::open(config, &EventLogConfig::default(), &node).await;
    assert!(opened.is_err());
    checked
}

fn quick(name: &str) -> KafkaConfig {
    KafkaConfig { append_timeout: Duration::from_secs(2), ..settings(name) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_cannot_be_reached_are_named() {
    // A port that is free because it was just ours.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = KafkaConfig { brokers: vec![free.to_string()], ..quick("nobody") };
    let text = complaint(&config).await;
    assert!(text.contains("`kafka.brokers`") && text.contains(&free.to_string()), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_read_are_named_with_their_setting() {
    let path = std::path::PathBuf::from("/nowhere/ca.pem");
    let tls = KafkaTls { ca: Some(path.clone()), certificate: None, key: None };
    let text = complaint(&KafkaConfig { tls: Some(tls), ..quick("files") }).await;
    assert!(text.contains("`kafka.tls.ca`") && text.contains("/nowhere/ca.pem"), "{text}");
    let mut no_pem = tempfile::NamedTempFile::new().unwrap();
    no_pem.write_all(b"nothing").unwrap();
    let tls = KafkaTls { ca: None, certificate: Some(no_pem.path().into()), key: None };
    let text = complaint(&KafkaConfig { tls: Some(tls), ..quick("files") }).await;
    assert!(text.contains("`kafka.tls.certificate`") && text.contains("PEM"), "{text}");
    let sasl = KafkaSasl {
        mechanism: "PLAIN".to_owned(),
        username: "lcd".to_owned(),
        password_file: path,
    };
    let text = complaint(&KafkaConfig { sasl: Some(sasl), ..quick("files") }).await;
    assert!(text.contains("`kafka.sasl.password_file`"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn security_the_brokers_do_not_speak_is_named() {
    let tls = KafkaTls { ca: None, certificate: None, key: None };
    let text = complaint(&KafkaConfig { tls: Some(tls), ..quick("tls") }).await;
    assert!(text.contains("`kafka.tls`"), "{text}");
    let mut password = tempfile::NamedTempFile::new().unwrap();
    password.write_all(b"secret\n").unwrap();
    let sasl = KafkaSasl {
        mechanism: "SCRAM-SHA-512".to_owned(),
        username: "lcd".to_owned(),
        password_file: password.path().into(),
    };
    let text = complaint(&KafkaConfig { sasl: Some(sasl), ..quick("sasl") }).await;
    assert!(text.contains("`kafka.sasl") && !text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn more_replicas_than_brokers_and_a_session_too_short_are_named() {
    let text = complaint(&KafkaConfig { replication_factor: 99, ..quick("replicas") }).await;
    assert!(text.contains("`kafka.replication_factor` is 99"), "{text}");
    let short = KafkaConfig { session_timeout: Duration::from_millis(50), ..quick("session") };
    let text = check(&short, &NodeId::new("test")).await.unwrap_err().to_string();
    assert!(text.contains("`kafka.session_timeout` is 50 ms"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn what_is_absent_is_created_and_what_is_there_stays() {
    let config = settings("created");
    let _clean_up = CleanUp(config.clone());
    let node = NodeId::new("test");
    let found = check(&config, &node).await.unwrap();
    assert!(found.contains("to be created") && found.contains("comment_events"), "{found}");
    let log = open(&config, Guarantee::AtLeastOnce).await;
    assert_eq!(log.partitions(Topic::CommentEvents), 3);
    let (epoch, partition) = (log.epoch(), log.partition_of(Topic::CommentEvents, 7));
    log.close().await.unwrap();
    // Another number in the settings changes nothing.
    let other = PartitionCounts { comment_events: 8, ..config.partitions.clone() };
    let config = KafkaConfig { partitions: other, replication_factor: 99, ..config };
    assert!(check(&config, &node).await.unwrap().contains("all topics there"));
    let log = open(&config, Guarantee::AtLeastOnce).await;
    assert_eq!(log.partitions(Topic::CommentEvents), 3);
    assert_eq!(log.partition_of(Topic::CommentEvents, 7), partition);
    assert_eq!(log.epoch(), epoch);
    log.close().await.unwrap();
}
