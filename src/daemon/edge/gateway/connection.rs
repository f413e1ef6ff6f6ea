//! One TCP connection of the gateway while it speaks HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::daemon::edge::http::{
    ConnectionSlot, HeadLimits, HttpConnection, in_turns, set_answer_timeout,
};

/// Sockets that HTTP holds at one time: handshakes and API requests, not viewers. Each costs at
/// most about 20 KiB.
pub const MAX_HTTP_CONNECTIONS: usize = 8192;

/// Request line and headers together.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A client that does not read its answer for this long is disconnected. Viewers have rules of
/// their own: see [`clear_answer_timeout`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves accepted sockets: TLS if configured, then HTTP.
#[derive(Clone)]
pub(super) struct ConnectionService {
    router: Router,
    tls: Option<TlsAcceptor>,
    /// Permits for TLS handshakes: one per core.
    tls_turns: Arc<Semaphore>,
    pub(super) handshake_timeout: Duration,
    finish: CancellationToken,
}

impl std::fmt::Debug for ConnectionService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionService").field("tls", &self.is_tls()).finish_non_exhaustive()
    }
}

impl ConnectionService {
    /// Returns a service whose connections close after `finish`, once they have answered.
    pub(super) fn new(
        router: Router,
        tls: Option<TlsAcceptor>,
        handshake_timeout: Duration,
        finish: CancellationToken,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let tls_turns = Arc::new(Semaphore::new(cores));
        Self { router, tls, tls_turns, handshake_timeout, finish }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves one accepted socket until it closes, times out, or leaves HTTP by an upgrade.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        let deadline = Instant::now() + self.handshake_timeout;
        if let Err(error) = set_options(&stream) {
            debug!(%peer, %error, "cannot set socket options");
            return;
        }
        let Some(tls) = self.tls.clone() else {
            return self.serve_http(stream, peer, slot, deadline).await;
        };
        match timeout_at(deadline, in_turns(&self.tls_turns, tls.accept(stream))).await {
            Ok(Ok(stream)) => self.serve_http(stream, peer, slot, deadline).await,
            Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => debug!(%peer, "TLS handshake timed out"),
        }
    }

    async fn serve_http<I>(self, io: I, peer: SocketAddr, slot: ConnectionSlot, deadline: Instant)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(peer));
        extensions.insert(slot);
        let connection = HttpConnection {
            io,
            router: self.router,
            extensions,
            head_limits: HeadLimits { max_bytes: MAX_HEAD_BYTES, timeout: self.handshake_timeout },
            first_head_due: deadline,
        };
        if let Err(error) = connection.serve(&self.finish).await {
            debug!(%peer, %error, "HTTP connection ended");
        }
    }
}

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    set_answer_timeout(stream, Some(ANSWER_TIMEOUT))
}

/// Removes the limit on unread answers when a socket leaves HTTP: from then on delivery decides how
/// long a viewer may not read.
pub(super) fn clear_answer_timeout(stream: &TcpStream) -> std::io::Result<()> {
    set_answer_timeout(stream, None)
}
