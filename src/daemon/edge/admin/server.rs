//! Serving HTTP/1.1 on the admin socket.

use std::time::Duration;

use axum::Router;
use axum::http::Extensions;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::access::Peer;
use super::socket::AdminSocket;
use crate::daemon::base::problems::Problems;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::edge::http::{ConnectionSlot, HeadLimits, HttpConnection, HttpServer};
use crate::protocol::admin::ProblemCode;

/// Connections served at one time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;
/// A connection that sends no request head for this long is closed.
const HEAD_LIMITS: HeadLimits =
    HeadLimits { max_bytes: 408 * 1024, timeout: Duration::from_secs(30) };
/// The time between two looks at the socket's path.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The time that requests may still take when the daemon stops.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Serves until `stop`, then gives requests [`GRACE`] to finish. A socket that is no longer at its
/// path is bound again.
pub(super) async fn serve(
    socket: &AdminSocket,
    router: Router,
    problems: &Problems,
    stop: CancellationToken,
) {
    let server = HttpServer::new("admin", MAX_CONNECTIONS);
    let serve = |socket, _, slot| {
        serve_connection(socket, slot, router.clone(), server.finish_token().clone())
    };
    while !stop.is_cancelled() {
        let listener = socket.listener();
        let bound_again = stop.child_token();
        tokio::join!(
            server.accept_until(&bound_again, &*listener, serve),
            bind_when_lost(socket, problems, &bound_again),
        );
    }
    server.close(GRACE, std::future::ready(())).await;
}

/// Watches the socket's path. Cancels the token when the socket has been bound again.
async fn bind_when_lost(
    socket: &AdminSocket,
    problems: &Problems,
    bound_again: &CancellationToken,
) {
    let mut ticks = ticker_from_now(WATCH_INTERVAL);
    let subject = socket.path().display().to_string();
    while bound_again.run_until_cancelled(ticks.tick()).await.is_some() {
        if !socket.is_lost() {
            problems.clear(ProblemCode::AdminSocketLost, &subject);
            continue;
        }
        match socket.bind_again() {
            Ok(()) => {
                warn!(path = subject, "the admin socket was removed; made it again");
                problems.clear(ProblemCode::AdminSocketLost, &subject);
                bound_again.cancel();
            }
            Err(error) => {
                let text = format!("`lc` does not find this node by its admin socket: {error}");
                problems.raise(ProblemCode::AdminSocketLost, &subject, text);
            }
        }
    }
}

async fn serve_connection(
    socket: UnixStream,
    slot: ConnectionSlot,
    router: Router,
    finish: CancellationToken,
) {
    let mut extensions = Extensions::new();
    match socket.peer_cred() {
        Ok(credentials) => extensions.insert(Peer { uid: credentials.uid() }),
        Err(error) => {
            warn!(%error, "refusing an admin connection without peer credentials");
            return;
        }
    };
    extensions.insert(slot);
    let connection = HttpConnection {
        io: socket,
        router,
        extensions,
        head_limits: HEAD_LIMITS,
        first_head_due: Instant::now() + HEAD_LIMITS.timeout,
        takeover: None,
    };
    if let Err(error) = connection.serve(&finish).await {
        debug!(%error, "admin connection ended");
    }
}
