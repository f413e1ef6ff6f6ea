//! Drains a node so that nothing acknowledged is lost and viewers know when to reconnect: stop
//! accepting → stop ingest → let the consumers catch up → stop them → dismiss viewers → close
//! the log. All of it ends by the deadline of the configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon::base::config::ShutdownConfig;
use crate::daemon::base::handoff::ViewerSink as _;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::edge::gateway::CertificateRenewal;
use crate::daemon::engines::backends::sqlite_file::SqliteFile;
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::stages::delivery::DeliveryHandle;
use crate::daemon::stages::moderation::Pipeline;
use crate::protocol::CloseCode;

/// The time between two checks of the consumers' lag.
const LAG_INTERVAL: Duration = Duration::from_millis(20);

/// The tasks of a node, in groups that are stopped one after the other, in this order.
#[derive(Debug)]
pub(super) struct TaskGroups {
    /// Gateway, auth and changes of rooms. Stopping them ends new viewers and new requests.
    pub(super) accept: Supervisor,
    /// Ingest. It still stores and acknowledges the comments it has received.
    pub(super) ingest: Supervisor,
    /// Broadcast, archive, moderation, reactions, and the storing of held comments.
    pub(super) consumers: Supervisor,
    /// Hub, presence, history, admin, and everything on a timer.
    pub(super) rest: Supervisor,
}

impl Default for TaskGroups {
    fn default() -> Self {
        let group = || Supervisor::new(CancellationToken::new());
        Self { accept: group(), ingest: group(), consumers: group(), rest: group() }
    }
}

/// A node whose tasks run.
#[derive(Debug)]
pub(super) struct RunningNode {
    pub(super) tasks: TaskGroups,
    pub(super) log: SharedLog,
    /// The files of the embedded stores.
    pub(super) files: Vec<SqliteFile>,
    /// `None` on a node without viewers.
    pub(super) delivery: Option<DeliveryHandle>,
    pub(super) board: StatusBoard,
    /// True if all consumers of the log are in this process. If not, other nodes continue its work.
    pub(super) owns_all_consumers: bool,
    /// Those that are read from files.
    pub(super) certificates: Vec<CertificateRenewal>,
    /// The stages of moderation, some of which read files.
    pub(super) pipeline: Arc<Pipeline>,
}

impl RunningNode {
    /// Shuts the node down in order. Work that is not finished by the deadline is abandoned.
    pub(super) async fn drain(self, config: &ShutdownConfig) {
        let started = Instant::now();
        let deadline = started + config.deadline;
        self.board.set_ready(false);
        self.board.set_draining(true);
        stop_group("requests", &self.tasks.accept, deadline).await;
        stop_group("ingest", &self.tasks.ingest, deadline).await;
        // A store that is down must not use up the time for viewers: the log keeps what is left.
        let share = |tenths| (started + config.deadline * tenths / 10).min(deadline);
        if self.owns_all_consumers {
            within(share(6), "consumers' lag", self.wait_for_consumers()).await;
        }
        stop_group("consumers", &self.tasks.consumers, share(8)).await;
        if let Some(delivery) = &self.delivery {
            let dismissed = delivery.dismiss_all(CloseCode::Shutdown, config.reconnect_jitter);
            within(deadline, "viewers", dismissed).await;
            delivery.stop();
        }
        stop_group("the rest", &self.tasks.rest, deadline).await;
        if let Err(error) = self.log.close().await {
            warn!(%error, "event log not closed cleanly; it is recovered at the next start");
        }
        for file in &self.files {
            within(deadline, "a database file", file.close()).await;
        }
        info!(elapsed_ms = started.elapsed().as_millis() as u64, "drained");
    }

    /// Waits until every consumer has read the whole log.
    async fn wait_for_consumers(&self) {
        loop {
            match self.log.lag().await {
                Ok(groups) if groups.iter().all(|group| group.lag == 0) => return,
                Ok(_) => tokio::time::sleep(LAG_INTERVAL).await,
                Err(error) => {
                    warn!(%error, "consumer lag unknown; not waiting for the consumers");
                    return;
                }
            }
        }
    }
}

async fn stop_group(name: &str, group: &Supervisor, deadline: Instant) {
    group.stop_token().cancel();
    within(deadline, name, group.finished()).await;
}

async fn within<T>(deadline: Instant, part: &str, work: impl Future<Output = T>) {
    if timeout_at(deadline, work).await.is_err() {
        warn!(part, "not finished before the deadline");
    }
}
