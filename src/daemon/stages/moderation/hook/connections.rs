//! The connections to the service.
//!
//! Always holds: there are never more connections than exchanges that were under way at once, which
//! the caller bounds, because a new one is made only while none is idle. A connection whose
//! exchange did not complete is closed. This is why the pool is not that of `hyper-util`, which
//! bounds idle connections only and goes on connecting for callers that gave up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::rt::{Read, Write};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::failure::{Failure, MAX_ANSWER_BYTES};

/// The most bytes that a connection buffers, and so of the head of an answer.
const MAX_BUFFERED_BYTES: usize = 32 * 1024;
/// An idle connection of this age is not used again. Services commonly close idle connections after
/// 60 s or more.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The end of the connections.
pub(super) struct Endpoint {
    /// A name or an address.
    pub(super) host: String,
    pub(super) port: u16,
    /// For https, with the name that the certificate must have.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Connections that are kept for the next exchange.
pub(super) struct Connections {
    endpoint: Endpoint,
    /// The one that was used last is at the end.
    idle: Mutex<Vec<IdleConnection>>,
}

struct IdleConnection {
    connection: Connection,
    since: Instant,
}

/// A connection, which is closed on drop.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connections {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, idle: Mutex::default() }
    }

    /// Sends a request and returns the body of the answer. If the caller stops waiting, the
    /// connection is closed.
    ///
    /// # Errors
    /// There is no complete answer with status 200, of type JSON, of at most [`MAX_ANSWER_BYTES`].
    /// Redirections are not followed.
    pub(super) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failure> {
        if let Some(mut idle) = self.take_idle()
            && let Ok(answer) = idle.send(request.clone()).await
        {
            return self.read(idle, answer).await;
        }
        // The service may have closed an idle connection. Only a new one tells whether it works.
        let mut connection = self.connect().await?;
        let answer = connection.send(request).await.map_err(|error| broken(&error))?;
        self.read(connection, answer).await
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some(IdleConnection { connection, since }) = idle.pop() {
            if since.elapsed() < MAX_IDLE && !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let Endpoint { host, port, tls } = &self.endpoint;
        let failed = |error: std::io::Error| Failure::Connect(error.to_string());
        let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        // Only costs time if it fails.
        let _ = socket.set_nodelay(true);
        match tls {
            None => Connection::open(TokioIo::new(socket)).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(config.clone());
                let socket = connector.connect(name.clone(), socket).await.map_err(failed)?;
                Connection::open(TokioIo::new(socket)).await
            }
        }
    }

    async fn read(
        &self,
        connection: Connection,
        answer: Response<Incoming>,
    ) -> Result<Bytes, Failure> {
        if answer.status() != StatusCode::OK {
            return Err(Failure::Status(answer.status().as_u16()));
        }
        if !is_json(answer.headers()) {
            return Err(Failure::ContentType);
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::TooLarge
            } else {
                Failure::Broken(error.to_string())
            }
        })?;
        self.idle.lock().push(IdleConnection { connection, since: Instant::now() });
        Ok(body.to_bytes())
    }
}

impl Connection {
    async fn open<T>(io: T) -> Result<Self, Failure>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_BUFFERED_BYTES);
        let (sender, driver) = builder.handshake(io).await.map_err(|error| broken(&error))?;
        let driver = tokio::spawn(async move {
            // The exchange that the connection fails has the error, too.
            let _ = driver.await;
        });
        Ok(Self { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn broken(error: &hyper::Error) -> Failure {
    Failure::Broken(error.to_string())
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("idle", &self.idle.lock().len()).finish_non_exhaustive()
    }
}
