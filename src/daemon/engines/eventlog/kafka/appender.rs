//! The way an append goes, by guarantee.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::client::Clients;
use super::delivery::Answer;
use super::health::{Health, PROBE_TIMEOUT};
use super::producer::DirectAppender;
use super::topics::Topics;
use super::transactions::TransactionalAppender;
use crate::daemon::base::config::{EventLogConfig, Guarantee};
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};

#[derive(Clone)]
pub(super) enum Appender {
    Direct(Arc<DirectAppender>),
    Transactional(Arc<TransactionalAppender>),
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Direct(_) => "Direct",
            Self::Transactional(_) => "Transactional",
        })
    }
}

impl Appender {
    pub(super) async fn new(
        clients: &Clients,
        config: &EventLogConfig,
        topics: Arc<Topics>,
        health: Arc<Health>,
    ) -> Result<Self, LogError> {
        let max_bytes = config.max_pending_bytes.as_u64();
        if config.guarantee == Guarantee::ExactlyOnce {
            let clients = clients.clone();
            let opening = move || TransactionalAppender::new(&clients, topics, max_bytes, health);
            return Ok(Self::Transactional(Arc::new(super::blocking(opening).await?)));
        }
        let direct = DirectAppender::new(clients, config.guarantee, topics, max_bytes, health)?;
        Ok(Self::Direct(Arc::new(direct)))
    }

    pub(super) fn append(
        &self,
        topic: Topic,
        batch: Vec<NewRecord>,
    ) -> Result<oneshot::Receiver<Answer>, LogError> {
        match self {
            Self::Direct(direct) => direct.append(topic, batch),
            Self::Transactional(appender) => appender.append(topic, batch),
        }
    }

    /// The end that a reader of committed records must see, because what is below it has been
    /// acknowledged here; 0 if it sees that at once anyway.
    pub(super) fn visible_to(&self, topic: Topic, partition: u32) -> u64 {
        match self {
            Self::Direct(_) => 0,
            Self::Transactional(appender) => appender.visible().end(topic, partition),
        }
    }

    /// Asks the cluster for a word. Blocks.
    pub(super) fn probe(&self, topic: &str) -> Result<(), LogError> {
        match self {
            Self::Direct(direct) => direct.metadata(Some(topic), PROBE_TIMEOUT).map(drop),
            Self::Transactional(appender) => appender.probe(topic),
        }
    }

    /// Waits until everything under way is answered; nothing is appended after that. Blocks.
    pub(super) fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        match self {
            Self::Direct(direct) => direct.flush(timeout),
            Self::Transactional(appender) => appender.close(timeout),
        }
    }
}
