//! Stores the names of users, so that an operator can ban by name.
//!
//! Names are written once per second, or when a batch is full.
//!
//! When full: names wait in a queue of [`QUEUED`]; beyond that a name is dropped, and stored when
//! its user next connects. While the store does not answer, one batch keeps the newest name of each
//! of at most [`MAX_BATCH`] users.

use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::metadata::{SharedMetadataStore, UserRecord};
use crate::daemon::stages::auth::UserClaims;
use crate::protocol::UserId;

const QUEUED: usize = 16_384;
const FULL_BATCH: usize = 1000;
const MAX_BATCH: usize = 16_384;
const INTERVAL: Duration = Duration::from_secs(1);

/// The sending end.
#[derive(Debug, Clone)]
pub(super) struct NameQueue(mpsc::Sender<UserRecord>);

impl NameQueue {
    pub(super) fn remember(&self, user_id: UserId, claims: &UserClaims, now_ms: u64) {
        let record = UserRecord {
            user_id,
            name: claims.name.clone(),
            seen_at: now_ms,
            account_created: claims.standing.account_created,
        };
        // Dropped when the queue is full: see the module's text.
        let _ = self.0.try_send(record);
    }
}

/// The receiving end, which writes names to the store.
#[derive(Debug)]
pub struct NameTask {
    queue: mpsc::Receiver<UserRecord>,
    metadata: SharedMetadataStore,
    batch: AHashMap<UserId, UserRecord>,
}

pub(super) fn queue(metadata: SharedMetadataStore) -> (NameQueue, NameTask) {
    let (sender, queue) = mpsc::channel(QUEUED);
    (NameQueue(sender), NameTask { queue, metadata, batch: AHashMap::new() })
}

impl NameTask {
    /// Runs until `stop`, then writes the names it has.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = ticker_from_now(INTERVAL);
        loop {
            tokio::select! {
                record = self.queue.recv() => match record {
                    Some(record) => self.add(record).await,
                    None => break,
                },
                _ = ticks.tick() => self.write().await,
                () = stop.cancelled() => break,
            }
        }
        while let Ok(record) = self.queue.try_recv() {
            self.keep(record);
        }
        self.write().await;
    }

    async fn add(&mut self, record: UserRecord) {
        self.keep(record);
        // Only at exactly this size: a store that fails is then tried once per second, not per
        // name.
        if self.batch.len() == FULL_BATCH {
            self.write().await;
        }
    }

    fn keep(&mut self, record: UserRecord) {
        if self.batch.len() < MAX_BATCH || self.batch.contains_key(&record.user_id) {
            self.batch.insert(record.user_id, record);
        }
    }

    async fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let users: Vec<_> = self.batch.values().cloned().collect();
        match self.metadata.remember_users(&users).await {
            Ok(()) => self.batch.clear(),
            Err(error) => {
                tracing::debug!(%error, users = users.len(), "names not stored yet; retrying");
            }
        }
    }
}
