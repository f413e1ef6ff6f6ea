//! The settings of the topics as the cluster has them, beside those that lcd creates them with.

use std::time::Duration;

use async_trait::async_trait;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier,
};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::metadata::Metadata;
use tokio::runtime::Handle;

use super::client::{ClientSettings, LARGEST_RECORD_BYTES, LogOnlyContext, unavailable};
use super::topics;
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::{LogError, Topic, run_blocking};
use crate::daemon::engines::server_settings::{
    AskedTopic, KafkaSettings, ServerSettings, SettingsReader, TopicSettings, Unread,
};
use crate::protocol::NodeId;

/// The limit of each of the two requests. Both together stay within that of the contract.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(950);

/// Names the settings that a user without the right `DescribeConfigs` does not get.
const OF_TOPICS: &str = "the settings of topics";

/// Reads the settings with a client of its own, which lives as long as a reading.
#[derive(Debug, Clone)]
pub struct KafkaSettingsReader {
    clients: ClientSettings,
    kafka: KafkaConfig,
    config: EventLogConfig,
}

/// A topic as the metadata of the cluster describes it.
struct TopicShape {
    name: String,
    partitions: u32,
    replicas: u32,
}

impl KafkaSettingsReader {
    /// Does not connect.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] that names the setting whose file cannot be read.
    pub fn new(
        kafka: &KafkaConfig,
        config: &EventLogConfig,
        node: &NodeId,
    ) -> Result<Self, LogError> {
        let clients = ClientSettings::new(kafka, node)?;
        Ok(Self { clients, kafka: kafka.clone(), config: config.clone() })
    }

    /// Asks the cluster. Blocks.
    fn ask(&self, runtime: &Handle) -> Result<KafkaSettings, LogError> {
        let admin: AdminClient<_> =
            AdminClient::from_config_and_context(&self.clients.plain(), LogOnlyContext)
                .map_err(|error| unavailable("creating a client", &error))?;
        let metadata = admin.inner().fetch_metadata(None, REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| unavailable("asking for the topics", &error))?;
        let mut settings = KafkaSettings {
            bootstrap: self.kafka.brokers.first().cloned().unwrap_or_default(),
            brokers: metadata.brokers().len() as u32,
            topics: Vec::new(),
            unread: Vec::new(),
        };
        let mut found = Vec::new();
        for topic in Topic::ALL {
            let name = self.clients.prefixed(topic.name());
            match TopicShape::find(&metadata, &name) {
                Some(shape) => found.push((topic, shape)),
                None => settings.add_unread(&name, "there is no such topic"),
            }
        }
        let names: Vec<_> = found.iter().map(|(_, shape)| shape.name.as_str()).collect();
        let configs = settings.describe(&admin, runtime, &names);
        let topics = found.iter().map(|(topic, shape)| self.topic(*topic, shape, &configs));
        settings.topics = topics.collect();
        Ok(settings)
    }

    fn topic(&self, topic: Topic, shape: &TopicShape, configs: &[ConfigResource]) -> TopicSettings {
        let config = configs.iter().find(|config| is_of(config, &shape.name));
        let text = |name: &str| config?.get(name)?.value.clone();
        TopicSettings {
            topic: topic.name(),
            name: shape.name.clone(),
            partitions: shape.partitions,
            replicas: shape.replicas,
            min_insync_replicas: text("min.insync.replicas").and_then(|value| value.parse().ok()),
            retention_ms: text("retention.ms").and_then(|value| value.parse().ok()),
            retention_bytes: text("retention.bytes").and_then(|value| value.parse().ok()),
            cleanup_policy: text("cleanup.policy"),
            message_timestamp_type: text("message.timestamp.type"),
            max_message_bytes: text("max.message.bytes").and_then(|value| value.parse().ok()),
            asked: self.asked(topic),
        }
    }

    fn asked(&self, topic: Topic) -> AskedTopic {
        AskedTopic {
            partitions: topics::configured_partitions(&self.kafka, topic),
            replicas: self.kafka.replication_factor.max(1) as u32,
            min_insync_replicas: self.kafka.min_insync_replicas.max(1) as u32,
            retention_ms: topics::retention(topic, &self.config).as_millis() as u64,
            max_message_bytes: topics::MAX_MESSAGE_BYTES as u64,
            largest_record_bytes: LARGEST_RECORD_BYTES as u64,
        }
    }
}

fn is_of(config: &ConfigResource, topic: &str) -> bool {
    matches!(&config.specifier, OwnedResourceSpecifier::Topic(name) if name == topic)
}

impl TopicShape {
    fn find(metadata: &Metadata, name: &str) -> Option<Self> {
        let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
        let partitions = topic.partitions();
        // A topic that does not exist is described by an error.
        let fewest = partitions.iter().map(|partition| partition.replicas().len()).min()?;
        Some(Self {
            name: name.to_owned(),
            partitions: partitions.len() as u32,
            replicas: fewest as u32,
        })
    }
}

impl KafkaSettings {
    /// Returns the settings of the topics whose settings this user may read. Blocks.
    fn describe(
        &mut self,
        admin: &AdminClient<LogOnlyContext>,
        runtime: &Handle,
        names: &[&str],
    ) -> Vec<ConfigResource> {
        if names.is_empty() {
            return Vec::new();
        }
        let resources: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let described = runtime.block_on(admin.describe_configs(&resources, &options));
        let answers = described.unwrap_or_else(|error| {
            self.add_unread(OF_TOPICS, &error.to_string());
            Vec::new()
        });
        let mut readable = Vec::new();
        for answer in answers {
            match answer {
                Ok(config) => readable.push(config),
                Err(code) => self.add_unread(OF_TOPICS, &code.to_string()),
            }
        }
        // A user that lacks the right lacks it for several topics.
        self.unread.dedup();
        readable
    }

    fn add_unread(&mut self, settings: &str, reason: &str) {
        self.unread.push(Unread { settings: settings.to_owned(), reason: reason.to_owned() });
    }
}

#[async_trait]
impl SettingsReader for KafkaSettingsReader {
    fn server(&self) -> String {
        format!("Kafka {}", self.kafka.brokers.join(", "))
    }

    async fn read(&self) -> Result<ServerSettings, String> {
        let reader = self.clone();
        let runtime = Handle::current();
        let asked = run_blocking(move || reader.ask(&runtime)).await;
        asked.map(ServerSettings::Kafka).map_err(|error| error.to_string())
    }
}
