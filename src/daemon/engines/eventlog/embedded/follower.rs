//! A reader outside any group. It is the only member of a private group that never commits and is
//! removed with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::consumer::EmbeddedConsumer;
use super::topic::TopicLog;
use crate::daemon::engines::eventlog::{LogConsumer as _, LogError, LogFollower, Record, StartAt};

static STARTED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub(super) struct EmbeddedFollower(EmbeddedConsumer);

impl EmbeddedFollower {
    pub(super) fn start(log: Arc<TopicLog>) -> Result<Self, LogError> {
        let name = format!("follower {}", STARTED.fetch_add(1, Ordering::Relaxed));
        Ok(Self(EmbeddedConsumer::join(log, &name, StartAt::Latest)?))
    }
}

#[async_trait]
impl LogFollower for EmbeddedFollower {
    async fn next(
        &mut self,
        max_records: usize,
        max_wait: Duration,
    ) -> Result<Vec<Record>, LogError> {
        Ok(self.0.poll(max_records, max_wait).await?.records)
    }
}
