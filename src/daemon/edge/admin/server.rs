//! Accepting connections and serving HTTP/1.1 on them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::request::Peer;

/// Served at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;
/// A connection that sends no request head for this long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// What is being answered when the daemon stops may take this long.
const GRACE: Duration = Duration::from_secs(2);
/// After a failed accept: out of descriptors is not over at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn serve(listener: &UnixListener, router: Router, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some((socket, permit)) = accept(listener, &permits, &stop).await {
        connections.spawn(connection(socket, permit, router.clone(), stop.clone()));
    }
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        warn!("admin connections are cut off: their answers took too long");
    }
}

/// The next connection, once one may be served; `None` when the daemon stops.
async fn accept(
    listener: &UnixListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(UnixStream, OwnedSemaphorePermit)> {
    stop.run_until_cancelled(async {
        let permit = permits.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((socket, _)) => return Some((socket, permit)),
                Err(error) => {
                    warn!(%error, "cannot accept on the admin socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
    .await
    .flatten()
}

async fn connection(
    socket: UnixStream,
    _permit: OwnedSemaphorePermit,
    router: Router,
    stop: CancellationToken,
) {
    let peer = match socket.peer_cred() {
        Ok(credentials) => Peer { uid: credentials.uid() },
        Err(error) => {
            warn!(%error, "an admin connection whose other end cannot be named is refused");
            return;
        }
    };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let router = router.clone();
        async move {
            Ok::<_, Infallible>(
                router.oneshot(request).await.unwrap_or_else(|never| match never {}),
            )
        }
    });
    let mut http = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(socket), service)
    );
    let served = tokio::select! {
        served = http.as_mut() => served,
        () = stop.cancelled() => {
            http.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, http).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(%error, "an admin connection broke");
    }
}
