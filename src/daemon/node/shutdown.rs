//! How a node goes down, so that nothing acknowledged is lost and viewers know where to go:
//! stop accepting → stop ingest → let the consumers catch up → stop them → tell viewers to come
//! back → close the log. All of it within the deadline of the configuration.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon::base::config::ShutdownConfig;
use crate::daemon::base::handoff::ViewerSink as _;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::edge::gateway::CertificateRenewal;
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::stages::delivery::DeliveryHandle;
use crate::protocol::CloseCode;

/// How often the consumers' lag is looked at.
const LAG_INTERVAL: Duration = Duration::from_millis(20);

/// A stop for each group of tasks, in the order in which they are stopped.
#[derive(Debug, Clone, Default)]
pub(super) struct Stops {
    /// gateway, auth: no new viewers, no new requests.
    pub(super) accept: CancellationToken,
    /// ingest: what was received is still made durable and answered.
    pub(super) ingest: CancellationToken,
    /// broadcast, archive, moderation, reactions.
    pub(super) consumers: CancellationToken,
    /// hub, presence, history, admin and what runs on a timer.
    pub(super) rest: CancellationToken,
}

/// One supervisor for each group.
#[derive(Debug)]
pub(super) struct Supervisors {
    pub(super) accept: Supervisor,
    pub(super) ingest: Supervisor,
    pub(super) consumers: Supervisor,
    pub(super) rest: Supervisor,
}

impl Supervisors {
    pub(super) fn new(stops: &Stops) -> Self {
        Self {
            accept: Supervisor::new(stops.accept.clone()),
            ingest: Supervisor::new(stops.ingest.clone()),
            consumers: Supervisor::new(stops.consumers.clone()),
            rest: Supervisor::new(stops.rest.clone()),
        }
    }
}

/// A node whose tasks run.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) stops: Stops,
    pub(super) supervisors: Supervisors,
    pub(super) log: SharedLog,
    /// On a node with viewers.
    pub(super) delivery: Option<DeliveryHandle>,
    pub(super) board: StatusBoard,
    /// Whether every consumer is in this process. Otherwise others go on where it stops.
    pub(super) alone: bool,
    pub(super) certificate: Option<CertificateRenewal>,
}

impl Running {
    /// Goes down in order. Whatever does not finish by the deadline is left to be cut off.
    pub(super) async fn drain(self, config: &ShutdownConfig) {
        let started = Instant::now();
        let deadline = started + config.deadline;
        self.board.set_ready(false);
        self.board.set_draining(true);
        self.stops.accept.cancel();
        within(deadline, "requests", self.supervisors.accept.finished()).await;
        self.stops.ingest.cancel();
        within(deadline, "ingest", self.supervisors.ingest.finished()).await;
        // A store that is down must not take the time of the goodbyes: the log keeps what is left.
        let share = |tenths| (started + config.deadline * tenths / 10).min(deadline);
        if self.alone {
            within(share(6), "consumers' lag", self.caught_up()).await;
        }
        self.stops.consumers.cancel();
        within(share(8), "consumers", self.supervisors.consumers.finished()).await;
        let jitter = config.reconnect_jitter;
        if let Some(delivery) = &self.delivery {
            let goodbyes = delivery.dismiss_all(CloseCode::Shutdown, jitter);
            within(deadline, "viewers", goodbyes).await;
            delivery.stop();
        }
        self.stops.rest.cancel();
        within(deadline, "the rest", self.supervisors.rest.finished()).await;
        if let Err(error) = self.log.close().await {
            warn!(%error, "event log not closed cleanly; it is recovered at the next start");
        }
        info!(elapsed_ms = started.elapsed().as_millis() as u64, "drained");
    }

    /// Waits until every consumer has read all there is.
    async fn caught_up(&self) {
        loop {
            match self.log.lag().await {
                Ok(groups) if groups.iter().all(|group| group.lag == 0) => return,
                Ok(_) => tokio::time::sleep(LAG_INTERVAL).await,
                Err(error) => {
                    warn!(%error, "consumers' lag is not known");
                    return;
                }
            }
        }
    }
}

async fn within<T>(deadline: Instant, what: &str, work: impl Future<Output = T>) {
    if timeout_at(deadline, work).await.is_err() {
        warn!(what, "did not finish before the deadline");
    }
}
