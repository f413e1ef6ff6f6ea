//! One TCP connection for as long as HTTP speaks on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::turns::in_turns;

/// Sockets that HTTP holds at one time: handshakes and API requests, not viewers. Each costs some
/// 20 KiB at most.
pub const MAX_HTTP_CONNECTIONS: usize = 8192;

/// A request's line and headers together have at most this many bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// An answer that its client does not read ends the connection after this long. Viewers have their
/// own rules: see [`forget_answer_timeout`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A place among [`MAX_HTTP_CONNECTIONS`]; every request carries a share of its connection's.
pub(super) type HttpSlot = Arc<OwnedSemaphorePermit>;

/// What every connection is served with.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) router: Router,
    pub(super) tls: Option<TlsAcceptor>,
    /// Of TLS handshakes: one a processor.
    pub(super) turns: Arc<Semaphore>,
    pub(super) handshake_timeout: Duration,
    /// Answer what was asked, then close.
    pub(super) finish: CancellationToken,
    /// Close at once.
    pub(super) cut: CancellationToken,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl Service {
    /// Serves one accepted socket until it closes, times out, or leaves HTTP by an upgrade.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr, slot: HttpSlot) {
        let deadline = Instant::now() + self.handshake_timeout;
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%peer, %error, "a socket could not be prepared");
            return;
        }
        let cut = self.cut.clone();
        let serving = async {
            match self.tls.clone() {
                None => self.speak_http(stream, peer, slot, deadline).await,
                Some(tls) => {
                    match timeout_at(deadline, in_turns(&self.turns, tls.accept(stream))).await {
                        Ok(Ok(stream)) => self.speak_http(stream, peer, slot, deadline).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
                    }
                }
            }
        };
        tokio::select! {
            () = serving => {}
            () = cut.cancelled() => {}
        }
    }

    async fn speak_http<I>(self, io: I, peer: SocketAddr, slot: HttpSlot, deadline: Instant)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let head_seen = Arc::new(AtomicBool::new(false));
        let service = answering(self.router.clone(), peer, slot, head_seen.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.handshake_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(io), service_fn(service))
            .with_upgrades();
        tokio::pin!(connection);
        let (mut first_head_due, mut finishing) = (true, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, %error, "HTTP connection ended");
                    }
                    return;
                }
                () = tokio::time::sleep_until(deadline), if first_head_due => {
                    if !head_seen.load(Ordering::Relaxed) {
                        return;
                    }
                    first_head_due = false;
                }
                () = self.finish.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// The function that answers the requests of one connection.
fn answering(
    router: Router,
    peer: SocketAddr,
    slot: HttpSlot,
    head_seen: Arc<AtomicBool>,
) -> impl Fn(Request<Incoming>) -> tower::util::Oneshot<Router, Request<Body>> {
    move |request| {
        head_seen.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(slot.clone());
        router.clone().oneshot(request)
    }
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    set_answer_timeout(stream, Some(ANSWER_TIMEOUT))
}

/// To be called when a socket leaves HTTP: a viewer that does not read is delivery's to judge.
pub(super) fn forget_answer_timeout(stream: &TcpStream) -> std::io::Result<()> {
    set_answer_timeout(stream, None)
}

/// `TCP_USER_TIMEOUT`: the kernel ends a connection whose peer takes nothing for this long, also
/// through a closed window. Other systems than Linux go without.
fn set_answer_timeout(stream: &TcpStream, timeout: Option<Duration>) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(timeout)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout);
    Ok(())
}
