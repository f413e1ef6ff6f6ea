//! The topics on the cluster: their names, their partitions, their creation; and the partition of a
//! key.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::Metadata;
use tracing::{info, warn};

use super::client::{ClientSettings, LogOnlyContext, unavailable};
use super::native::TopicDescription;
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::{LogError, MAX_PAYLOAD_BYTES, Topic};
use crate::protocol::quantity::counted;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// `max.message.bytes` of topics that are created.
pub(super) const MAX_MESSAGE_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;
/// Pause between two checks whether new topics have leaders.
const LEADER_CHECK_PAUSE: Duration = Duration::from_millis(20);

/// The topics on the cluster that this log uses. If the topic of the comments is created again, or
/// gets other partitions, it is another log, which must be opened again: the sequence of viewers is
/// made of its offsets. The other topics carry nothing that is numbered, so [`Topics::adopt`] takes
/// a new one into use.
#[derive(Debug)]
pub(super) struct Topics {
    /// In the order of [`Topic::ALL`].
    found: Vec<FoundTopic>,
}

#[derive(Debug)]
struct FoundTopic {
    /// With the prefix.
    name: String,
    identity: Mutex<TopicIdentity>,
}

/// The properties by which a topic is told from another one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicIdentity {
    /// `None` if the brokers have no topic ids.
    pub(super) id: Option<u128>,
    pub(super) partitions: u32,
}

/// The topics on the cluster, compared with those in use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TopicChanges {
    pub(super) missing: Vec<Topic>,
    pub(super) changed: Vec<ChangedTopic>,
}

/// A topic that is not the one in use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChangedTopic {
    pub(super) topic: Topic,
    pub(super) now: TopicIdentity,
    /// A sentence that says which topic, and how it differs.
    pub(super) text: String,
}

impl Topics {
    pub(super) fn name(&self, topic: Topic) -> &str {
        &self.found[index(topic)].name
    }

    pub(super) fn partitions(&self, topic: Topic) -> u32 {
        self.identity(topic).partitions
    }

    pub(super) fn partition_of(&self, topic: Topic, key: u64) -> u32 {
        partition_of_key(key, self.partitions(topic))
    }

    pub(super) fn check_partition(&self, topic: Topic, partition: u32) -> Result<(), LogError> {
        let count = self.partitions(topic);
        if partition < count {
            return Ok(());
        }
        let name = self.name(topic);
        Err(LogError::Unavailable(format!(
            "topic {name} has {}; there is no partition {partition}",
            counted(u64::from(count), "partition")
        )))
    }

    pub(super) fn id(&self, topic: Topic) -> Option<u128> {
        self.identity(topic).id
    }

    pub(super) fn identity(&self, topic: Topic) -> TopicIdentity {
        *self.found[index(topic)].identity.lock()
    }

    /// Takes another topic of the same name into use.
    pub(super) fn adopt(&self, topic: Topic, now: TopicIdentity) {
        *self.found[index(topic)].identity.lock() = now;
    }

    /// Returns the names, in the order of [`Topic::ALL`].
    pub(super) fn names(&self) -> Vec<String> {
        self.found.iter().map(|topic| topic.name.clone()).collect()
    }

    /// Adds the ids of the topics.
    pub(super) fn identify(&mut self, descriptions: &[TopicDescription]) {
        for topic in &mut self.found {
            let of_topic = descriptions.iter().find(|described| described.name == topic.name);
            topic.identity.get_mut().id = of_topic.and_then(|described| described.id);
        }
    }

    /// Compares the topics with what the cluster says of them now. A topic that cannot be described
    /// for another reason than that it does not exist counts as unchanged.
    pub(super) fn compare(&self, now: &[TopicDescription]) -> TopicChanges {
        let mut changes = TopicChanges::default();
        for (topic, known) in Topic::ALL.into_iter().zip(&self.found) {
            let Some(now) = now.iter().find(|described| described.name == known.name) else {
                continue;
            };
            if matches!(now.error, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic)) {
                changes.missing.push(topic);
            } else if now.error.is_none()
                && let Some(text) = known.difference(now)
            {
                let now = TopicIdentity { id: now.id, partitions: now.partitions };
                changes.changed.push(ChangedTopic { topic, now, text });
            }
        }
        changes
    }

    /// Finds the topics in the cluster's metadata. The error lists those that are missing or have a
    /// partition without a leader.
    pub(super) fn find(metadata: &Metadata, clients: &ClientSettings) -> Result<Self, Vec<Topic>> {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for topic in Topic::ALL {
            match FoundTopic::find(metadata, clients.prefixed(topic.name())) {
                Some(topic) => found.push(topic),
                None => missing.push(topic),
            }
        }
        if missing.is_empty() { Ok(Self { found }) } else { Err(missing) }
    }
}

impl FoundTopic {
    fn find(metadata: &Metadata, name: String) -> Option<Self> {
        let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
        let partitions = topic.partitions();
        let is_ready = topic.error().is_none()
            && !partitions.is_empty()
            && partitions.iter().all(|partition| partition.leader() >= 0);
        let identity = TopicIdentity { id: None, partitions: partitions.len() as u32 };
        is_ready.then(|| Self { name, identity: Mutex::new(identity) })
    }

    /// Describes how the topic on the cluster differs from this one, if it does.
    fn difference(&self, now: &TopicDescription) -> Option<String> {
        let Self { name, identity } = self;
        let TopicIdentity { id, partitions } = *identity.lock();
        if let (Some(before), Some(id)) = (id, now.id)
            && before != id
        {
            return Some(format!(
                "topic {name} was deleted and created again (topic id {before:032x}, now {id:032x}, \
                 {})",
                counted(u64::from(now.partitions), "partition")
            ));
        }
        (now.partitions != partitions).then(|| {
            let before = counted(u64::from(partitions), "partition");
            format!("topic {name} had {before} and has {} now", now.partitions)
        })
    }
}

/// Returns the index of a topic in [`Topic::ALL`].
pub(super) fn index(topic: Topic) -> usize {
    match topic {
        Topic::CommentEvents => 0,
        Topic::ModerationEvents => 1,
        Topic::WsMessages => 2,
        Topic::DeadLetters => 3,
    }
}

/// Returns the configured number of partitions, which a topic gets when it is created.
pub(super) fn configured_partitions(config: &KafkaConfig, topic: Topic) -> u32 {
    let counts = &config.partitions;
    match topic {
        Topic::CommentEvents => counts.comment_events,
        Topic::ModerationEvents => counts.moderation_events,
        Topic::WsMessages => counts.ws_messages,
        Topic::DeadLetters => counts.dead_letters,
    }
}

/// Returns a topic's compression on disk.
fn compression(topic: Topic) -> &'static str {
    match topic {
        Topic::ModerationEvents => "gzip",
        Topic::CommentEvents | Topic::WsMessages | Topic::DeadLetters => "snappy",
    }
}

/// Returns the retention with which a topic is created.
pub(super) fn retention(topic: Topic, config: &EventLogConfig) -> Duration {
    match topic {
        Topic::CommentEvents => config.retention,
        Topic::ModerationEvents => 7 * DAY,
        // Useful only while viewers wait for the messages.
        Topic::WsMessages => DAY,
        Topic::DeadLetters => 30 * DAY,
    }
}

/// Creates topics, or only asks the brokers whether they would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    Real,
    Trial,
}

/// Creates topics. A topic that another node creates at the same time is no error.
pub(super) async fn create(
    creation: Creation,
    missing: &[Topic],
    clients: &ClientSettings,
    kafka: &KafkaConfig,
    config: &EventLogConfig,
) -> Result<(), LogError> {
    let admin: AdminClient<_> =
        AdminClient::from_config_and_context(&clients.plain(), LogOnlyContext)
            .map_err(|error| unavailable("creating a client", &error))?;
    let in_sync = kafka.min_insync_replicas.to_string();
    let max_bytes = MAX_MESSAGE_BYTES.to_string();
    for &topic in missing {
        let name = clients.prefixed(topic.name());
        let retention_ms = retention(topic, config).as_millis().to_string();
        let new = NewTopic::new(
            &name,
            configured_partitions(kafka, topic) as i32,
            TopicReplication::Fixed(kafka.replication_factor),
        )
        .set("compression.type", compression(topic))
        .set("retention.ms", &retention_ms)
        .set("min.insync.replicas", &in_sync)
        .set("max.message.bytes", &max_bytes);
        let options = AdminOptions::new()
            .request_timeout(Some(clients.timeout))
            .operation_timeout(Some(clients.timeout))
            .validate_only(creation == Creation::Trial);
        let created = admin.create_topics([&new], &options).await;
        let created = created.map_err(|e| unavailable(&format!("creating topic {name}"), &e))?;
        for outcome in created {
            match outcome {
                Ok(name) if creation == Creation::Real => info!(topic = name, "created a topic"),
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
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
        Code::InvalidPartitions => {
            "the brokers do not allow the number in `kafka.partitions`".into()
        }
        Code::InvalidTopic => {
            format!("with `kafka.prefix` = {:?} its name is not valid", kafka.prefix)
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "this client is not allowed to; create it by hand, or allow the user in `kafka.sasl` \
             to create topics"
                .into()
        }
        Code::PolicyViolation | Code::InvalidConfig => format!(
            "the cluster's policy refuses its settings (replicas {}, in sync {}): {code}",
            kafka.replication_factor, kafka.min_insync_replicas
        ),
        code => code.to_string(),
    };
    LogError::Unavailable(format!("cannot create topic {name}: {why}"))
}

/// Waits until every topic exists and all its partitions have leaders. `metadata` blocks.
pub(super) fn wait_for_leaders(
    clients: &ClientSettings,
    metadata: impl Fn() -> Result<Metadata, LogError>,
) -> Result<Topics, LogError> {
    let deadline = Instant::now() + clients.timeout;
    loop {
        match Topics::find(&metadata()?, clients) {
            Ok(topics) => return Ok(topics),
            Err(missing) if Instant::now() >= deadline => {
                let names: Vec<_> = missing.iter().map(|t| clients.prefixed(t.name())).collect();
                return Err(LogError::Unavailable(format!(
                    "partitions without a leader after `kafka.append_timeout` in {}",
                    names.join(", ")
                )));
            }
            Err(_) => std::thread::sleep(LEADER_CHECK_PAUSE),
        }
    }
}

/// Warns about existing topics that differ from the settings. They are left as they are.
pub(super) fn warn_of_differences(topics: &Topics, kafka: &KafkaConfig) {
    for topic in Topic::ALL {
        let configured = configured_partitions(kafka, topic);
        let existing = topics.partitions(topic);
        if configured != existing {
            let topic = topics.name(topic);
            warn!(topic, configured, existing, "topic keeps its number of partitions");
        }
    }
}

/// Encodes a key as Kafka encodes a 64-bit number: big-endian.
pub(super) fn key_bytes(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

/// Returns the partition of a key. It is the one that Kafka's own clients choose for the same eight
/// bytes, so that producers in other languages write a stream's records to the same partition. It
/// must never change, because a stream's order is kept within one partition.
fn partition_of_key(key: u64, partitions: u32) -> u32 {
    let positive = murmur2(&key_bytes(key)) & 0x7fff_ffff;
    positive % partitions.max(1)
}

/// Murmur 2 with Kafka's seed, for input whose length is a multiple of four.
fn murmur2(data: &[u8; 8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    for word in data.chunks_exact(4) {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_of_a_key_never_changes() {
        // The function's results when the first log was written.
        let partitions = [0, 1, 2, 42, u64::MAX].map(|key| partition_of_key(key, 100));
        assert_eq!(partitions, [15, 60, 4, 52, 97]);
    }

    #[test]
    fn keys_spread_over_the_partitions() {
        let mut counts = [0_u32; 100];
        (0..10_000).for_each(|key| counts[partition_of_key(key, 100) as usize] += 1);
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
