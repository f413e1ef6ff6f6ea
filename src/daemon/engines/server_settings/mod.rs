//! The settings of the servers behind the engines, as far as viewers depend on them.
//!
//! In: nothing. Out: the values that each server has, beside those that lcd asks for. Engines:
//! Redis, Kafka, Cassandra and PostgreSQL, each in the folder that has its connections. The
//! embedded engines have no server.
//!
//! Always holds: reading changes nothing on a server. A server that does not answer within
//! [`LIMIT`], or does not let its user read a setting, costs only its own answers. Nothing is
//! judged here.
//!
//! When full: callers that arrive while the servers are being read share that reading.

mod values;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::daemon::base::single_flight::SingleFlight;

pub use values::{
    AskedKeyspace, AskedTopic, CassandraSettings, CommentsTable, KafkaSettings, OutputLimit,
    PostgresSettings, RedisSettings, ServerSettings, TopicSettings, Unread,
};

/// The time that a server has for its answers.
pub const LIMIT: Duration = Duration::from_secs(2);

/// The contract: one server, or one cluster that is asked as a whole.
#[async_trait]
pub trait SettingsReader: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the kind and the addresses of the server, without secrets: `Redis 10.0.3.11:6379`.
    fn server(&self) -> String;

    /// Reads the settings. One that the server does not tell is listed as unread.
    ///
    /// # Errors
    /// The reason why the server tells nothing.
    async fn read(&self) -> Result<ServerSettings, String>;
}

pub type SharedSettingsReader = Arc<dyn SettingsReader>;

/// The answer of one server.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadServer {
    pub server: String,
    /// The settings, or the reason why they are not known.
    pub settings: Result<ServerSettings, String>,
}

/// All servers behind the engines of this node; none by default. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BackendServers {
    readers: Arc<[SharedSettingsReader]>,
    reading: SingleFlight<(), Arc<[ReadServer]>>,
}

impl Default for BackendServers {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl BackendServers {
    pub fn new(readers: Vec<SharedSettingsReader>) -> Self {
        Self { readers: readers.into(), reading: SingleFlight::default() }
    }

    /// Reads the settings of all servers at one time, within [`LIMIT`].
    pub async fn read(&self) -> Arc<[ReadServer]> {
        let readers = self.readers.clone();
        let reading = self.reading.join((), || async move {
            let answers = join_all(readers.iter().cloned().map(read)).await;
            Arc::from(answers)
        });
        reading.await
    }
}

async fn read(reader: SharedSettingsReader) -> ReadServer {
    let settings = timeout(LIMIT, reader.read()).await;
    let too_slow = || Err(format!("no answer within {} s", LIMIT.as_secs()));
    ReadServer { server: reader.server(), settings: settings.unwrap_or_else(|_| too_slow()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    /// Within it the other callers ask as well.
    const ROUND_TRIP: Duration = Duration::from_millis(1);

    /// A server that counts its readings.
    #[derive(Debug, Default)]
    struct CountingServer {
        is_hung: bool,
        readings: AtomicU32,
    }

    #[async_trait]
    impl SettingsReader for CountingServer {
        fn server(&self) -> String {
            format!("Redis {}", self.is_hung)
        }

        async fn read(&self) -> Result<ServerSettings, String> {
            self.readings.fetch_add(1, Ordering::Relaxed);
            if self.is_hung {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(ROUND_TRIP).await;
            Ok(ServerSettings::Redis(RedisSettings::default()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_server_costs_its_own_answers_only() {
        let hung = Arc::new(CountingServer { is_hung: true, ..CountingServer::default() });
        let servers = BackendServers::new(vec![hung, Arc::<CountingServer>::default()]);
        let started = Instant::now();
        let answers = servers.read().await;
        assert_eq!(started.elapsed(), LIMIT);
        assert_eq!(answers[0].settings, Err("no answer within 2 s".to_owned()));
        assert_eq!(answers[0].server, "Redis true");
        assert!(answers[1].settings.is_ok(), "{answers:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_one_time_share_a_reading() {
        let server = Arc::<CountingServer>::default();
        let servers = BackendServers::new(vec![server.clone()]);
        let callers = join_all((0..20).map(|_| servers.read())).await;
        assert!(callers.iter().all(|answers| answers.len() == 1));
        assert_eq!(server.readings.load(Ordering::Relaxed), 1);
        servers.read().await;
        assert_eq!(server.readings.load(Ordering::Relaxed), 2, "nothing is kept");
    }
}
