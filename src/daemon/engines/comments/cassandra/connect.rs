//! Connects with the configured addresses, password, TLS and data centre; errors name the wrong
//! one.

use std::collections::BTreeSet;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::{Session, TlsContext};
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, MetadataError,
    NewSessionError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::statement::Consistency;

use super::unavailable;
use crate::daemon::base::config::CassandraConfig;
use crate::daemon::engines::StoreError;
use crate::protocol::quantity::counted;

/// A connection without answers is closed after these two, and opened again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit for all servers to agree on a schema change.
const SCHEMA_AGREEMENT_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn connect(config: &CassandraConfig) -> Result<Session, StoreError> {
    if config.nodes.is_empty() {
        return Err(unavailable(
            "`cassandra.nodes` must name at least one node, such as \"127.0.0.1:9042\"",
        ));
    }
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .connection_timeout(config.timeout)
        .hostname_resolution_timeout(Some(config.timeout))
        .metadata_request_clientside_timeout(config.timeout)
        // Only ScyllaDB has it. The driver warns at every start if it is the longer one.
        .metadata_request_serverside_timeout(config.timeout)
        .keepalive_interval(KEEPALIVE_INTERVAL)
        .keepalive_timeout(KEEPALIVE_TIMEOUT)
        .keyspaces_to_fetch([&config.keyspace])
        .fetch_full_schema_metadata(false)
        // `schema` waits once, after its last statement.
        .auto_await_schema_agreement(false)
        .schema_agreement_interval(Duration::from_millis(50))
        .schema_agreement_timeout(config.timeout.max(SCHEMA_AGREEMENT_TIMEOUT))
        .default_execution_profile_handle(profile(config, &config.datacenter).into_handle());
    if !config.username.is_empty() {
        builder = builder.user(&config.username, password(config)?);
    }
    if config.tls_ca.is_some() {
        builder = builder.tls_context(Some(tls(config)?));
    }
    // Resolving, connecting and discovering other nodes each have the timeout, and so do all
    // together.
    let opened = tokio::time::timeout(config.timeout, builder.build()).await;
    let session = match opened {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return Err(explain(config, &error)),
        Err(_) => {
            return Err(unavailable(format!(
                "none of `cassandra.nodes` ({}) answered within `cassandra.timeout` ({})",
                config.nodes.join(", "),
                humantime::format_duration(config.timeout),
            )));
        }
    };
    prefer_datacenter(&session, config)?;
    Ok(session)
}

/// Builds the execution profile: requests go to a replica in the data centre, end after the
/// timeout, are retried on another server if that may help, and never run on two at once.
fn profile(config: &CassandraConfig, datacenter: &str) -> ExecutionProfile {
    let policy = DefaultPolicy::builder().token_aware(true);
    let policy = match datacenter {
        "" => policy,
        datacenter => policy.prefer_datacenter(datacenter.to_owned()),
    };
    ExecutionProfile::builder()
        .load_balancing_policy(policy.build())
        .consistency(Consistency::LocalOne)
        .request_timeout(Some(config.timeout))
        .speculative_execution_policy(None)
        .build()
}

/// Refuses a data centre that does not exist; without one configured, keeps to that of the first of
/// `cassandra.nodes` that is known.
fn prefer_datacenter(session: &Session, config: &CassandraConfig) -> Result<(), StoreError> {
    let known = datacenters(session);
    if !config.datacenter.is_empty() {
        if known.contains(&config.datacenter) {
            return Ok(());
        }
        let known: Vec<_> = known.into_iter().collect();
        return Err(unavailable(format!(
            "`cassandra.datacenter` is {:?}, and the cluster has {}",
            config.datacenter,
            known.join(", ")
        )));
    }
    if let Some(datacenter) = datacenter(session, config) {
        let mut handle = session.get_default_execution_profile_handle().clone();
        handle.map_to_another_profile(profile(config, &datacenter));
        return Ok(());
    }
    match known.len() {
        0 => Ok(()),
        _ => Err(unavailable(format!(
            "`cassandra.datacenter` must say which of {} to ask",
            known.into_iter().collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Returns the data centre that is queried: the configured one, that of the first of
/// `cassandra.nodes` that is known, or the only one.
pub(super) fn datacenter(session: &Session, config: &CassandraConfig) -> Option<String> {
    if !config.datacenter.is_empty() {
        return Some(config.datacenter.clone());
    }
    let cluster = session.get_cluster_state();
    let named = config.nodes.iter().filter_map(|node| node.parse().ok());
    let of_named = named.into_iter().find_map(|address: std::net::SocketAddr| {
        let mut nodes = cluster.get_nodes_info().iter();
        let node = nodes.find(|node| {
            (node.address.ip(), node.address.port()) == (address.ip(), address.port())
        })?;
        node.datacenter.clone()
    });
    let known = datacenters(session);
    of_named.or_else(|| known.first().filter(|_| known.len() == 1).cloned())
}

pub(super) fn datacenters(session: &Session) -> BTreeSet<String> {
    let cluster = session.get_cluster_state();
    cluster.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect()
}

/// One line for a person.
pub(super) fn about(session: &Session, config: &CassandraConfig) -> String {
    let cluster = session.get_cluster_state();
    let nodes = cluster.get_nodes_info();
    let connected = nodes.iter().filter(|node| node.is_connected()).count();
    let datacenters: Vec<_> = datacenters(session).into_iter().collect();
    format!(
        "cluster {:?}, {connected} of {} connected, data centres {}, keyspace {}",
        cluster.cluster_name(),
        counted(nodes.len() as u64, "node"),
        datacenters.join(", "),
        config.keyspace
    )
}

/// Returns the password without the line end; an absent password is empty.
fn password(config: &CassandraConfig) -> Result<String, StoreError> {
    let Some(path) = &config.password_file else { return Ok(String::new()) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        unavailable(format!("`cassandra.password_file`: cannot read {}: {error}", path.display()))
    })?;
    Ok(text.trim_end().to_owned())
}

/// Trusts only the configured authority, and checks that a certificate is for the address.
fn tls(config: &CassandraConfig) -> Result<TlsContext, StoreError> {
    let path = config.tls_ca.as_deref().unwrap_or(std::path::Path::new(""));
    let wrong = |error: &dyn std::fmt::Display| {
        unavailable(format!("`cassandra.tls_ca`: cannot use {}: {error}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
    let authorities = openssl::x509::X509::stack_from_pem(&pem).map_err(|error| wrong(&error))?;
    if authorities.is_empty() {
        return Err(wrong(&"it has no certificate in PEM"));
    }
    let mut store = openssl::x509::store::X509StoreBuilder::new().map_err(|error| wrong(&error))?;
    for authority in authorities {
        store.add_cert(authority).map_err(|error| wrong(&error))?;
    }
    let mut builder =
        SslConnector::builder(SslMethod::tls_client()).map_err(|error| wrong(&error))?;
    builder.set_cert_store(store.build());
    Ok(builder.into())
}

fn explain(config: &CassandraConfig, error: &NewSessionError) -> StoreError {
    let nodes = config.nodes.join(", ");
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken { last_connection_error },
    )) = error
    else {
        return unavailable(format!("`cassandra.nodes` ({nodes}): {error}"));
    };
    match last_connection_error {
        ConnectionError::ConnectionSetupRequestError(setup) => match setup.get_error() {
            ConnectionSetupRequestErrorKind::MissingAuthentication => unavailable(format!(
                "{nodes} ask for a name and a password: set `cassandra.username` and \
                 `cassandra.password_file`"
            )),
            ConnectionSetupRequestErrorKind::DbError(_, text) => unavailable(format!(
                "{nodes} refused the connection (`cassandra.username`, \
                 `cassandra.password_file`): {text}"
            )),
            _ => unavailable(format!(
                "what answers at `cassandra.nodes` ({nodes}) does not speak CQL as expected \
                 (is `cassandra.tls_ca` missing?): {last_connection_error}"
            )),
        },
        other if config.tls_ca.is_some() => unavailable(format!(
            "none of `cassandra.nodes` ({nodes}) can be reached with TLS \
             (`cassandra.tls_ca`): {other}"
        )),
        other => {
            unavailable(format!("none of `cassandra.nodes` ({nodes}) can be reached: {other}"))
        }
    }
}
