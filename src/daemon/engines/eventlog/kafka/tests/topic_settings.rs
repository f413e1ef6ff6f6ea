//! The settings of created topics as the broker has them, and of producers.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};

use super::{CleanUp, settings};
use crate::daemon::base::config::{EventLogConfig, Guarantee, KafkaConfig};
use crate::daemon::engines::eventlog::kafka::KafkaLog;
use crate::daemon::engines::eventlog::kafka::appender::set_acks;
use crate::daemon::engines::eventlog::{EventLog as _, LogTelemetry, Topic};
use crate::protocol::NodeId;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Returns the settings of a topic.
async fn described(config: &KafkaConfig, topic: Topic) -> BTreeMap<String, String> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", config.brokers.join(","));
    let admin: AdminClient<_> = client.create().unwrap();
    let name = format!("{}{}", config.prefix, topic.name());
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
    let wanted = [ResourceSpecifier::Topic(&name)];
    let answers = admin.describe_configs(&wanted, &options).await.unwrap();
    let entries = answers.into_iter().next().unwrap().unwrap().entries;
    entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn topics_have_their_codec_and_retention() {
    let config = settings("codec");
    let _clean_up = CleanUp(config.clone());
    let retention = Duration::from_secs(3 * 24 * 3600);
    let log_config = EventLogConfig { retention, ..EventLogConfig::default() };
    let node = NodeId::new("test");
    let log = KafkaLog::open(&config, &log_config, &node, LogTelemetry::default()).await.unwrap();
    let expected = [
        (Topic::CommentEvents, "snappy", 3 * DAY_MS),
        (Topic::ModerationEvents, "gzip", 7 * DAY_MS),
        (Topic::WsMessages, "snappy", DAY_MS),
        (Topic::DeadLetters, "snappy", 30 * DAY_MS),
    ];
    for (topic, codec, retention_ms) in expected {
        let settings = described(&config, topic).await;
        assert_eq!(settings["compression.type"], codec, "{topic:?}");
        assert_eq!(settings["retention.ms"], retention_ms.to_string(), "{topic:?}");
        assert_eq!(settings["min.insync.replicas"], "1", "{topic:?}");
        let largest: u64 = settings["max.message.bytes"].parse().unwrap();
        assert!(largest > crate::daemon::engines::eventlog::MAX_PAYLOAD_BYTES as u64, "{topic:?}");
    }
    log.close().await.unwrap();
}

#[test]
fn each_guarantee_has_its_acks() {
    let acks = |guarantee| {
        let mut config = ClientConfig::new();
        set_acks(&mut config, guarantee);
        let setting = |name| config.get(name).map(str::to_owned);
        (setting("acks"), setting("enable.idempotence"), setting("retries"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(acks(Guarantee::AtMostOnce), (some("1"), None, some("0")), "never sent twice");
    assert_eq!(acks(Guarantee::AtLeastOnce), (some("all"), some("true"), None));
}
