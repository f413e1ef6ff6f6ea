//! The attachment to a daemon: its snapshots, its cluster and the caller.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use tokio::time::timeout;

use super::{SnapshotEvent, snapshots_path};
use crate::client::admin::{AdminClient, AdminError};
use crate::client::follow::follow;
use crate::protocol::admin::Session;

/// The time after which a daemon that does not answer is given up.
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);
/// The longest wait for the name of the cluster before the first frame. The session is read again
/// later.
const SESSION_PATIENCE: Duration = Duration::from_secs(1);

/// The snapshots of a daemon, across its restarts.
pub(super) type Snapshots = Pin<Box<dyn Stream<Item = SnapshotEvent> + Send>>;

/// A daemon that answers.
pub(super) struct Attachment {
    pub(super) client: AdminClient,
    pub(super) snapshots: Snapshots,
    /// The caller and the cluster; `None` if the daemon does not tell them in time.
    pub(super) session: Option<Session>,
}

/// Attaches to a daemon, which sends a snapshot per `interval`. Takes at most 6 s.
///
/// # Errors
/// No daemon answers within 5 s, or it refuses the request.
pub(super) async fn open_attachment(
    client: AdminClient,
    interval: Duration,
) -> Result<Attachment, AdminError> {
    let followed = timeout(ATTACH_PATIENCE, follow(client.clone(), snapshots_path(interval))).await;
    let late = || AdminError::Broken(format!("no answer within {} s", ATTACH_PATIENCE.as_secs()));
    let snapshots = Box::pin(followed.map_err(|_| late())??);
    let session = timeout(SESSION_PATIENCE, client.get("/v1/session")).await;
    let session = session.ok().and_then(Result::ok);
    Ok(Attachment { client, snapshots, session })
}
