//! HTTP/1.1 on one accepted socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Extensions;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

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
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> HttpConnection<I> {
    /// Serves requests until the connection closes, times out, or leaves HTTP by an upgrade. After
    /// `finish` it answers the request it has and closes.
    pub(crate) async fn serve(self, finish: &CancellationToken) -> hyper::Result<()> {
        let head_seen = Arc::new(AtomicBool::new(false));
        let service = service_fn(answer_with(self.router, self.extensions, head_seen.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_limits.timeout)
            .max_buf_size(self.head_limits.max_bytes)
            .serve_connection(TokioIo::new(self.io), service)
            .with_upgrades();
        tokio::pin!(connection);
        let mut awaits_first_head = true;
        let mut finishing = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => return result,
                () = tokio::time::sleep_until(self.first_head_due), if awaits_first_head => {
                    if !head_seen.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    awaits_first_head = false;
                }
                () = finish.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
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
