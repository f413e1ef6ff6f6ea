//! How this node's clients of the cluster are set up: addresses, TLS, SASL, and the timing all share.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use tracing::{debug, warn};

use crate::daemon::base::config::KafkaConfig;
use crate::daemon::engines::eventlog::LogError;
use crate::protocol::NodeId;

/// A consumer never holds more of what it prefetched.
const PREFETCH_KIB: u32 = 8 * 1024;

/// What every client of this node is made from.
#[derive(Clone)]
pub(super) struct Clients {
    base: ClientConfig,
    prefix: String,
    node: String,
    session_timeout: Duration,
    /// `kafka.append_timeout`; also the patience with everything else the cluster is asked.
    pub(super) timeout: Duration,
}

impl std::fmt::Debug for Clients {
    /// Without the settings, one of which is the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Clients {
    /// # Errors
    /// [`LogError::Unavailable`] that names the setting whose file cannot be read.
    pub(super) fn new(config: &KafkaConfig, node: &NodeId) -> Result<Self, LogError> {
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", config.brokers.join(","));
        base.set("client.id", format!("lcd-{node}"));
        base.set("security.protocol", protocol(config));
        // Found again soon after an outage, however long it was.
        base.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        base.set("socket.connection.setup.timeout.ms", "5000");
        base.set("socket.timeout.ms", config.append_timeout.as_millis().max(10_000).to_string());
        base.set("socket.nagle.disable", "true");
        base.set("socket.keepalive.enable", "true");
        base.set("retry.backoff.ms", "50").set("retry.backoff.max.ms", "500");
        base.set_log_level(RDKafkaLogLevel::Notice);
        tls(config, &mut base)?;
        sasl(config, &mut base)?;
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

    /// A name of this system on a cluster it may share with others.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name without the prefix; `None` if it is somebody else's.
    pub(super) fn own_name<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.prefix.as_str())
    }

    /// The name of this node's transactions. The same after a restart, so that the new process ends
    /// what the old one left open.
    pub(super) fn transactional_id(&self) -> String {
        self.name(&format!("{}-appends", self.node))
    }

    /// A consumer that sees committed records alone; nothing commits by itself.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.plain();
        config.set("group.id", self.name(group));
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("isolation.level", "read_committed");
        config.set("auto.offset.reset", "earliest");
        config.set("queued.max.messages.kbytes", PREFETCH_KIB.to_string());
        config.set("fetch.max.bytes", (PREFETCH_KIB * 1024).to_string());
        config.set("fetch.message.max.bytes", (2 << 20).to_string());
        config.set("fetch.queue.backoff.ms", "10");
        config.set("fetch.error.backoff.ms", "50");
        config
    }

    /// A consumer that joins its group.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", self.session_timeout.as_millis().to_string());
        // What the brokers hold back is what leaving has to wait for.
        config.set("fetch.wait.max.ms", "100");
        // How soon the others learn that somebody came or left.
        let heartbeat = (self.session_timeout / 24).clamp(MIN_HEARTBEAT, MAX_HEARTBEAT);
        config.set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
        config
    }
}

const MIN_HEARTBEAT: Duration = Duration::from_millis(100);
const MAX_HEARTBEAT: Duration = Duration::from_millis(250);

fn protocol(config: &KafkaConfig) -> &'static str {
    match (&config.tls, &config.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    }
}

fn tls(config: &KafkaConfig, base: &mut ClientConfig) -> Result<(), LogError> {
    let Some(tls) = &config.tls else { return Ok(()) };
    let files = [
        ("kafka.tls.ca", "ssl.ca.location", &tls.ca),
        ("kafka.tls.certificate", "ssl.certificate.location", &tls.certificate),
        ("kafka.tls.key", "ssl.key.location", &tls.key),
    ];
    for (setting, property, path) in files {
        let Some(path) = path else { continue };
        let text = read(setting, path)?;
        if !text.contains("-----BEGIN ") {
            let path = path.display();
            return Err(LogError::Unavailable(format!("`{setting}`: {path} holds no PEM block")));
        }
        base.set(property, path.display().to_string());
    }
    Ok(())
}

fn sasl(config: &KafkaConfig, base: &mut ClientConfig) -> Result<(), LogError> {
    let Some(sasl) = &config.sasl else { return Ok(()) };
    let password = read("kafka.sasl.password_file", &sasl.password_file)?;
    base.set("sasl.mechanism", &sasl.mechanism);
    base.set("sasl.username", &sasl.username);
    base.set("sasl.password", password.trim_end_matches(['\r', '\n']));
    Ok(())
}

fn read(setting: &str, path: &Path) -> Result<String, LogError> {
    std::fs::read_to_string(path).map_err(|error| {
        LogError::Unavailable(format!("`{setting}`: cannot read {}: {error}", path.display()))
    })
}

/// The library repeats every failed connection; what matters of it is said once, by who asked.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            warn!(facility, "kafka: {line}");
        }
        _ => debug!(facility, "kafka: {line}"),
    }
}
