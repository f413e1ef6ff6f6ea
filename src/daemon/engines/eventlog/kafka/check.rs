//! The first contact with the cluster. If it fails, the error names the setting that is wrong.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use tracing::warn;

use super::client::{ClientSettings, log_line, unavailable};
use super::native;
use super::topics::{self, Topics};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::{LogError, Topic, run_blocking};
use crate::protocol::{Epoch, NodeId};

/// Connects to the cluster as [`super::KafkaLog::open`] does, without creating anything. Returns a
/// sentence that describes the cluster.
///
/// # Errors
/// [`LogError::Unavailable`] that names the setting: brokers that cannot be reached, or that refuse
/// TLS or the user; fewer brokers than the replicas of a topic to be created; a session timeout the
/// brokers do not allow. An existing topic with another number of partitions is no error.
pub async fn check(kafka: &KafkaConfig, node: &NodeId) -> Result<String, LogError> {
    let clients = ClientSettings::new(kafka, node)?;
    let (metadata, probe) = ProbeClient::new(&clients, kafka)?.connect().await?;
    let missing = Topics::find(&metadata, &clients).err().unwrap_or_default();
    check_replicas(&metadata, &missing, kafka)?;
    probe.check_session_timeout(&metadata, kafka).await?;
    let brokers = metadata.brokers().len();
    Ok(if missing.is_empty() {
        format!("{brokers} brokers, all topics exist")
    } else {
        let names: Vec<_> = missing.iter().map(|topic| clients.prefixed(topic.name())).collect();
        format!("{brokers} brokers, topics to be created at start: {}", names.join(", "))
    })
}

/// Creates missing topics. Returns the topics and the epoch of the log.
pub(super) async fn prepare(
    clients: &ClientSettings,
    kafka: &KafkaConfig,
    config: &EventLogConfig,
) -> Result<(Topics, Epoch), LogError> {
    let (metadata, probe) = ProbeClient::new(clients, kafka)?.connect().await?;
    if let Err(missing) = Topics::find(&metadata, clients) {
        check_replicas(&metadata, &missing, kafka)?;
        let admin =
            AdminClient::from_config_and_context(&clients.plain(), ConnectionErrors::default())
                .map_err(|error| unavailable("creating a client", &error))?;
        topics::create_missing(&admin, &missing, clients, kafka, config).await?;
    }
    let clients = clients.clone();
    let (topics, epoch) = run_blocking(move || {
        let timeout = clients.timeout;
        let topics = topics::wait_for_leaders(&clients, || probe.metadata(timeout))?;
        let events = topics.name(Topic::CommentEvents);
        let epoch = epoch_of(probe.producer.client(), events, timeout)?;
        Ok((topics, epoch))
    })
    .await?;
    topics::warn_of_differences(&topics, kafka);
    Ok((topics, epoch))
}

/// Returns the epoch of the log whose order is in `topic`. Blocks until a broker has answered.
/// Brokers without topic ids get an epoch from the cluster's id and the topic's name.
fn epoch_of<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Epoch, LogError> {
    if let Some(id) = native::topic_id(client, topic, timeout) {
        return Ok(fold_topic_id(id));
    }
    let Some(cluster) = client.fetch_cluster_id(timeout) else {
        let text = format!("no broker of `kafka.brokers` reports the id of topic {topic}");
        return Err(LogError::Unavailable(text));
    };
    warn!(
        topic,
        cluster,
        "brokers have no topic ids: a topic that is created again under this name keeps its epoch"
    );
    let mut hash = crc32c::crc32c(cluster.as_bytes());
    hash = crc32c::crc32c_append(hash, topic.as_bytes());
    Ok(Epoch(hash.max(1)))
}

/// Folds a random id of 128 bits into an epoch. 0 is left out, because it means "none".
fn fold_topic_id(id: u128) -> Epoch {
    let half = (id ^ (id >> 64)) as u64;
    Epoch(((half ^ (half >> 32)) as u32).max(1))
}

/// Fails if topics must be created and the cluster has fewer brokers than they need.
fn check_replicas(
    metadata: &Metadata,
    missing: &[Topic],
    kafka: &KafkaConfig,
) -> Result<(), LogError> {
    let brokers = metadata.brokers().len();
    let wanted = kafka.replication_factor;
    if missing.is_empty() || wanted <= brokers as i32 {
        return Ok(());
    }
    Err(LogError::Unavailable(format!(
        "`kafka.replication_factor` is {wanted}, but the cluster has {brokers} brokers"
    )))
}

/// A client that keeps the reason why a connection failed.
struct ProbeClient {
    producer: Arc<BaseProducer<ConnectionErrors>>,
    brokers: String,
    clients: ClientSettings,
}

impl ProbeClient {
    fn new(clients: &ClientSettings, kafka: &KafkaConfig) -> Result<Self, LogError> {
        let producer =
            BaseProducer::from_config_and_context(&clients.plain(), ConnectionErrors::default())
                .map_err(|error| invalid_setting(&error))?;
        let brokers = kafka.brokers.join(", ");
        Ok(Self { producer: Arc::new(producer), brokers, clients: clients.clone() })
    }

    async fn connect(self) -> Result<(Metadata, Self), LogError> {
        run_blocking(move || Ok((self.metadata(self.clients.timeout)?, self))).await
    }

    /// Fetches the metadata of the cluster. Blocks.
    fn metadata(&self, timeout: Duration) -> Result<Metadata, LogError> {
        let fetched = self.producer.client().fetch_metadata(None, timeout);
        fetched.map_err(|error| {
            // Serves the error callbacks that the library has queued meanwhile.
            self.producer.poll(Duration::from_millis(100));
            let last = self.producer.context().last();
            let last = last.unwrap_or((Code::Fail, error.to_string()));
            self.connection_error(&last)
        })
    }

    fn connection_error(&self, (code, reason): &(Code, String)) -> LogError {
        let says = |word: &str| reason.contains(word);
        let setting = match *code {
            // A failed handshake is reported as a lost connection.
            Code::BrokerTransportFailure if says("SSL ") => "kafka.tls",
            Code::BrokerTransportFailure if says("SASL") || says("SaslHandshake") => "kafka.sasl",
            Code::Authentication | Code::SaslAuthenticationFailed => "kafka.sasl",
            Code::UnsupportedSASLMechanism => "kafka.sasl.mechanism",
            Code::SSL => "kafka.tls",
            _ => "kafka.brokers",
        };
        let brokers = &self.brokers;
        LogError::Unavailable(format!("`{setting}`: no connection to Kafka at {brokers}: {reason}"))
    }

    /// Fails if the brokers do not allow the session timeout. Passes if this user may not read
    /// their configuration.
    async fn check_session_timeout(
        &self,
        metadata: &Metadata,
        kafka: &KafkaConfig,
    ) -> Result<(), LogError> {
        let Some(broker) = metadata.brokers().first() else { return Ok(()) };
        let admin = AdminClient::from_config_and_context(
            &self.clients.plain(),
            ConnectionErrors::default(),
        )
        .map_err(|error| unavailable("creating a client", &error))?;
        let options = AdminOptions::new().request_timeout(Some(self.clients.timeout));
        let resource = ResourceSpecifier::Broker(broker.id());
        let described = admin.describe_configs([&resource], &options);
        let Ok(answers) = described.await else { return Ok(()) };
        let limit_ms = |name: &str| {
            let answer = answers.iter().find_map(|answer| answer.as_ref().ok())?;
            answer.get(name)?.value.as_ref()?.parse::<u128>().ok()
        };
        let wanted_ms = kafka.session_timeout.as_millis();
        let least = limit_ms("group.min.session.timeout.ms").unwrap_or(0);
        let most = limit_ms("group.max.session.timeout.ms").unwrap_or(u128::MAX);
        if (least..=most).contains(&wanted_ms) {
            return Ok(());
        }
        Err(LogError::Unavailable(format!(
            "`kafka.session_timeout` is {wanted_ms} ms, but the brokers allow {least} ms to {most} ms"
        )))
    }
}

/// Names the setting that the library refused.
fn invalid_setting(error: &KafkaError) -> LogError {
    let text = match error {
        KafkaError::ClientConfig(_, text, _, _) | KafkaError::ClientCreation(text) => text.clone(),
        other => other.to_string(),
    };
    let setting = ["sasl", "ssl", "bootstrap.servers"].iter().find(|word| text.contains(**word));
    let setting = match setting {
        Some(&"sasl") => "kafka.sasl",
        Some(&"ssl") => "kafka.tls",
        _ => "kafka",
    };
    LogError::Unavailable(format!("`{setting}`: {text}"))
}

/// Keeps the last connection error that names a reason.
#[derive(Debug, Default)]
struct ConnectionErrors(Mutex<Option<(Code, String)>>);

impl ConnectionErrors {
    fn last(&self) -> Option<(Code, String)> {
        self.0.lock().clone()
    }
}

impl ClientContext for ConnectionErrors {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        if code != Code::AllBrokersDown {
            let mut kept = self.0.lock();
            *kept = Some((code, reason.to_owned()));
        }
    }
}

impl ProducerContext for ConnectionErrors {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
