//! HTTP on one accepted socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Extensions;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::takeover::{TakenSocket, Takeover};

/// Requests of one HTTP/2 connection that are answered at one time. More wait at the client.
const MAX_HTTP2_STREAMS: u32 = 128;
/// Bytes of one answer over HTTP/2 that wait for the client to read.
const MAX_HTTP2_SEND_BYTES: usize = 64 * 1024;

/// Limits of request heads (request line and headers).
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) max_bytes: usize,
    /// The time a connection may take between an answer and the end of the next request head.
    pub(crate) timeout: Duration,
}

/// A socket and what its requests are answered with.
#[derive(Debug)]
pub(crate) struct HttpConnection<I> {
    pub(crate) io: I,
    pub(crate) router: Router,
    /// Added to every request: the peer, the connection's slot.
    pub(crate) extensions: Extensions,
    pub(crate) head_limits: HeadLimits,
    /// The connection is closed unless its first request head has arrived by then.
    pub(crate) first_head_due: Instant,
    /// Lets handlers take the socket; `None` if they may not.
    pub(crate) takeover: Option<Takeover>,
}

/// Pings of HTTP/2, by which dead connections are found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepAlive {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// In the extensions of a request over HTTP/2. The connection counts as used while a clone exists,
/// besides its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionUse(Arc<()>);

impl ConnectionUse {
    fn is_idle(&self) -> bool {
        // This one, and the one in the extensions that requests get clones of.
        Arc::strong_count(&self.0) <= 2
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> HttpConnection<I> {
    /// Serves requests over HTTP/1.1 until the connection closes, times out, or leaves HTTP: by an
    /// upgrade, or because a handler takes the socket. After `finish` it answers the request it has
    /// and closes.
    pub(crate) async fn serve(
        mut self,
        finish: &CancellationToken,
    ) -> hyper::Result<Option<TakenSocket<I>>> {
        let head_seen = Arc::new(AtomicBool::new(false));
        if let Some(takeover) = &self.takeover {
            self.extensions.insert(takeover.clone());
        }
        let service = service_fn(answer_with(self.router, self.extensions, head_seen.clone()));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_limits.timeout)
            .max_buf_size(self.head_limits.max_bytes)
            .serve_connection(TokioIo::new(self.io), service)
            .with_upgrades();
        let mut awaits_first_head = true;
        let mut finishing = false;
        loop {
            tokio::select! {
                result = &mut connection => return result.map(|()| None),
                () = tokio::time::sleep_until(self.first_head_due), if awaits_first_head => {
                    if !head_seen.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                    awaits_first_head = false;
                }
                taker = asked(self.takeover.as_ref()) => {
                    let parts = connection.into_parts();
                    let taken = parts.map(|parts| TakenSocket { io: parts.io.into_inner(), taker });
                    return Ok(taken);
                }
                () = finish.cancelled(), if !finishing => {
                    finishing = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    }

    /// Serves requests over HTTP/2 until the connection closes, is dead, or was idle for the time
    /// limit of request heads. After `finish` it answers the requests it has and closes.
    pub(crate) async fn serve_http2(
        mut self,
        keep_alive: KeepAlive,
        finish: &CancellationToken,
    ) -> hyper::Result<()> {
        let head_seen = Arc::new(AtomicBool::new(false));
        let in_use = ConnectionUse::default();
        self.extensions.insert(in_use.clone());
        let service = service_fn(answer_with(self.router, self.extensions, head_seen.clone()));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_HTTP2_STREAMS)
            .max_header_list_size(self.head_limits.max_bytes as u32)
            .max_send_buf_size(MAX_HTTP2_SEND_BYTES)
            .keep_alive_interval(keep_alive.interval)
            .keep_alive_timeout(keep_alive.timeout)
            .serve_connection(TokioIo::new(self.io), service);
        tokio::pin!(connection);
        let mut was_idle = false;
        let mut finishing = false;
        let mut check = tokio::time::interval_at(self.first_head_due, self.head_limits.timeout);
        loop {
            tokio::select! {
                result = connection.as_mut() => return result,
                _ = check.tick(), if !finishing => {
                    // Idle at two checks, or without a request from the start.
                    let is_idle = in_use.is_idle();
                    finishing = is_idle && (was_idle || !head_seen.load(Ordering::Relaxed));
                    was_idle = is_idle;
                    if finishing {
                        connection.as_mut().graceful_shutdown();
                    }
                }
                () = finish.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn asked(takeover: Option<&Takeover>) -> super::takeover::SocketTaker {
    match takeover {
        Some(takeover) => takeover.asked().await,
        None => std::future::pending().await,
    }
}

/// Returns the function that answers the requests of one connection.
fn answer_with(
    router: Router,
    extensions: Extensions,
    head_seen: Arc<AtomicBool>,
) -> impl Fn(Request<Incoming>) -> tower::util::Oneshot<Router, Request<Body>> {
    move |request| {
        head_seen.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().extend(extensions.clone());
        router.clone().oneshot(request)
    }
}

/// Sets `TCP_USER_TIMEOUT`: the kernel ends a connection whose peer has acknowledged nothing for
/// this long, a closed receive window included. Other systems than Linux have no such limit.
pub(crate) fn set_answer_timeout(
    stream: &TcpStream,
    timeout: Option<Duration>,
) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(timeout)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout);
    Ok(())
}
