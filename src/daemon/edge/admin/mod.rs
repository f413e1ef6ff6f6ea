//! The admin API: HTTP/1.1 and JSON over a Unix socket, and over TLS if `admin.listen` is set, for
//! `lc`, `curl` and scripts.
//!
//! In: requests of [`crate::protocol::admin`] from users that may open the socket (mode 0660: its
//! owner and group), and from the network from holders of a certificate or a token with a role
//! (`remote`, `access`). Out: answers in JSON, live data as JSON lines, errors as an
//! `ProblemDetails` with a stable code and its HTTP status. Every change goes through [`Control`],
//! which validates and records it.
//!
//! Always holds: a request that is answered with an error has changed nothing, unless a dependency
//! failed half-way; that error may be retried. The socket of a running daemon is never taken over;
//! that of a dead one is. The socket is never open to users that its mode excludes.
//!
//! When full: 128 connections are served at one time, more wait in the kernel's queue. A body has
//! at most 64 KiB, a list of users or changes 10 MiB. A live reader that is too slow is told how
//! many items it missed; no line is queued for it.
//!
//! | `GET` | answers |
//! |---|---|
//! | `/v1/status` | `Status` |
//! | `/v1/nodes` `/v1/streams` `/v1/workers` `/v1/bans` `/v1/shadows` | `Cluster` of each |
//! | `/v1/bus` `/v1/lag` `/v1/stores` `/v1/grants` | `Cluster` of each |
//! | `/v1/doctor?node=` | `Cluster<DoctorFinding>` about the servers of the engines |
//! | `/v1/streams/{id}/talkers` | `Talkers` |
//! | `/v1/rules` | `RulesInForce` |
//! | `/v1/mod/queue?limit=` `/v1/audit?limit=` | `Cluster<ReviewItem>`, `Cluster<AuditEntry>` |
//! | `/v1/dead-letters?limit=&stream=` | `Cluster<DeadLetterItem>`, newest first |
//! | `/v1/mod/decisions?limit=&before=&restored=` | `Cluster<ModerationDecision>`, newest first |
//! | `/v1/mod/offenders?limit=` | `Cluster<Offender>`: users by removals in the last hour |
//! | `/v1/who/{user}` `/v1/users/{user}` | `Who`, `UserDetail` |
//! | `/v1/history/{stream}?before=&limit=` | `HistoryPage` |
//! | `/v1/timeline?series=&from=&to=&step=` | `TimelineAnswer` |
//! | `/v1/alerts` | `Cluster<Alert>`, the worst first |
//! | `/v1/session` | `Session`: who the caller is |
//! | `/v1/views` | `Cluster<SavedView>`, by name |
//! | `/v1/events?where=&after=&limit=&follow=` | `Cluster<EventItem>`; with `follow`, lines of it |
//! | `/v1/top?interval_ms=` | lines of `TopSnapshot` |
//! | `/v1/tail/{stream}` | lines of `TailItem` |
//!
//! | `POST` | takes |
//! |---|---|
//! | `/v1/ban` `/v1/timeout` | `SanctionRequest` |
//! | `/v1/unban` | `UnbanRequest` |
//! | `/v1/kick` `/v1/unshadow` | `UserRequest` |
//! | `/v1/shadow` | `ShadowRequest` |
//! | `/v1/grant` `/v1/revoke` | `GrantRequest`, `RevokeRequest` |
//! | `/v1/dm` `/v1/announce` `/v1/delete` `/v1/throttle` `/v1/drain` | the request of that name |
//! | `/v1/dead-letters/requeue` `…/ack` | `DeadLettersRequest`, and answers `DeadLettersOutcome` |
//! | `/v1/delete_of_user`, `/v1/batch` | `DeleteOfUserRequest`, `BatchRequest` |
//! | `/v1/undo`, `/v1/alerts/ack` | `UndoRequest`, `AckRequest` |
//! | `/v1/acknowledge` | `AcknowledgeRequest` |
//! | `/v1/views`, `/v1/views/forget` | `SaveViewRequest`, `ForgetViewRequest` |
//! | `/v1/preview` | `PreviewRequest`, changes nothing, and answers `Preview` |
//! | `/v1/mod/approve` `/v1/mod/reject` | `ReviewRequest` |
//! | `/v1/mod/restore` | `RestoreRequest` |
//! | `/v1/mod/forgive` | `UserRequest` |
//! | `/v1/mod/claim` | `ClaimRequest`, and answers `ReviewItem` |
//! | `/v1/mod/test` | `TextTrialRequest`, changes nothing, and answers `TextTrial` |
//! | `/v1/streams`, `/v1/streams/{id}` | `NewStream`, `StreamPatch` |
//! | `/v1/tokens` | `TokenRequest`, and answers `Tokens` |
//! | `/v1/tokens/admin` | `AdminTokenRequest`, and answers `Tokens` |
//! | `/v1/tokens/users` | `UserTokensRequest`, and answers `Tokens`; all others answer `Outcome` |

mod about;
mod access;
mod alerts;
mod change;
mod change_text;
mod cluster;
mod compression;
mod dead_letters;
mod doctor;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lag;
mod lines;
mod preview;
mod read;
mod remote;
mod report;
mod request;
mod routes;
mod server;
mod snapshot;
mod socket;
mod tail;
mod talkers;
#[cfg(test)]
mod tests;
mod text_trial;
mod throttle;
mod timeline;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::daemon::base::config::AlertsConfig;
use crate::daemon::base::shared_reading::SharedReading;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::edge::http::CertificateRenewal;
use crate::daemon::engines::announcements::SharedAnnouncements;
use crate::daemon::engines::reactions::SharedReactionTotals;
use crate::daemon::engines::server_settings::BackendServers;
use crate::daemon::engines::timeline::SharedTimelineBlocks;
use crate::daemon::stages::control::{AdminMinter, Control, Minter};
use crate::net::CertificateDigest;

pub use about::NodeFacts;
pub use remote::{RemoteAdmin, RemoteError, remote_faults};
pub use report::Reporter;
pub use socket::{AdminError, check_socket_path};
pub use text_trial::TextTrials;
pub use timeline::TimelineKeeper;
pub use watch::difference;

use alerts::Alerts;
use events::Events;
use lag::UnheldLag;
use socket::AdminSocket;
use throttle::SharedThrottle;
use timeline::SharedPast;

/// Everything the admin socket shows and controls.
#[derive(Clone)]
pub struct AdminParts {
    /// The path it listens on: `node.admin_socket` of the configuration.
    pub socket: PathBuf,
    pub about: NodeFacts,
    pub control: Control,
    pub reactions: SharedReactionTotals,
    pub board: StatusBoard,
    pub minter: Minter,
    pub admin_minter: AdminMinter,
    /// The same API over the network; `None` if `admin.listen` is not set.
    pub remote: Option<Arc<RemoteAdmin>>,
    /// Returns the certificate that viewers are shown; `None` without TLS.
    pub certificate: ReadCertificate,
    /// Present if several nodes share the metadata.
    pub announcements: Option<SharedAnnouncements>,
    /// Present if several nodes share the registry.
    pub timeline: Option<SharedTimelineBlocks>,
    /// The servers of the engines; none on embedded engines.
    pub servers: BackendServers,
    pub trials: TextTrials,
    pub live: Live,
}

/// The alerts, events and lags since the node started.
#[derive(Debug, Clone)]
pub struct Live {
    alerts: Arc<Alerts>,
    unheld: Arc<UnheldLag>,
    events: Arc<Mutex<Events>>,
}

impl Live {
    pub fn new(settings: AlertsConfig) -> Self {
        let alerts = Arc::new(Alerts::new(settings));
        Self { alerts, unheld: Arc::default(), events: Arc::default() }
    }
}

/// The certificate that is presented now.
#[derive(Debug, Clone, Copy)]
pub struct Certificate {
    pub digest: CertificateDigest,
    /// Milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// Reads the certificate that is presented now.
pub type ReadCertificate = Arc<dyn Fn() -> Option<Certificate> + Send + Sync>;

impl std::fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { socket, about, .. } = self;
        f.debug_struct("AdminParts").field("socket", socket).field("about", about).finish()
    }
}

/// The state that request handlers share.
#[derive(Debug, Clone)]
struct AdminState {
    parts: Arc<AdminParts>,
    /// The timeline of the cluster, on nodes that do not keep it.
    past: Arc<SharedPast>,
    /// The throttle of all streams, as tails are told of it.
    throttle: Arc<SharedThrottle>,
    /// The latest line of `/v1/top`.
    top: Arc<SharedReading<Bytes>>,
    /// The changes that are being made.
    changes: TaskTracker,
    /// Ends live answers.
    stop: CancellationToken,
}

/// The admin socket, bound and ready to be served.
#[derive(Debug)]
pub struct Admin {
    socket: AdminSocket,
    parts: Arc<AdminParts>,
}

impl Admin {
    /// Binds the socket. Must be called inside a tokio runtime.
    pub fn bind(parts: AdminParts) -> Result<Self, AdminError> {
        let socket = AdminSocket::bind(&parts.socket)?;
        Ok(Self { socket, parts: Arc::new(parts) })
    }

    /// Returns the handle that renews the certificate of the API over the network, if there is one.
    pub fn certificate(&self) -> Option<CertificateRenewal> {
        self.parts.remote.as_ref().map(|remote| remote.certificate())
    }

    /// Returns the task that reports this node to the others. It must run beside [`Self::run`].
    pub fn reporter(&self) -> Reporter {
        Reporter(self.parts.clone())
    }

    /// Returns the task that keeps the timeline. It must run beside [`Self::run`].
    pub fn timeline_keeper(&self) -> TimelineKeeper {
        TimelineKeeper(self.parts.clone())
    }

    /// Serves until `stop`, then ends live answers and gives other requests a moment to finish. A
    /// socket file that is removed meanwhile is made again. The file is removed on drop. May be
    /// called again after a panic.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), AdminError> {
        let changes = TaskTracker::new();
        let router = self.router(changes.clone(), stop.clone());
        let problems = self.parts.board.problems();
        match &self.parts.remote {
            None => server::serve(&self.socket, router, problems, stop).await,
            Some(remote) => {
                tokio::join!(
                    server::serve(&self.socket, router.clone(), problems, stop.clone()),
                    remote.serve(router, stop),
                );
            }
        }
        changes.close();
        if tokio::time::timeout(server::GRACE, changes.wait()).await.is_err() {
            warn!(changes = changes.len(), "changes are not finished");
        }
        Ok(())
    }

    fn router(&self, changes: TaskTracker, stop: CancellationToken) -> Router {
        let parts = self.parts.clone();
        let past = Arc::new(SharedPast::default());
        let throttle = Arc::new(SharedThrottle::default());
        routes::router(AdminState { parts, past, throttle, top: Arc::default(), changes, stop })
    }
}
