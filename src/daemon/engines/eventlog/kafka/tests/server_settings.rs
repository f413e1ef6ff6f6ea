//! The settings that are read from the cluster for `lc doctor`.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};

use super::{CleanUp, log_config, open, settings};
use crate::daemon::base::config::{Guarantee, KafkaConfig};
use crate::daemon::engines::eventlog::kafka::KafkaSettingsReader;
use crate::daemon::engines::eventlog::{EventLog as _, Topic};
use crate::daemon::engines::server_settings::{KafkaSettings, ServerSettings, SettingsReader as _};
use crate::protocol::NodeId;

fn reader(config: &KafkaConfig) -> KafkaSettingsReader {
    let events = log_config(Guarantee::AtLeastOnce);
    KafkaSettingsReader::new(config, &events, &NodeId::new("test")).unwrap()
}

async fn read(config: &KafkaConfig) -> KafkaSettings {
    match reader(config).read().await {
        Ok(ServerSettings::Kafka(settings)) => settings,
        other => panic!("{other:?}"),
    }
}

/// Replaces all settings of a topic.
async fn set(config: &KafkaConfig, topic: Topic, name: &str, value: &str) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", config.brokers.join(","));
    let admin: AdminClient<_> = client.create().unwrap();
    let topic = format!("{}{}", config.prefix, topic.name());
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set(name, value);
    let done = admin.alter_configs([&change], &AdminOptions::new()).await.unwrap();
    done.into_iter().for_each(|outcome| drop(outcome.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn created_topics_have_what_was_asked_for() {
    let config = settings("doctor");
    let _clean_up = CleanUp(config.clone());
    let log = open(&config, Guarantee::AtLeastOnce).await;
    let found = read(&config).await;
    assert_eq!(
        (found.bootstrap.as_str(), &found.unread[..]),
        (config.brokers[0].as_str(), &[][..])
    );
    assert!(found.brokers >= 1);
    assert_eq!(found.topics.len(), Topic::ALL.len());
    for topic in &found.topics {
        let asked = topic.asked;
        assert_eq!(topic.name, format!("{}{}", config.prefix, topic.topic));
        assert_eq!((topic.partitions, topic.replicas), (asked.partitions, asked.replicas));
        assert_eq!(topic.min_insync_replicas, Some(asked.min_insync_replicas), "{topic:?}");
        assert_eq!(topic.retention_ms, Some(asked.retention_ms as i64), "{topic:?}");
        assert_eq!(topic.max_message_bytes, Some(asked.max_message_bytes), "{topic:?}");
        assert!(asked.max_message_bytes >= asked.largest_record_bytes);
        assert_eq!(topic.retention_bytes, Some(-1), "{topic:?}");
        assert_eq!(topic.cleanup_policy.as_deref(), Some("delete"), "{topic:?}");
        assert_eq!(topic.message_timestamp_type.as_deref(), Some("CreateTime"), "{topic:?}");
    }
    set(&config, Topic::CommentEvents, "retention.ms", "86400000").await;
    let changed = read(&config).await;
    assert_eq!(changed.topics[0].topic, Topic::CommentEvents.name());
    assert_eq!(changed.topics[0].retention_ms, Some(86_400_000));
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn reading_creates_no_topic() {
    let config = settings("unmade");
    for _ in 0..2 {
        let found = read(&config).await;
        assert_eq!((found.topics.len(), found.unread.len()), (0, Topic::ALL.len()), "{found:?}");
        assert!(found.unread[0].settings.starts_with(&config.prefix), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_away_tells_nothing() {
    let brokers = vec!["127.0.0.1:1".to_owned()];
    let reader = reader(&KafkaConfig { brokers, ..KafkaConfig::default() });
    assert_eq!(reader.server(), "Kafka 127.0.0.1:1");
    let reason = reader.read().await.unwrap_err();
    assert!(reason.contains("asking for the topics"), "{reason}");
}
