//! Opening and checking: created topics, and errors that name the wrong setting.

use std::io::Write as _;
use std::time::Duration;

use super::{CleanUp, open, settings};
use crate::daemon::base::config::{
    EventLogConfig, Guarantee, KafkaConfig, KafkaSasl, KafkaTls, PartitionCounts,
};
use crate::daemon::engines::eventlog::kafka::{KafkaLog, check};
use crate::daemon::engines::eventlog::{EventLog as _, LogTelemetry, Topic};
use crate::protocol::NodeId;

/// Returns the error of a check with wrong settings. Opening must fail too.
async fn check_error(config: &KafkaConfig) -> String {
    let node = NodeId::new("test");
    let checked = check(config, &node).await.expect_err("an error").to_string();
    let opened =
        KafkaLog::open(config, &EventLogConfig::default(), &node, LogTelemetry::default()).await;
    assert!(opened.is_err());
    checked
}

fn settings_with_short_timeout(name: &str) -> KafkaConfig {
    KafkaConfig { append_timeout: Duration::from_secs(2), ..settings(name) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_brokers_are_named() {
    // A free port: the listener is closed at once.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = KafkaConfig {
        brokers: vec![free.to_string()],
        ..settings_with_short_timeout("unreachable")
    };
    let text = check_error(&config).await;
    assert!(text.contains("`kafka.brokers`") && text.contains(&free.to_string()), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_files_are_named_with_their_setting() {
    let path = std::path::PathBuf::from("/nowhere/ca.pem");
    let tls = KafkaTls { ca: Some(path.clone()), certificate: None, key: None };
    let text =
        check_error(&KafkaConfig { tls: Some(tls), ..settings_with_short_timeout("files") }).await;
    assert!(text.contains("`kafka.tls.ca`") && text.contains("/nowhere/ca.pem"), "{text}");
    let mut no_pem = tempfile::NamedTempFile::new().unwrap();
    no_pem.write_all(b"nothing").unwrap();
    let tls = KafkaTls { ca: None, certificate: Some(no_pem.path().into()), key: None };
    let text =
        check_error(&KafkaConfig { tls: Some(tls), ..settings_with_short_timeout("files") }).await;
    assert!(text.contains("`kafka.tls.certificate`") && text.contains("PEM"), "{text}");
    let sasl = KafkaSasl {
        mechanism: "PLAIN".to_owned(),
        username: "lcd".to_owned(),
        password_file: path,
    };
    let text =
        check_error(&KafkaConfig { sasl: Some(sasl), ..settings_with_short_timeout("files") })
            .await;
    assert!(text.contains("`kafka.sasl.password_file`"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn unsupported_security_is_named() {
    let tls = KafkaTls { ca: None, certificate: None, key: None };
    let text =
        check_error(&KafkaConfig { tls: Some(tls), ..settings_with_short_timeout("tls") }).await;
    assert!(text.contains("`kafka.tls`"), "{text}");
    let mut password = tempfile::NamedTempFile::new().unwrap();
    password.write_all(b"secret\n").unwrap();
    let sasl = KafkaSasl {
        mechanism: "SCRAM-SHA-512".to_owned(),
        username: "lcd".to_owned(),
        password_file: password.path().into(),
    };
    let text =
        check_error(&KafkaConfig { sasl: Some(sasl), ..settings_with_short_timeout("sasl") }).await;
    assert!(text.contains("`kafka.sasl") && !text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn bad_replicas_and_session_timeout_are_named() {
    let text = check_error(&KafkaConfig {
        replication_factor: 99,
        ..settings_with_short_timeout("replicas")
    })
    .await;
    assert!(text.contains("`kafka.replication_factor` is 99"), "{text}");
    let short = KafkaConfig {
        session_timeout: Duration::from_millis(50),
        ..settings_with_short_timeout("session")
    };
    let text = check(&short, &NodeId::new("test")).await.unwrap_err().to_string();
    assert!(text.contains("`kafka.session_timeout` is 50 ms"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn missing_topics_are_created_and_others_kept() {
    let config = settings("created");
    let _clean_up = CleanUp(config.clone());
    let node = NodeId::new("test");
    let found = check(&config, &node).await.unwrap();
    assert!(found.contains("to be created") && found.contains("comment_events"), "{found}");
    let log = open(&config, Guarantee::AtLeastOnce).await;
    assert_eq!(log.partitions(Topic::CommentEvents), 3);
    let epoch = log.epoch();
    let partition = log.partition_of(Topic::CommentEvents, 7);
    log.close().await.unwrap();
    // A different number in the settings changes nothing.
    let other = PartitionCounts { comment_events: 8, ..config.partitions.clone() };
    let config = KafkaConfig { partitions: other, replication_factor: 99, ..config };
    assert!(check(&config, &node).await.unwrap().contains("all topics exist"));
    let log = open(&config, Guarantee::AtLeastOnce).await;
    assert_eq!(log.partitions(Topic::CommentEvents), 3);
    assert_eq!(log.partition_of(Topic::CommentEvents, 7), partition);
    assert_eq!(log.epoch(), epoch);
    log.close().await.unwrap();
}
