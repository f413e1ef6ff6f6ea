//! The Redis nodes that the engines on Redis share: which node holds a key, and one connection per
//! node.
//!
//! In: the `[redis]` section. Out: multiplexed connections that reconnect by themselves. Always
//! holds: every `lcd` with the same list of nodes puts a key on the same node. Opening does no
//! I/O, so a node that is down at start is treated like one that goes down later.
//!
//! When full: a call waits at most `redis.timeout` and then fails. Nothing is queued while a node
//! is away.

mod guarded;
mod settings;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind};
use tokio::sync::Notify;

use self::settings::RedisSettingsReader;
use crate::daemon::base::config::RedisConfig;
use crate::daemon::engines::server_settings::SharedSettingsReader;
pub use guarded::{GuardedConnection, OutageObserver, RedisFailure};

/// Longest pause between two attempts to reconnect.
const LONGEST_RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A connection is closed when the peer has acknowledged nothing for this long.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Why the `[redis]` section cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisSetupError {
    #[error("`redis.nodes` must name at least one node, such as \"redis://127.0.0.1:6379\"")]
    NoNodes,
    #[error(
        "`redis.nodes` has {url:?}, which is not redis://host:port or rediss://host:port: {reason}"
    )]
    BadUrl { url: String, reason: String },
    #[error("`redis.password_file`: cannot read {path}: {source}")]
    Password { path: String, source: std::io::Error },
}

/// All nodes. Cheap to clone.
#[derive(Clone)]
pub struct RedisNodes {
    nodes: Arc<[Node]>,
    prefix: Arc<str>,
    timeout: Duration,
}

struct Node {
    address: String,
    client: Client,
    connection: ConnectionManager,
    guarded: GuardedConnection,
    config: ConnectionManagerConfig,
}

impl RedisNodes {
    /// Must be called inside a tokio runtime. Does not connect.
    pub fn open(config: &RedisConfig) -> Result<Self, RedisSetupError> {
        if config.nodes.is_empty() {
            return Err(RedisSetupError::NoNodes);
        }
        let password = config.password_file.as_ref().map(|path| {
            let text = std::fs::read_to_string(path).map_err(|source| {
                RedisSetupError::Password { path: path.display().to_string(), source }
            })?;
            Ok(text.trim_end().to_owned())
        });
        let password = password.transpose()?;
        let node = |url: &String| Node::open(url, config, password.as_deref());
        let nodes = config.nodes.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let prefix = Arc::from(config.prefix.as_str());
        let timeout = config.timeout;
        Ok(Self { nodes: nodes.into(), prefix, timeout })
    }

    /// Returns the number of nodes, at least one.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the node that holds `key`.
    pub fn index_of(&self, key: &[u8]) -> usize {
        crc32c::crc32c(key) as usize % self.nodes.len()
    }

    /// Returns the shared connection to a node. Calls of all clones are pipelined. A call fails
    /// after `redis.timeout`, and the next call after a lost connection reconnects.
    pub fn connection(&self, index: usize) -> ConnectionManager {
        self.nodes[index].connection.clone()
    }

    /// Returns the shared connection to a node, on which calls fail at once while the node is down.
    pub fn guarded(&self, index: usize) -> GuardedConnection {
        self.nodes[index].guarded.clone()
    }

    /// Returns a separate connection to a node, for calls that must not wait behind others. It is
    /// watched: the observer is told of an outage although nobody makes a call. Connects in the
    /// background. Must be called inside a tokio runtime.
    pub fn watched(
        &self,
        index: usize,
        observer: OutageObserver,
    ) -> Result<GuardedConnection, RedisSetupError> {
        let node = &self.nodes[index];
        let lost = Arc::new(Notify::new());
        let on_push = lost.clone();
        let config = node.config.clone().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                on_push.notify_one();
            }
            Ok::<(), Infallible>(())
        });
        let connection = connection(&self.push_client(index)?, &config, &node.address)?;
        let guarded =
            GuardedConnection::new(node.address.as_str().into(), connection, self.timeout);
        Ok(guarded.watched(lost, observer))
    }

    /// Returns the client of a node, for separate connections such as a subscription.
    pub fn client(&self, index: usize) -> &Client {
        &self.nodes[index].client
    }

    /// Returns a client for separate connections on RESP3, which tell of messages and of their end
    /// while no call is made.
    pub fn push_client(&self, index: usize) -> Result<Client, RedisSetupError> {
        let info = self.client(index).get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Client::open(info.set_redis_settings(settings)).map_err(|error| RedisSetupError::BadUrl {
            url: self.address(index).to_owned(),
            reason: error.to_string(),
        })
    }

    /// Returns `host:port` of a node, without the password.
    pub fn address(&self, index: usize) -> &str {
        &self.nodes[index].address
    }

    /// Returns the name of a key or channel under the configured prefix.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns what reads the settings of each node.
    pub(crate) fn settings_readers(&self) -> Vec<SharedSettingsReader> {
        let reader = |node: &Node| -> SharedSettingsReader {
            Arc::new(RedisSettingsReader(node.guarded.clone()))
        };
        self.nodes.iter().map(reader).collect()
    }
}

impl Node {
    fn open(
        url: &str,
        config: &RedisConfig,
        password: Option<&str>,
    ) -> Result<Self, RedisSetupError> {
        let bad = |error: redis::RedisError| RedisSetupError::BadUrl {
            url: url.to_owned(),
            reason: error.to_string(),
        };
        let info = url.into_connection_info().map_err(bad)?;
        let address = info.addr().to_string();
        let mut settings = info.redis_settings().clone();
        if !config.username.is_empty() {
            settings = settings.set_username(&config.username);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        let client = Client::open(info).map_err(bad)?;
        // A call on a lost connection fails at once; the next one uses a new connection. Waiting
        // for it here would defeat the breakers.
        let manager = ConnectionManagerConfig::new()
            .set_response_timeout(Some(config.timeout))
            .set_connection_timeout(Some(config.timeout))
            .set_max_delay(LONGEST_RECONNECT_PAUSE)
            .set_number_of_retries(0);
        let connection = connection(&client, &manager, &address)?;
        let guarded =
            GuardedConnection::new(address.as_str().into(), connection.clone(), config.timeout);
        Ok(Self { address, client, connection, guarded, config: manager })
    }
}

fn connection(
    client: &Client,
    config: &ConnectionManagerConfig,
    address: &str,
) -> Result<ConnectionManager, RedisSetupError> {
    ConnectionManager::new_lazy_with_config(client.clone(), config.clone()).map_err(|error| {
        RedisSetupError::BadUrl { url: address.to_owned(), reason: error.to_string() }
    })
}

fn tcp_settings() -> TcpSettings {
    // A small command must not wait for the answer to the one before it.
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED);
    settings
}

impl std::fmt::Debug for RedisNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses: Vec<_> = self.nodes.iter().map(|node| &node.address).collect();
        f.debug_struct("RedisNodes").field("nodes", &addresses).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(urls: &[&str]) -> Result<RedisNodes, RedisSetupError> {
        let nodes = urls.iter().map(|url| (*url).to_owned()).collect();
        RedisNodes::open(&RedisConfig { nodes, ..RedisConfig::default() })
    }

    #[tokio::test]
    async fn keys_are_spread_over_all_nodes_and_stay() {
        let nodes = nodes(&["redis://127.0.0.1:1", "redis://127.0.0.1:2", "redis://127.0.0.1:3"]);
        let nodes = nodes.unwrap();
        let mut held = [0; 3];
        for key in 0..3000_u32 {
            held[nodes.index_of(&key.to_be_bytes())] += 1;
        }
        assert!(held.iter().all(|count| *count > 800), "{held:?}");
        assert_eq!(nodes.index_of(b"stream:1"), 1, "the hash must not change");
    }

    #[tokio::test]
    async fn a_wrong_setting_is_named_by_its_key() {
        for (urls, expected) in [(&[][..], "redis.nodes"), (&["http://x"][..], "http://x")] {
            let error = nodes(urls).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
