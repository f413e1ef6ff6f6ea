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

use super::handover::IntoTransport;
use super::proxy::{PreambleError, TrustedProxies, read_preamble};
use super::secure_stream::SecureStream;
use super::tls::HTTP2;
use crate::daemon::base::config::GatewayConfig;
use crate::daemon::base::metrics::count;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::edge::http::{
    ConnectionSlot, HeadLimits, HttpConnection, KeepAlive, TakenSocket, Takeover, in_turns,
    set_answer_timeout,
};

/// Sockets that HTTP holds at one time: handshakes and API requests, not viewers. Each costs at
/// most about 20 KiB, and over TLS 50 KiB more while a record is incomplete: rustls has its start,
/// and so has `SecureStream` unless the connection speaks HTTP/2.
pub const MAX_HTTP_CONNECTIONS: usize = 8192;

/// Request line and headers together.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A client that does not read its answer for this long is disconnected. Viewers have rules of
/// their own: see [`IntoTransport`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves accepted sockets: TLS if configured, then HTTP.
#[derive(Clone)]
pub(super) struct ConnectionService {
    router: Router,
    /// Believed about the address of every connection; `None` without the PROXY protocol.
    proxies: Option<TrustedProxies>,
    /// Counts connections that are not served.
    board: StatusBoard,
    tls: Option<TlsAcceptor>,
    /// Permits for TLS handshakes: one per core.
    tls_turns: Arc<Semaphore>,
    pub(super) handshake_timeout: Duration,
    /// Pings of HTTP/2 connections.
    keep_alive: KeepAlive,
    /// The viewer of an event stream must acknowledge what it is sent within this time.
    event_timeout: Duration,
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
        config: &GatewayConfig,
        board: StatusBoard,
        finish: CancellationToken,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let tls_turns = Arc::new(Semaphore::new(cores));
        let keep_alive = KeepAlive { interval: config.ping_interval, timeout: config.pong_timeout };
        Self {
            router,
            proxies: config.proxy_protocol.then(|| TrustedProxies::new(config)),
            board,
            tls,
            tls_turns,
            handshake_timeout: config.handshake_timeout,
            keep_alive,
            event_timeout: config.pong_timeout,
            finish,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves one accepted socket until it closes, times out, or leaves HTTP by an upgrade.
    pub(super) async fn serve(self, mut stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        let deadline = Instant::now() + self.handshake_timeout;
        if let Err(error) = set_options(&stream) {
            debug!(%peer, %error, "cannot set socket options");
            return;
        }
        let Some(peer) = self.true_peer(&mut stream, peer, deadline).await else { return };
        let Some(tls) = self.tls.clone() else {
            return self.serve_http(stream, peer, slot, deadline).await;
        };
        match timeout_at(deadline, in_turns(&self.tls_turns, SecureStream::accept(&tls, stream)))
            .await
        {
            Ok(Ok(mut stream)) if stream.protocol() == Some(HTTP2) => {
                stream.stay_in_http();
                self.serve_http2(stream, peer, slot, deadline).await;
            }
            Ok(Ok(stream)) => self.serve_http(stream, peer, slot, deadline).await,
            Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => debug!(%peer, "TLS handshake timed out"),
        }
    }

    /// Returns the address of the viewer, which a proxy tells first if so configured. `None` if the
    /// connection must be closed.
    async fn true_peer(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Option<SocketAddr> {
        let Some(proxies) = &self.proxies else { return Some(peer) };
        let read = timeout_at(deadline, read_preamble(stream, peer, proxies)).await;
        let read = read.unwrap_or_else(|elapsed| Err(std::io::Error::from(elapsed).into()));
        let refused = |error: &PreambleError| {
            debug!(%peer, %error, "connection refused");
            count(&self.board.metrics().connections_refused, error.reason());
        };
        read.inspect_err(refused).ok()
    }

    async fn serve_http<I>(self, io: I, peer: SocketAddr, slot: ConnectionSlot, deadline: Instant)
    where
        I: AsyncRead + AsyncWrite + IntoTransport + Unpin + Send + 'static,
    {
        let event_timeout = self.event_timeout;
        let finish = self.finish.clone();
        let mut connection = self.connection(io, peer, slot, deadline);
        connection.takeover = Some(Takeover::default());
        let taken = match connection.serve(&finish).await {
            Ok(taken) => taken,
            Err(error) => return debug!(%peer, %error, "HTTP connection ended"),
        };
        let Some(TakenSocket { io, taker }) = taken else { return };
        match io.into_transport(Some(event_timeout)) {
            Ok(transport) => taker(transport),
            Err(error) => debug!(%peer, %error, "socket not taken over"),
        }
    }

    async fn serve_http2(
        self,
        io: SecureStream,
        peer: SocketAddr,
        slot: ConnectionSlot,
        deadline: Instant,
    ) {
        let keep_alive = self.keep_alive;
        let finish = self.finish.clone();
        let connection = self.connection(io, peer, slot, deadline);
        if let Err(error) = connection.serve_http2(keep_alive, &finish).await {
            debug!(%peer, %error, "HTTP/2 connection ended");
        }
    }

    fn connection<I>(
        self,
        io: I,
        peer: SocketAddr,
        slot: ConnectionSlot,
        first_head_due: Instant,
    ) -> HttpConnection<I> {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(peer));
        extensions.insert(slot);
        let timeout = self.handshake_timeout;
        HttpConnection {
            io,
            router: self.router,
            extensions,
            head_limits: HeadLimits { max_bytes: MAX_HEAD_BYTES, timeout },
            first_head_due,
            takeover: None,
        }
    }
}

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    set_answer_timeout(stream, Some(ANSWER_TIMEOUT))
}
