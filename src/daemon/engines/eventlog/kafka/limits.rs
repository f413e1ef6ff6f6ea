//! The limits of the topics: replicas that must be in sync, and the size of a batch. Settings that
//! let no record in are found when the log is opened and when the brokers refuse records.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::metadata::{Metadata, MetadataTopic};
use tracing::debug;

use super::client::{ClientSettings, LogOnlyContext, unavailable};
use crate::daemon::engines::eventlog::{LogError, Topic};
use crate::protocol::quantity::counted;

/// The library's default for `batch.size`.
const DEFAULT_BATCH_BYTES: usize = 1_000_000;
/// A topic that accepts less cannot hold the largest comments, with the room a batch needs.
const MIN_BATCH_BYTES: usize = 32 << 10;
const TIMEOUT: Duration = Duration::from_secs(3);

/// The limits of all topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TopicLimits {
    topics: Vec<TopicLimit>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TopicLimit {
    name: String,
    /// `max.message.bytes`, which limits a batch. `None` if this user may not read it.
    max_batch_bytes: Option<usize>,
    /// `min.insync.replicas`.
    min_in_sync: Option<usize>,
    /// The replicas of the partition that has the fewest.
    replicas: usize,
    partitions: usize,
    /// Partitions with fewer replicas in sync than the topic wants.
    out_of_sync: usize,
}

/// Reads the limits of this system's topics.
pub(super) async fn find(
    clients: &ClientSettings,
    metadata: &Metadata,
) -> Result<TopicLimits, LogError> {
    let names = Topic::ALL.map(|topic| clients.prefixed(topic.name()));
    let known: Vec<_> = metadata
        .topics()
        .iter()
        .filter(|topic| names.iter().any(|name| name == topic.name()))
        .collect();
    if known.is_empty() {
        return Ok(TopicLimits::default());
    }
    let admin: AdminClient<_> =
        AdminClient::from_config_and_context(&clients.plain(), LogOnlyContext)
            .map_err(|error| unavailable("creating a client", &error))?;
    let resources: Vec<_> =
        known.iter().map(|topic| rdkafka::admin::ResourceSpecifier::Topic(topic.name())).collect();
    let options = AdminOptions::new().request_timeout(Some(clients.timeout.min(TIMEOUT)));
    let described = admin.describe_configs(&resources, &options).await;
    let configs: Vec<ConfigResource> = match described {
        Ok(answers) => answers.into_iter().filter_map(Result::ok).collect(),
        // A user may write without being allowed to read the settings.
        Err(error) => {
            debug!(%error, "the settings of topics cannot be read");
            Vec::new()
        }
    };
    let limit = |topic: &&MetadataTopic| TopicLimit::new(topic, &configs);
    Ok(TopicLimits { topics: known.iter().map(limit).collect() })
}

impl TopicLimit {
    fn new(topic: &MetadataTopic, configs: &[ConfigResource]) -> Self {
        let is_of_topic = |config: &&ConfigResource| matches!(&config.specifier, OwnedResourceSpecifier::Topic(name) if name == topic.name());
        let config = configs.iter().find(is_of_topic);
        let number = |name: &str| config?.get(name)?.value.as_ref()?.parse::<usize>().ok();
        let min_in_sync = number("min.insync.replicas");
        let partitions = topic.partitions();
        let wanted = min_in_sync.unwrap_or(0);
        Self {
            name: topic.name().to_owned(),
            max_batch_bytes: number("max.message.bytes"),
            min_in_sync,
            replicas: partitions.iter().map(|of| of.replicas().len()).min().unwrap_or(0),
            partitions: partitions.len(),
            out_of_sync: partitions.iter().filter(|of| of.isr().len() < wanted).count(),
        }
    }

    /// Describes the setting that lets no record in, if there is one.
    fn flaw(&self) -> Option<String> {
        let name = &self.name;
        let bytes = self.max_batch_bytes.filter(|bytes| *bytes < MIN_BATCH_BYTES)?;
        Some(format!(
            "topic {name} accepts at most {bytes} bytes (max.message.bytes), which is too small for \
             comments: set it to {MIN_BATCH_BYTES} or more"
        ))
    }
}

impl TopicLimits {
    /// Fails if a topic accepts no records.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.topics.iter().find_map(TopicLimit::flaw) {
            Some(text) => Err(LogError::Unavailable(text)),
            None => Ok(()),
        }
    }

    /// Returns the reason why the brokers refuse records now, if it is one of the limits.
    /// `batch_bytes` is what this process sends at most.
    pub(super) fn refusal(&self, batch_bytes: usize) -> Option<String> {
        let of_topic = |topic: &TopicLimit| {
            let TopicLimit { name, partitions, out_of_sync, min_in_sync, max_batch_bytes, .. } =
                topic;
            if let Some(text) = topic.flaw() {
                return Some(text);
            }
            if let Some(wanted) = min_in_sync.filter(|wanted| *wanted > topic.replicas) {
                let replicas = counted(topic.replicas as u64, "replica");
                return Some(format!(
                    "topic {name} has min.insync.replicas = {wanted}, but only {replicas}: \
                     brokers before Kafka 4 accept no record then; lower that setting of the topic, \
                     or add replicas"
                ));
            }
            if *out_of_sync > 0 {
                return Some(format!(
                    "topic {name} has too few replicas in sync (min.insync.replicas = {}) in \
                     {out_of_sync} of {}, which accept no records: look for brokers that are away",
                    min_in_sync.unwrap_or(0),
                    counted(*partitions as u64, "partition")
                ));
            }
            let bytes = max_batch_bytes.filter(|bytes| *bytes < batch_bytes)?;
            Some(format!(
                "topic {name} accepts at most {bytes} bytes (max.message.bytes), but {batch_bytes} when \
                 this node opened it: larger batches are refused until lcd is restarted"
            ))
        };
        self.topics.iter().find_map(of_topic)
    }

    /// Returns the largest batch that every topic accepts.
    pub(super) fn batch_bytes(&self) -> usize {
        let limits = self.topics.iter().filter_map(|topic| topic.max_batch_bytes);
        limits.min().unwrap_or(DEFAULT_BATCH_BYTES).min(DEFAULT_BATCH_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl FnOnce(&mut TopicLimit)) -> TopicLimits {
        let mut topic = TopicLimit {
            name: "t".to_owned(),
            max_batch_bytes: Some(2 << 20),
            min_in_sync: Some(2),
            replicas: 3,
            partitions: 12,
            out_of_sync: 0,
        };
        change(&mut topic);
        TopicLimits { topics: vec![topic] }
    }

    #[test]
    fn settings_that_let_no_record_in_are_named() {
        let good = limits(|_| ());
        good.check().unwrap();
        assert_eq!(good.refusal(good.batch_bytes()), None);
        assert_eq!(good.batch_bytes(), DEFAULT_BATCH_BYTES);
        let replicas = limits(|topic| topic.replicas = 1).refusal(1).unwrap();
        assert!(replicas.contains("min.insync.replicas = 2, but only 1"), "{replicas}");
        let small = limits(|topic| topic.max_batch_bytes = Some(9_000));
        let text = small.check().unwrap_err().to_string();
        assert!(text.contains("9000 bytes (max.message.bytes)"), "{text}");
        assert_eq!(small.batch_bytes(), 9_000);
        let away = limits(|topic| topic.out_of_sync = 4).refusal(1).unwrap();
        assert!(away.contains("4 of 12 partitions"), "{away}");
        let shrunk =
            limits(|topic| topic.max_batch_bytes = Some(100_000)).refusal(200_000).unwrap();
        assert!(shrunk.contains("at most 100000 bytes"), "{shrunk}");
    }
}
