//! Reaching the cluster for the first time, and saying which setting is wrong if that fails.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::client::{Clients, log_line};
use super::failure::unavailable;
use super::topic_id;
use super::topics::{self, Topics};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::{LogError, Topic};
use crate::protocol::{Epoch, NodeId};

/// Reaches the cluster as [`super::KafkaLog::open`] does, without creating anything. Answers what was
/// found, in a sentence.
///
/// # Errors
/// [`LogError::Unavailable`] that names the setting: brokers that cannot be reached or refuse TLS or
/// the user, fewer brokers than a topic to be created is to have replicas, a session timeout the
/// brokers do not allow. A topic that is there with another number of partitions is right.
pub async fn check(kafka: &KafkaConfig, node: &NodeId) -> Result<String, LogError> {
    let clients = Clients::new(kafka, node)?;
    let first = First::new(&clients, kafka)?;
    let (metadata, first) = first.reach().await?;
    let missing = Topics::found(&metadata, &clients).err().unwrap_or_default();
    check_replicas(&metadata, &missing, kafka)?;
    first.check_session_timeout(&metadata, kafka).await?;
    let brokers = metadata.brokers().len();
    Ok(if missing.is_empty() {
        format!("{brokers} brokers, all topics there")
    } else {
        let names: Vec<_> = missing.iter().map(|topic| clients.name(topic.name())).collect();
        format!("{brokers} brokers, to be created at start: {}", names.join(", "))
    })
}

/// The topics, created where absent, and the identity of the log.
pub(super) async fn prepare(
    clients: &Clients,
    kafka: &KafkaConfig,
    config: &EventLogConfig,
) -> Result<(Topics, Epoch), LogError> {
    let (metadata, first) = First::new(clients, kafka)?.reach().await?;
    if let Err(missing) = Topics::found(&metadata, clients) {
        check_replicas(&metadata, &missing, kafka)?;
        let admin = AdminClient::from_config_and_context(&clients.plain(), Causes::default())
            .map_err(|error| unavailable("setting up a client", &error))?;
        topics::create(&admin, &missing, clients, kafka, config).await?;
    }
    let (owned_clients, timeout) = (clients.clone(), clients.timeout);
    let (topics, epoch) = super::blocking(move || {
        let topics = topics::settled(&owned_clients, || first.metadata(timeout))?;
        let events = topics.name(Topic::CommentEvents);
        let epoch = topic_id::epoch(first.producer.client(), events, timeout)?;
        Ok((topics, epoch))
    })
    .await?;
    topics::warn_of_differences(&topics, kafka);
    Ok((topics, epoch))
}

/// Only topics that are still to be created need so many brokers.
fn check_replicas(
    metadata: &Metadata,
    missing: &[Topic],
    kafka: &KafkaConfig,
) -> Result<(), LogError> {
    let (brokers, wanted) = (metadata.brokers().len(), kafka.replication_factor);
    if missing.is_empty() || wanted <= brokers as i32 {
        return Ok(());
    }
    Err(LogError::Unavailable(format!(
        "`kafka.replication_factor` is {wanted}, but the cluster has {brokers} brokers"
    )))
}

/// The first client, which also hears why a connection fails.
struct First {
    producer: Arc<BaseProducer<Causes>>,
    brokers: String,
    clients: Clients,
}

impl First {
    fn new(clients: &Clients, kafka: &KafkaConfig) -> Result<Self, LogError> {
        let producer = BaseProducer::from_config_and_context(&clients.plain(), Causes::default())
            .map_err(|error| setting_of(&error))?;
        let brokers = kafka.brokers.join(", ");
        Ok(Self { producer: Arc::new(producer), brokers, clients: clients.clone() })
    }

    async fn reach(self) -> Result<(Metadata, Self), LogError> {
        super::blocking(move || Ok((self.metadata(self.clients.timeout)?, self))).await
    }

    /// Blocks.
    fn metadata(&self, timeout: Duration) -> Result<Metadata, LogError> {
        let fetched = self.producer.client().fetch_metadata(None, timeout);
        fetched.map_err(|error| {
            // What the library heard meanwhile waits to be picked up.
            self.producer.poll(Duration::from_millis(100));
            let cause = self.producer.context().cause();
            self.unreachable(cause.unwrap_or((Code::Fail, error.to_string())))
        })
    }

    fn unreachable(&self, (code, reason): (Code, String)) -> LogError {
        let says = |word: &str| reason.contains(word);
        let setting = match code {
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

    /// Who is not allowed to ask is believed.
    async fn check_session_timeout(
        &self,
        metadata: &Metadata,
        kafka: &KafkaConfig,
    ) -> Result<(), LogError> {
        let Some(broker) = metadata.brokers().first() else { return Ok(()) };
        let admin = AdminClient::from_config_and_context(&self.clients.plain(), Causes::default())
            .map_err(|error| unavailable("setting up a client", &error))?;
        let options = AdminOptions::new().request_timeout(Some(self.clients.timeout));
        let resource = ResourceSpecifier::Broker(broker.id());
        let asked = admin.describe_configs([&resource], &options);
        let Ok(answers) = asked.await else { return Ok(()) };
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

/// The library did not take a setting.
fn setting_of(error: &KafkaError) -> LogError {
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

/// Keeps the most telling reason why a connection failed.
#[derive(Debug, Default)]
struct Causes(Mutex<Option<(Code, String)>>);

impl Causes {
    fn cause(&self) -> Option<(Code, String)> {
        self.0.lock().clone()
    }
}

impl ClientContext for Causes {
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

impl ProducerContext for Causes {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
