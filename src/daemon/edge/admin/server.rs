//! Serving HTTP/1.1 on the admin socket.

use std::time::Duration;

use axum::Router;
use axum::http::Extensions;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::request::Peer;
use crate::daemon::edge::http::{ConnectionSlot, HeadLimits, HttpConnection, HttpServer};

/// Connections served at one time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;
/// A connection that sends no request head for this long is closed.
const HEAD_LIMITS: HeadLimits =
    HeadLimits { max_bytes: 408 * 1024, timeout: Duration::from_secs(30) };
/// The time that requests may still take when the daemon stops.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until `stop`, then gives requests [`GRACE`] to finish.
pub(super) async fn serve(listener: &UnixListener, router: Router, stop: CancellationToken) {
    let server = HttpServer::new("admin", MAX_CONNECTIONS);
    let serve = |socket, _, slot| {
        serve_connection(socket, slot, router.clone(), server.finish_token().clone())
    };
    server.accept_until(&stop, listener, serve).await;
    server.close(GRACE, std::future::ready(())).await;
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
    };
    if let Err(error) = connection.serve(&finish).await {
        debug!(%error, "admin connection ended");
    }
}
