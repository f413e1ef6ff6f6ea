//! Kafka and Cassandra of `scripts/stack`, and the archiver between them.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::{
    CassandraConfig, EventLogConfig, KafkaConfig, PartitionCounts, StoreConfig,
};
use live_comments::daemon::base::metrics::Metrics;
use live_comments::daemon::base::problems::Problems;
use live_comments::daemon::base::supervise::breaker::Breaker;
use live_comments::daemon::engines::comments::SharedCommentStore;
use live_comments::daemon::engines::comments::cassandra::CassandraComments;
use live_comments::daemon::engines::eventlog::kafka::KafkaLog;
use live_comments::daemon::engines::eventlog::{ConsumerGroup, LogTelemetry, SharedLog};
use live_comments::daemon::stages::archive::Archiver;
use live_comments::protocol::{NodeId, StreamId};

/// The longest page of a store.
const PAGE: usize = 1000;
/// After this the archiver counts as stuck.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) struct Servers {
    pub(super) log: SharedLog,
    store: SharedCommentStore,
}

impl Servers {
    /// Uses new topics per run, but one keyspace for all runs, so that tables are not always empty.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let port = std::env::var("LC_STACK_PORT").ok().and_then(|port| port.parse().ok());
        let port = port.unwrap_or(17_000_u16);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let kafka = KafkaConfig {
            brokers: vec![format!("127.0.0.1:{}", port + 20)],
            prefix: format!("bench-archive-{}-", now.as_millis()),
            partitions: PartitionCounts { comment_events: 12, ..PartitionCounts::default() },
            ..KafkaConfig::default()
        };
        let node = NodeId::new("bench");
        let log =
            KafkaLog::open(&kafka, &EventLogConfig::default(), &node, LogTelemetry::default())
                .await;
        let cassandra = CassandraConfig {
            nodes: vec![format!("127.0.0.1:{}", port + 40)],
            keyspace: "bench_archive".to_owned(),
            timeout: Duration::from_secs(30),
            ..CassandraConfig::default()
        };
        let store = CassandraComments::open(&cassandra, Duration::ZERO).await;
        Ok(Self {
            log: Arc::new(log.context("Kafka: scripts/stack up starts it")?),
            store: Arc::new(store.context("Cassandra: scripts/stack up starts it")?),
        })
    }

    pub(super) fn archiver(&self) -> Archiver {
        Archiver {
            log: self.log.clone(),
            store: self.store.clone(),
            breaker: Arc::new(Breaker::new("comment store")),
            metrics: Metrics::default(),
            meter: Arc::default(),
            problems: Problems::default(),
            config: StoreConfig::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Returns the number of comments that the archiver has not committed yet.
    pub(super) async fn lag(&self) -> anyhow::Result<u64> {
        let lag = self.log.lag().await?;
        Ok(lag
            .iter()
            .filter(|lag| lag.group == ConsumerGroup::Archiver.as_str())
            .map(|lag| lag.lag)
            .sum())
    }

    /// Waits until the archiver has caught up, and returns how long it took.
    pub(super) async fn await_no_lag(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while self.lag().await? > 0 {
            anyhow::ensure!(began.elapsed() < PATIENCE, "the archiver does not catch up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(began.elapsed())
    }

    /// Returns the number of comments that history shows of these streams.
    pub(super) async fn count(&self, streams: Range<u64>) -> anyhow::Result<u64> {
        let mut rows = 0;
        for stream in streams {
            let mut before = None;
            loop {
                let page = self.store.page(StreamId(stream), before, PAGE).await?;
                rows += page.len() as u64;
                match page.last() {
                    Some(last) if page.len() == PAGE => before = Some(last.comment_id),
                    _ => break,
                }
            }
        }
        Ok(rows)
    }
}
