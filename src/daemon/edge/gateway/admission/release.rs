//! Removes the registrations of ended connections from the registry.
//!
//! Permits are dropped on delivery threads, which must not wait, so they only queue the removal.
//!
//! Bounded without a limit of its own: an entry of three words stands for a registered connection
//! that has ended, and a node has at most `gateway.max_connections` registrations. Entries wait
//! here while the registry does not answer.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::daemon::engines::registry::{RegistrationId, RegistryError, SharedRegistry};
use crate::protocol::UserId;

/// Removals in flight at one time, so that the latency of a distant registry does not add up.
const CONCURRENT: usize = 64;
/// Taken from the queue at one time.
const BATCH: usize = 1024;
/// The pause before a retry while the registry does not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

type Release = (UserId, RegistrationId);

/// The sending end.
#[derive(Debug, Clone)]
pub(crate) struct ReleaseQueue(mpsc::UnboundedSender<Release>);

impl ReleaseQueue {
    pub(super) fn release(&self, user_id: UserId, id: RegistrationId) {
        // Without a receiver the process is ending, and the entries with it.
        let _ = self.0.send((user_id, id));
    }
}

/// The receiving end, which calls the registry.
#[derive(Debug)]
pub struct ReleaseTask {
    queue: mpsc::UnboundedReceiver<Release>,
    registry: SharedRegistry,
}

pub(super) fn queue(registry: SharedRegistry) -> (ReleaseQueue, ReleaseTask) {
    let (sender, queue) = mpsc::unbounded_channel();
    (ReleaseQueue(sender), ReleaseTask { queue, registry })
}

impl ReleaseTask {
    /// Runs until `stop`, then tries once to remove what is queued by then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let received = tokio::select! {
                received = self.queue.recv_many(&mut batch, BATCH) => received,
                () = stop.cancelled() => break,
            };
            if received == 0 {
                return;
            }
            while self.remove(&mut batch).await.is_err() {
                tokio::select! {
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
        while let Ok(release) = self.queue.try_recv() {
            batch.push(release);
        }
        if let Err(error) = self.remove(&mut batch).await {
            tracing::debug!(left = batch.len(), %error, "registrations not removed; they will expire");
        }
    }

    /// Removes the registrations of a batch. Those that failed stay in it.
    async fn remove(&self, batch: &mut Vec<Release>) -> Result<(), RegistryError> {
        let results: Vec<_> = stream::iter(batch.drain(..))
            .map(|release| async move {
                let (user_id, id) = release;
                self.registry.unregister(user_id, id).await.map_err(|error| (release, error))
            })
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        let mut outcome = Ok(());
        for (release, error) in results.into_iter().filter_map(Result::err) {
            batch.push(release);
            outcome = Err(error);
        }
        outcome
    }
}
