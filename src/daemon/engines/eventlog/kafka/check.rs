//! The first contact with the cluster. If it fails, the error names the setting that is wrong.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use tracing::warn;

use super::client::{ClientSettings, is_outage_code, log_line, unavailable};
use super::limits::{self, TopicLimits};
use super::native::{self, TopicDescription};
use super::topics::{self, Creation, TopicIdentity, Topics};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::{EarlierEpoch, LogError, Topic, run_blocking};
use crate::protocol::{Epoch, NodeId};

/// Bound of one attempt to connect to the address of a broker.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of one attempt to describe the topics.
const DESCRIBE_TIMEOUT: Duration = Duration::from_millis(1500);
/// Pause between two attempts to describe the topics.
const DESCRIBE_PAUSE: Duration = Duration::from_millis(100);

/// Connects to the cluster as [`super::KafkaLog::open`] does, without creating anything. Returns a
/// sentence that describes the cluster.
///
/// # Errors
/// [`LogError::Unavailable`] that names the setting: brokers that cannot be reached, or that refuse
/// TLS or the user; brokers that name an address of theirs that cannot be reached; fewer brokers
/// than the replicas of a topic to be created; a topic that this user may not create; a session
/// timeout the brokers do not allow; a topic that accepts no records, because of its replicas or
/// its limit on their size. An existing topic with another number of partitions is no error.
pub async fn check(kafka: &KafkaConfig, node: &NodeId) -> Result<String, LogError> {
    let clients = ClientSettings::new(kafka, node)?;
    let (metadata, probe) = ProbeClient::new(&clients, kafka)?.connect().await?;
    let (metadata, unreachable) = unreachable_listeners(metadata).await?;
    if let Some(listener) = unreachable.first() {
        return Err(listener.error());
    }
    let missing = Topics::find(&metadata, &clients).err().unwrap_or_default();
    check_replicas(&metadata, &missing, kafka)?;
    probe.check_session_timeout(&metadata, kafka).await?;
    if !missing.is_empty() {
        let config = EventLogConfig::default();
        topics::create(Creation::Trial, &missing, &clients, kafka, &config).await?;
    }
    limits::find(&clients, &metadata).await?.check()?;
    let brokers = metadata.brokers().len();
    Ok(if missing.is_empty() {
        format!("{brokers} brokers, all topics exist")
    } else {
        let names: Vec<_> = missing.iter().map(|topic| clients.prefixed(topic.name())).collect();
        format!("{brokers} brokers, topics to be created at start: {}", names.join(", "))
    })
}

/// The cluster as it was when the log was opened.
pub(super) struct Prepared {
    pub(super) topics: Topics,
    pub(super) epoch: Epoch,
    /// The epochs that the topic had with fewer partitions.
    pub(super) earlier: Vec<EarlierEpoch>,
    pub(super) limits: TopicLimits,
    pub(super) client: ProbeClient,
}

/// Creates missing topics, and finds out what the cluster is.
pub(super) async fn prepare(
    clients: &ClientSettings,
    kafka: &KafkaConfig,
    config: &EventLogConfig,
) -> Result<Prepared, LogError> {
    let (metadata, probe) = ProbeClient::new(clients, kafka)?.connect().await?;
    let (metadata, unreachable) = unreachable_listeners(metadata).await?;
    for listener in &unreachable {
        warn!(error = %listener.error(), "a broker cannot be reached");
    }
    if let Some(listener) = unreachable.first()
        && unreachable.len() == metadata.brokers().len()
    {
        return Err(listener.error());
    }
    if let Err(missing) = Topics::find(&metadata, clients) {
        check_replicas(&metadata, &missing, kafka)?;
        create_topics(&missing, clients, kafka, config).await?;
    }
    let settings = clients.clone();
    let (metadata, topics, (epoch, earlier), probe) = run_blocking(move || {
        let timeout = settings.timeout;
        let mut topics = topics::wait_for_leaders(&settings, || probe.metadata(timeout))?;
        let epochs = probe.identify(&mut topics, timeout)?;
        Ok((probe.metadata(timeout)?, topics, epochs, probe))
    })
    .await?;
    topics::warn_of_differences(&topics, kafka);
    let limits = limits::find(clients, &metadata).await?;
    Ok(Prepared { topics, epoch, earlier, limits, client: probe })
}

/// Creates topics: the only place that does.
pub(super) async fn create_topics(
    missing: &[Topic],
    clients: &ClientSettings,
    kafka: &KafkaConfig,
    config: &EventLogConfig,
) -> Result<(), LogError> {
    topics::create(Creation::Real, missing, clients, kafka, config).await
}

/// An address that brokers tell clients to use, and that cannot be reached.
struct UnreachableListener {
    address: String,
    error: String,
}

impl UnreachableListener {
    fn error(&self) -> LogError {
        let Self { address, error } = self;
        LogError::Unavailable(format!(
            "`kafka.brokers` answers, but the cluster tells its clients to connect to {address}, and \
             that fails: {error}; correct `advertised.listeners` of that broker, or make the address \
             reachable from here"
        ))
    }
}

/// Connects to the address of each broker, once.
async fn unreachable_listeners(
    metadata: Metadata,
) -> Result<(Metadata, Vec<UnreachableListener>), LogError> {
    run_blocking(move || {
        let brokers = metadata.brokers().iter();
        let unreachable = brokers.filter_map(|broker| {
            let address = format!("{}:{}", broker.host(), broker.port());
            let error = connect(broker.host(), broker.port()).err()?.to_string();
            Some(UnreachableListener { address, error })
        });
        let unreachable = unreachable.collect();
        Ok((metadata, unreachable))
    })
    .await
}

fn connect(host: &str, port: i32) -> std::io::Result<()> {
    let mut last = std::io::Error::other("the name has no address");
    for address in (host, u16::try_from(port).unwrap_or(0)).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LISTENER_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Returns the epoch of a log that is this topic; `None` if the brokers have no topic ids.
pub(super) fn epoch_of(topic: &TopicIdentity) -> Option<Epoch> {
    topic.id.map(|id| fold(id, topic.partitions))
}

/// Folds the random id of a topic, of 128 bits, and its number of partitions into an epoch: with
/// another number the records of a key continue in another partition. 0 is left out, because it
/// means "none".
fn fold(topic_id: u128, partitions: u32) -> Epoch {
    let half = (topic_id ^ (topic_id >> 64)) as u64;
    let id = (half ^ (half >> 32)) as u32;
    Epoch((id ^ partitions.wrapping_mul(0x9e37_79b9)).max(1))
}

/// Returns the epochs of a topic: the present one, and those that it had with fewer partitions,
/// whose records are where they were.
fn epochs(topic_id: u128, partitions: u32) -> (Epoch, Vec<EarlierEpoch>) {
    let epoch = fold(topic_id, partitions);
    let fewer = (1..partitions).map(|fewer| fold(topic_id, fewer)).filter(|of| *of != epoch);
    (epoch, fewer.map(|epoch| EarlierEpoch { epoch, until: u64::MAX }).collect())
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
pub(super) struct ProbeClient {
    producer: Arc<BaseProducer<ConnectionErrors>>,
    brokers: Vec<String>,
    clients: ClientSettings,
}

impl ProbeClient {
    fn new(clients: &ClientSettings, kafka: &KafkaConfig) -> Result<Self, LogError> {
        let producer =
            BaseProducer::from_config_and_context(&clients.plain(), ConnectionErrors::default())
                .map_err(|error| invalid_setting(&error))?;
        let brokers = kafka.brokers.clone();
        Ok(Self { producer: Arc::new(producer), brokers, clients: clients.clone() })
    }

    async fn connect(self) -> Result<(Metadata, Self), LogError> {
        run_blocking(move || Ok((self.metadata(self.clients.timeout)?, self))).await
    }

    /// Asks the brokers for topics. Blocks for at most `timeout`.
    pub(super) fn describe(
        &self,
        topics: &[String],
        timeout: Duration,
    ) -> Result<Vec<TopicDescription>, Code> {
        // Serves the error callbacks that the library has queued.
        self.producer.poll(Duration::ZERO);
        native::describe_topics(self.producer.client(), topics, timeout)
    }

    /// Finds the ids of the topics, and the epochs of the log. Brokers without topic ids get an
    /// epoch from the cluster's id and the topic's name. Blocks.
    fn identify(
        &self,
        topics: &mut Topics,
        timeout: Duration,
    ) -> Result<(Epoch, Vec<EarlierEpoch>), LogError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.describe(&topics.names(), left.min(DESCRIBE_TIMEOUT)) {
                Ok(described) => topics.identify(&described),
                Err(code) if is_outage_code(code) && Instant::now() < deadline => {
                    std::thread::sleep(DESCRIBE_PAUSE);
                    continue;
                }
                Err(code) => warn!(%code, "the brokers do not describe topics"),
            }
            break;
        }
        let partitions = topics.partitions(Topic::CommentEvents);
        if let Some(id) = topics.id(Topic::CommentEvents) {
            return Ok(epochs(id, partitions));
        }
        let topic = topics.name(Topic::CommentEvents);
        let Some(cluster) = self.producer.client().fetch_cluster_id(timeout) else {
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
        Ok(epochs(hash.into(), partitions))
    }

    /// Fetches the metadata of the cluster. Blocks.
    pub(super) fn metadata(&self, timeout: Duration) -> Result<Metadata, LogError> {
        let fetched = self.producer.client().fetch_metadata(None, timeout);
        fetched.map_err(|error| {
            // Serves the error callbacks that the library has queued meanwhile.
            self.producer.poll(Duration::from_millis(100));
            let last = self.producer.context().last();
            let (code, reason) = last.unwrap_or((Code::Fail, error.to_string()));
            connection_error(code, &reason, &self.brokers)
        })
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

/// Names the setting because of which none of `brokers` could be asked.
fn connection_error(code: Code, reason: &str, brokers: &[String]) -> LogError {
    let says = |word: &str| reason.contains(word);
    let setting = match code {
        // A failed handshake is reported as a lost connection.
        Code::BrokerTransportFailure if says("SSL ") => "kafka.tls",
        Code::BrokerTransportFailure if says("SASL") || says("SaslHandshake") => "kafka.sasl",
        Code::Authentication | Code::SaslAuthenticationFailed => "kafka.sasl",
        Code::UnsupportedSASLMechanism => "kafka.sasl.mechanism",
        Code::SSL => "kafka.tls",
        _ => match advertised(reason) {
            Some(listener) if !brokers.contains(&listener.address) => return listener.error(),
            _ => "kafka.brokers",
        },
    };
    let brokers = brokers.join(", ");
    LogError::Unavailable(format!("`{setting}`: no connection to Kafka at {brokers}: {reason}"))
}

/// Returns the address that a connection was refused to, if a broker named it: once the library
/// knows the cluster, it may ask nobody else. Such a connection has the number of its broker in
/// its name (`sasl_ssl://10.0.0.7:9092/3: Connect to…`), one to a configured address the word
/// `bootstrap`.
fn advertised(reason: &str) -> Option<UnreachableListener> {
    let (connection, error) = reason.split_once(": ")?;
    let (address, broker) = connection.rsplit_once('/')?;
    broker.parse::<u32>().ok()?;
    let address = address.rsplit_once('/').map_or(address, |(_, address)| address);
    Some(UnreachableListener { address: address.to_owned(), error: error.to_owned() })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(reason: &str, brokers: &[&str]) -> String {
        let brokers: Vec<_> = brokers.iter().map(|&address| address.to_owned()).collect();
        connection_error(Code::BrokerTransportFailure, reason, &brokers).to_string()
    }

    #[test]
    fn an_address_that_a_broker_named_is_told() {
        for connection in ["10.0.0.7:9092/3", "sasl_plaintext://10.0.0.7:9092/3"] {
            let reason = format!("{connection}: Connect to ipv4#10.0.0.7:9092 failed: refused");
            let text = error(&reason, &["kafka:9092"]);
            assert!(text.contains("to connect to 10.0.0.7:9092, and that fails: Conn"), "{text}");
            assert!(text.contains("`advertised.listeners`"), "{text}");
        }
    }

    #[test]
    fn a_configured_address_is_the_settings_fault() {
        let bootstrap = "kafka:9092/bootstrap: Connect to ipv4#10.0.0.7:9092 failed: refused";
        let same = "kafka:9092/3: Connect to ipv4#10.0.0.7:9092 failed: refused";
        for reason in [bootstrap, same, "Local: Timed out"] {
            let text = error(reason, &["kafka-0:9092", "kafka:9092"]);
            assert!(text.contains("`kafka.brokers`: no connection to Kafka at kafka-0"), "{text}");
        }
    }
}
