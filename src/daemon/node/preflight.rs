//! Faults of the configuration and of the files that it names, found before anything is opened.
//! The start and `lcd check` find the same ones. All are reported, and end with exit code 64.

use std::path::Path;
use std::sync::Arc;

use crate::daemon::base::clock::SystemClock;
use crate::daemon::base::config::{
    AuthConfig, CommentsEngine, Config, EventLogEngine, MetadataEngine,
};
use crate::daemon::base::http_client;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::edge::{admin, gateway};
use crate::daemon::engines::choose::Engines;
use crate::daemon::stages::auth::{SigningSecret, Verifier};
use crate::daemon::stages::moderation;
use crate::protocol::paths::SIGNING_SECRET;

const CERTIFICATE: Option<&str> = Some("BEGIN CERTIFICATE");

/// The configuration cannot be used. Starting again changes nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct InvalidConfiguration(pub Vec<String>);

/// Fails with every fault.
pub(super) fn require_valid(config: &Config) -> Result<(), InvalidConfiguration> {
    let faults = faults(config);
    if faults.is_empty() { Ok(()) } else { Err(InvalidConfiguration(faults)) }
}

/// Returns a sentence per fault. Reads files, creates nothing, and connects to nothing. Must be
/// called inside a tokio runtime.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(Engines::configuration_faults(config));
    add_tokens(config, &mut faults);
    faults.extend(gateway::tls_faults(&config.gateway));
    faults.extend(admin::remote_faults(&config.admin));
    let board = StatusBoard::default();
    if let Err(error) = moderation::build_pipeline(&config.moderation, &board, None) {
        faults.extend(error.0.iter().map(ToString::to_string));
    }
    if let Err(error) = admin::check_socket_path(&config.node.admin_socket) {
        faults.push(error.to_string());
    }
    add_server_files(config, &mut faults);
    faults
}

/// Checks each key by itself, so that each fault is found.
fn add_tokens(config: &Config, faults: &mut Vec<String>) {
    for key in &config.auth.keys {
        let only = AuthConfig { keys: vec![key.clone()], ..config.auth.clone() };
        if let Err(error) = Verifier::new(&only, None, Arc::new(SystemClock)) {
            faults.push(error.to_string());
        }
    }
    if let Some(path) = &config.auth.jwks_ca
        && let Err(reason) = http_client::trusting(Some(path))
    {
        faults.push(format!("`auth.jwks_ca`: cannot use {}: {reason}", path.display()));
    }
    let configured = &config.auth.signing_key;
    let own = config.node.data_dir.join(SIGNING_SECRET);
    let (setting, path) = if configured.as_os_str().is_empty() {
        // The first start creates it.
        if !own.exists() {
            return;
        }
        ("signing secret", &own)
    } else {
        ("auth.signing_key", configured)
    };
    if let Err(error) = SigningSecret::load(path) {
        faults.push(format!("{setting}: {error}"));
    }
}

/// Checks the files with which the engines on servers connect.
fn add_server_files(config: &Config, faults: &mut Vec<String>) {
    let engines = &config.engines;
    let mut readable = |setting: &str, path: Option<&Path>, marker: Option<&str>| {
        let Some(path) = path else { return };
        match std::fs::read(path) {
            Err(error) => {
                faults.push(format!("`{setting}`: cannot read {}: {error}", path.display()));
            }
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                if let Some(marker) = marker.filter(|marker| !text.contains(marker)) {
                    let path = path.display();
                    faults.push(format!("`{setting}`: {path} is not PEM with a {marker}"));
                }
            }
        }
    };
    if engines.eventlog == EventLogEngine::Kafka {
        if let Some(tls) = &config.kafka.tls {
            readable("kafka.tls.ca", tls.ca.as_deref(), CERTIFICATE);
            readable("kafka.tls.certificate", tls.certificate.as_deref(), CERTIFICATE);
            readable("kafka.tls.key", tls.key.as_deref(), Some("PRIVATE KEY"));
        }
        let password = config.kafka.sasl.as_ref().map(|sasl| sasl.password_file.as_path());
        readable("kafka.sasl.password_file", password, None);
    }
    if engines.comments == CommentsEngine::Cassandra {
        let cassandra = &config.cassandra;
        readable("cassandra.password_file", cassandra.password_file.as_deref(), None);
        readable("cassandra.tls_ca", cassandra.tls_ca.as_deref(), CERTIFICATE);
    }
    let on_postgres = engines.comments == CommentsEngine::Postgres
        || engines.metadata == MetadataEngine::Postgres;
    if on_postgres {
        readable("postgres.password_file", config.postgres.password_file.as_deref(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::{
        BusEngine, KafkaSasl, KafkaTls, KeyAlgorithm, KeyConfig, TlsConfig,
    };

    #[tokio::test]
    async fn every_fault_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "nothing").unwrap();
        let missing = |name: &str| directory.path().join(name);
        let mut config = Config::default();
        config.node.data_dir = missing("data");
        config.node.admin_socket = missing(&"x".repeat(120));
        config.gateway.tls =
            Some(TlsConfig { certificate: empty.clone(), key: missing("tls.key") });
        let key = |name: &str| KeyConfig {
            algorithm: KeyAlgorithm::ES256,
            file: missing(name),
            kid: None,
        };
        config.auth.keys = vec![key("one.pem"), key("two.pem")];
        config.auth.signing_key = missing("signing");
        config.moderation.rules.blocked_words_file = Some(missing("words"));
        config.moderation.model.file = Some(missing("weights"));
        config.engines.eventlog = EventLogEngine::Kafka;
        config.engines.bus = BusEngine::Redis;
        config.engines.comments = CommentsEngine::Cassandra;
        config.engines.metadata = MetadataEngine::Postgres;
        config.kafka.tls = Some(KafkaTls {
            ca: Some(missing("ca")),
            certificate: Some(empty.clone()),
            key: Some(empty.clone()),
        });
        config.kafka.sasl = Some(KafkaSasl {
            mechanism: "PLAIN".to_owned(),
            username: "u".to_owned(),
            password_file: missing("kafka password"),
        });
        config.redis.password_file = Some(missing("redis password"));
        config.cassandra.password_file = Some(missing("cassandra password"));
        config.cassandra.tls_ca = Some(empty);
        config.postgres.url = "mysql://nowhere".to_owned();
        config.postgres.password_file = Some(missing("postgres password"));
        let error = require_valid(&config).unwrap_err().to_string();
        for expected in [
            "gateway.tls.certificate",
            "gateway.tls.key",
            "one.pem",
            "two.pem",
            "auth.signing_key",
            "words",
            "moderation.model.file",
            "--admin-socket",
            "kafka.tls.ca",
            "kafka.tls.certificate",
            "kafka.tls.key",
            "kafka.sasl.password_file",
            "redis.password_file",
            "cassandra.password_file",
            "cassandra.tls_ca",
            "postgres.url",
            "postgres.password_file",
        ] {
            assert!(error.contains(expected), "{expected} is not in:\n{error}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is created");
    }

    #[tokio::test]
    async fn the_defaults_have_no_fault() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data_dir = directory.path().join("data");
        config.node.admin_socket = directory.path().join("data/admin.sock");
        assert!(require_valid(&config).is_ok());
    }
}
