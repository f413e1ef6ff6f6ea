//! The topics: what they are called, how they are made, how many partitions they have.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::Metadata;
use tracing::{info, warn};

use super::client::Clients;
use super::failure::unavailable;
use super::partitioner;
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::{LogError, MAX_PAYLOAD_BYTES, Topic};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A record may carry its key and Kafka's own fields besides the payload.
pub(super) const MAX_RECORD_BYTES: usize = MAX_PAYLOAD_BYTES + 4096;
/// Between two looks at whether new topics have leaders.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// The topics as they are on the cluster. Counts are those found when the log was opened: partitions
/// added later would move streams in the middle of their order, so they are not used until then.
#[derive(Debug)]
pub(super) struct Topics {
    /// In the order of [`Topic::ALL`]: the full name and the number of partitions.
    known: Vec<(String, u32)>,
}

impl Topics {
    pub(super) fn name(&self, topic: Topic) -> &str {
        &self.known[index(topic)].0
    }

    pub(super) fn partitions(&self, topic: Topic) -> u32 {
        self.known[index(topic)].1
    }

    pub(super) fn partition_of(&self, topic: Topic, key: u64) -> u32 {
        partitioner::partition(key, self.partitions(topic))
    }

    pub(super) fn check_partition(&self, topic: Topic, partition: u32) -> Result<(), LogError> {
        let count = self.partitions(topic);
        if partition < count {
            return Ok(());
        }
        let name = self.name(topic);
        Err(LogError::Unavailable(format!("topic {name} has {count} partitions, no {partition}")))
    }

    /// The topics in the cluster's metadata; the error is what is missing.
    pub(super) fn found(metadata: &Metadata, clients: &Clients) -> Result<Self, Vec<Topic>> {
        let count = |topic: Topic| {
            let name = clients.name(topic.name());
            let found = metadata.topics().iter().find(|found| found.name() == name)?;
            let ready = |p: &rdkafka::metadata::MetadataPartition| p.leader() >= 0;
            let there = found.error().is_none() && !found.partitions().is_empty();
            (there && found.partitions().iter().all(ready))
                .then(|| (name, found.partitions().len() as u32))
        };
        let missing: Vec<_> =
            Topic::ALL.into_iter().filter(|topic| count(*topic).is_none()).collect();
        if missing.is_empty() {
            Ok(Self { known: Topic::ALL.into_iter().filter_map(count).collect() })
        } else {
            Err(missing)
        }
    }
}

pub(super) fn index(topic: Topic) -> usize {
    match topic {
        Topic::CommentEvents => 0,
        Topic::ModerationEvents => 1,
        Topic::AnalyticsEvents => 2,
        Topic::WsMessages => 3,
        Topic::DeadLetters => 4,
    }
}

/// How many partitions a topic is to have when it is created.
pub(super) fn wanted_partitions(config: &KafkaConfig, topic: Topic) -> u32 {
    let counts = &config.partitions;
    match topic {
        Topic::CommentEvents => counts.comment_events,
        Topic::ModerationEvents => counts.moderation_events,
        Topic::AnalyticsEvents => counts.analytics_events,
        Topic::WsMessages => counts.ws_messages,
        Topic::DeadLetters => counts.dead_letters,
    }
}

/// How a topic is compressed on disk and how long it is kept.
fn policy(topic: Topic, config: &EventLogConfig) -> (&'static str, Duration) {
    match topic {
        Topic::CommentEvents => ("snappy", config.retention),
        Topic::ModerationEvents => ("gzip", 7 * DAY),
        Topic::AnalyticsEvents => ("lz4", 30 * DAY),
        // Worth something only while viewers wait for it.
        Topic::WsMessages => ("snappy", DAY),
        Topic::DeadLetters => ("snappy", 30 * DAY),
    }
}

/// Creates what is missing; a topic that another node creates at the same time is as good.
pub(super) async fn create<C: ClientContext>(
    admin: &AdminClient<C>,
    missing: &[Topic],
    clients: &Clients,
    kafka: &KafkaConfig,
    config: &EventLogConfig,
) -> Result<(), LogError> {
    let in_sync = kafka.min_insync_replicas.to_string();
    let max_bytes = (2 * MAX_PAYLOAD_BYTES).to_string();
    for &topic in missing {
        let name = clients.name(topic.name());
        let (compression, retention) = policy(topic, config);
        let retention_ms = retention.as_millis().to_string();
        let new = NewTopic::new(
            &name,
            wanted_partitions(kafka, topic) as i32,
            TopicReplication::Fixed(kafka.replication_factor),
        )
        .set("compression.type", compression)
        .set("retention.ms", &retention_ms)
        .set("min.insync.replicas", &in_sync)
        .set("max.message.bytes", &max_bytes);
        let options = AdminOptions::new()
            .request_timeout(Some(clients.timeout))
            .operation_timeout(Some(clients.timeout));
        let created = admin.create_topics([&new], &options).await;
        let created = created.map_err(|e| unavailable(&format!("creating topic {name}"), &e))?;
        for outcome in created {
            match outcome {
                Ok(name) => info!(topic = name, "created a topic"),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(not_created(&name, code, kafka)),
            }
        }
    }
    Ok(())
}

fn not_created(name: &str, code: Code, kafka: &KafkaConfig) -> LogError {
    let why = match code {
        Code::InvalidReplicationFactor => format!(
            "`kafka.replication_factor` is {}, more than the cluster has brokers",
            kafka.replication_factor
        ),
        Code::InvalidPartitions => "`kafka.partitions` asks for a number it does not take".into(),
        Code::InvalidTopic => format!("with `kafka.prefix` = {:?} it has no name", kafka.prefix),
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "the user in `kafka.sasl` may not: create it by hand, or let the user".into()
        }
        Code::PolicyViolation | Code::InvalidConfig => format!(
            "the cluster's policy refuses its settings (replicas {}, in sync {}): {code}",
            kafka.replication_factor, kafka.min_insync_replicas
        ),
        code => code.to_string(),
    };
    LogError::Unavailable(format!("cannot create topic {name}: {why}"))
}

/// Waits until every topic is there and led. `metadata` blocks.
pub(super) fn settled(
    clients: &Clients,
    metadata: impl Fn() -> Result<Metadata, LogError>,
) -> Result<Topics, LogError> {
    let deadline = Instant::now() + clients.timeout;
    loop {
        match Topics::found(&metadata()?, clients) {
            Ok(topics) => return Ok(topics),
            Err(missing) if Instant::now() >= deadline => {
                let names: Vec<_> = missing.iter().map(|t| clients.name(t.name())).collect();
                return Err(LogError::Unavailable(format!(
                    "partitions without a leader after `kafka.append_timeout` in {}",
                    names.join(", ")
                )));
            }
            Err(_) => std::thread::sleep(SETTLE_PAUSE),
        }
    }
}

/// Says where a topic that was there differs from the settings; it stays as it is.
pub(super) fn warn_of_differences(topics: &Topics, kafka: &KafkaConfig) {
    for topic in Topic::ALL {
        let (wanted, found) = (wanted_partitions(kafka, topic), topics.partitions(topic));
        if wanted != found {
            let name = topics.name(topic);
            warn!(
                topic = name,
                wanted, found, "a topic has another number of partitions; it stays"
            );
        }
    }
}
