//! Settings of this node's Kafka clients: addresses, TLS, SASL, shared timing; and the meaning of
//! the errors that clients return.

use std::path::Path;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, ClientContext};
use tracing::{debug, warn};

use crate::daemon::base::config::KafkaConfig;
use crate::daemon::engines::eventlog::{LogError, MAX_PAYLOAD_BYTES};
use crate::protocol::NodeId;

/// The id of a client is this and the name of its node.
pub(super) const CLIENT_ID_PREFIX: &str = "lcd-";
/// Bound on the records that one consumer prefetches.
const PREFETCH_KIB: u32 = 8 * 1024;
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);
const MAX_HEARTBEAT: Duration = Duration::from_millis(250);

/// A record holds its key and Kafka's own fields besides the payload.
pub(super) const LARGEST_RECORD_BYTES: usize = MAX_PAYLOAD_BYTES + 4096;

/// Time that a record waits for others to share a request, in milliseconds. Measured with two edges
/// at 1 000 comments/s on two cores: compared with 2, 5 adds 2 ms to an acknowledgement, and 0
/// costs the broker half as much work again.
const LINGER_MS: u32 = 2;

/// The settings from which every client of this node is created.
#[derive(Clone)]
pub(super) struct ClientSettings {
    base: ClientConfig,
    prefix: String,
    node: String,
    session_timeout: Duration,
    /// `kafka.append_timeout`; every other request to the cluster has the same timeout.
    pub(super) timeout: Duration,
}

impl std::fmt::Debug for ClientSettings {
    /// Leaves the settings out, because one of them is the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl ClientSettings {
    /// # Errors
    /// [`LogError::Unavailable`] that names the setting whose file cannot be read.
    pub(super) fn new(config: &KafkaConfig, node: &NodeId) -> Result<Self, LogError> {
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", config.brokers.join(","));
        base.set("client.id", format!("{CLIENT_ID_PREFIX}{node}"));
        base.set("security.protocol", security_protocol(config));
        // A topic that a broker creates by itself has the broker's number of partitions, and hides
        // that the old one is gone. Only the opened log creates topics, with its settings.
        base.set("allow.auto.create.topics", "false");
        // Reconnects soon after an outage of any length.
        base.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        base.set("socket.connection.setup.timeout.ms", "5000");
        base.set("socket.timeout.ms", config.append_timeout.as_millis().max(10_000).to_string());
        base.set("socket.nagle.disable", "true");
        base.set("socket.keepalive.enable", "true");
        base.set("retry.backoff.ms", "50").set("retry.backoff.max.ms", "500");
        base.set_log_level(RDKafkaLogLevel::Notice);
        set_tls(config, &mut base)?;
        set_sasl(config, &mut base)?;
        Ok(Self {
            base,
            prefix: config.prefix.clone(),
            node: node.as_str().to_owned(),
            session_timeout: config.session_timeout,
            timeout: config.append_timeout,
        })
    }

    pub(super) fn plain(&self) -> ClientConfig {
        self.base.clone()
    }

    /// Adds the prefix that separates this system from others on the same cluster.
    pub(super) fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Removes the prefix; `None` if the name belongs to another system.
    pub(super) fn without_prefix<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.prefix.as_str())
    }

    /// Returns the transactional id of this node. It is the same after a restart, so that the new
    /// process ends the transactions that the old one left open.
    pub(super) fn transactional_id(&self) -> String {
        self.prefixed(&format!("{}-appends", self.node))
    }

    /// `batch_bytes` is the largest batch that the topics accept.
    pub(super) fn producer(&self, max_pending_bytes: u64, batch_bytes: usize) -> ClientConfig {
        let mut config = self.plain();
        config.set("batch.size", batch_bytes.to_string());
        config.set("linger.ms", LINGER_MS.to_string());
        config.set("compression.type", "snappy");
        config.set("message.timeout.ms", self.timeout.as_millis().to_string());
        config.set("message.max.bytes", LARGEST_RECORD_BYTES.to_string());
        // `eventlog.max_pending_bytes` is the bound; the library's own must never be reached first.
        config.set("queue.buffering.max.messages", "0");
        let kib = (max_pending_bytes / 1024).saturating_mul(2).saturating_add(64 * 1024);
        config.set("queue.buffering.max.kbytes", kib.min(i32::MAX as u64).to_string());
        config
    }

    /// A consumer that sees only committed records and commits nothing by itself.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.plain();
        config.set("group.id", self.prefixed(group));
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("isolation.level", "read_committed");
        // A position outside the partition is an error, so that no record is skipped silently.
        config.set("auto.offset.reset", "error");
        config.set("queued.max.messages.kbytes", PREFETCH_KIB.to_string());
        config.set("fetch.max.bytes", (PREFETCH_KIB * 1024).to_string());
        config.set("fetch.message.max.bytes", (2 << 20).to_string());
        config.set("fetch.queue.backoff.ms", "10");
        config.set("fetch.error.backoff.ms", "50");
        config
    }

    /// A consumer that joins its group.
    pub(super) fn group_consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", self.session_timeout.as_millis().to_string());
        // Leaving the group waits for a fetch that the broker holds back.
        config.set("fetch.wait.max.ms", "100");
        // The heartbeat decides how soon the other members learn of a rebalance.
        let heartbeat = (self.session_timeout / 24).clamp(MIN_HEARTBEAT, MAX_HEARTBEAT);
        config.set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
        config
    }
}

fn security_protocol(config: &KafkaConfig) -> &'static str {
    match (&config.tls, &config.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    }
}

fn set_tls(config: &KafkaConfig, base: &mut ClientConfig) -> Result<(), LogError> {
    let Some(tls) = &config.tls else { return Ok(()) };
    let files = [
        ("kafka.tls.ca", "ssl.ca.location", &tls.ca),
        ("kafka.tls.certificate", "ssl.certificate.location", &tls.certificate),
        ("kafka.tls.key", "ssl.key.location", &tls.key),
    ];
    for (setting, property, path) in files {
        let Some(path) = path else { continue };
        let text = read_file(setting, path)?;
        if !text.contains("-----BEGIN ") {
            let path = path.display();
            return Err(LogError::Unavailable(format!("`{setting}`: {path} holds no PEM block")));
        }
        base.set(property, path.display().to_string());
    }
    Ok(())
}

fn set_sasl(config: &KafkaConfig, base: &mut ClientConfig) -> Result<(), LogError> {
    let Some(sasl) = &config.sasl else { return Ok(()) };
    let password = read_file("kafka.sasl.password_file", &sasl.password_file)?;
    base.set("sasl.mechanism", &sasl.mechanism);
    base.set("sasl.username", &sasl.username);
    base.set("sasl.password", password.trim_end_matches(['\r', '\n']));
    Ok(())
}

fn read_file(setting: &str, path: &Path) -> Result<String, LogError> {
    std::fs::read_to_string(path).map_err(|error| {
        LogError::Unavailable(format!("`{setting}`: cannot read {}: {error}", path.display()))
    })
}

/// Logs a line of the library. It repeats every failed connection, so most lines are debug lines;
/// the caller that fails logs the error that matters.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            warn!(facility, "kafka: {line}");
        }
        _ => debug!(facility, "kafka: {line}"),
    }
}

/// Only logs. Errors reach the caller as the results of its calls.
#[derive(Debug)]
pub(super) struct LogOnlyContext;

impl ClientContext for LogOnlyContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka");
    }
}

impl ConsumerContext for LogOnlyContext {}

/// Converts an error of any call except an append.
pub(super) fn unavailable(doing: &str, error: &KafkaError) -> LogError {
    let text = error.rdkafka_error_code().map_or_else(|| error.to_string(), describe);
    LogError::Unavailable(format!("{doing}: {text}"))
}

/// Converts the error of an append of a record with `bytes` of payload.
pub(super) fn append_error(topic: &str, bytes: usize, error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) if bytes > MAX_PAYLOAD_BYTES => {
            LogError::TooLarge { bytes }
        }
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => LogError::Unavailable(
            format!("topic {topic} refuses the size of a batch: see its max.message.bytes"),
        ),
        Some(code) => {
            LogError::Unavailable(format!("appending to topic {topic}: {}", describe(code)))
        }
        None => LogError::Unavailable(format!("appending to topic {topic}: {error}")),
    }
}

/// Returns whether the cluster could not be reached, as opposed to having answered with an error.
pub(super) fn is_outage(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_outage_code)
}

/// Like [`is_outage`].
pub(super) fn is_outage_code(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::Authentication
            | Code::SSL
    )
}

fn describe(code: Code) -> String {
    let text = match code {
        Code::AllBrokersDown | Code::BrokerTransportFailure => {
            "no broker of `kafka.brokers` can be reached"
        }
        Code::MessageTimedOut => "the brokers did not acknowledge within `kafka.append_timeout`",
        Code::OperationTimedOut | Code::RequestTimedOut => "the brokers did not answer in time",
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the brokers refuse the credentials in `kafka.sasl`"
        }
        Code::SSL => "no TLS connection with the settings of `kafka.tls`",
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            "this client is not authorized (see the access rules of the user in `kafka.sasl`)"
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            "the topic or the partition does not exist on the cluster"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "fewer replicas are in sync than the topic's min.insync.replicas"
        }
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            "another process writes under this node's name (is `node.name` unique?)"
        }
        Code::InvalidSessionTimeout => {
            "the brokers do not allow this `kafka.session_timeout` (see group.min.session.timeout.ms)"
        }
        other => return format!("{other} ({other:?})"),
    };
    text.to_owned()
}
