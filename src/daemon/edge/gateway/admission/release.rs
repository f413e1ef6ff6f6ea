//! Gives back to the registry what ended connections held there.
//!
//! Permits are dropped where nobody can wait (a delivery thread), so they queue what is to be
//! removed. The queue has no limit of its own, and needs none: an entry stands for one registered
//! connection that has ended, and there are at most `gateway.max_connections` registrations at a
//! time (three words each). While the registry does not answer they stay here, in that bound.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::daemon::engines::registry::{RegistrationId, RegistryError, SharedRegistry};
use crate::protocol::UserId;

/// Removals under way at one time, so that a far registry does not serialize a storm.
const CONCURRENT: usize = 64;
/// Taken from the queue at one time.
const BATCH: usize = 1024;
/// Between two tries while the registry does not answer.
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

/// The receiving end. Without it the registry would fill with the dead.
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
    /// Runs until `stop`, then removes what is queued by then, once.
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
            tracing::debug!(left = batch.len(), %error, "registrations are left to expire");
        }
    }

    /// Removes a batch; what the registry did not take stays in it.
    async fn remove(&self, batch: &mut Vec<Release>) -> Result<(), RegistryError> {
        let results: Vec<_> = stream::iter(batch.drain(..))
            .map(|(user_id, id)| async move {
                (user_id, id, self.registry.unregister(user_id, id).await)
            })
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        let mut failure = Ok(());
        for (user_id, id, result) in results {
            if let Err(error) = result {
                batch.push((user_id, id));
                failure = Err(error);
            }
        }
        failure
    }
}
