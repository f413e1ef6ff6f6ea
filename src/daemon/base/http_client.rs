//! Requests over HTTP/1.1 to a service that the configuration names, with or without TLS.
//!
//! In: an address, a request. Out: the body of an answer with status 200 and of type JSON, or an
//! [`ExchangeError`]. Always holds: redirections are not followed; an answer is read up to a bound
//! that the caller gives; nothing is logged. Time limits are the caller's: whoever stops waiting
//! closes the connection. Nothing is queued here.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::rt::{Read, Write};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::{Position, Url};

use crate::net::tls::{Trust, read_certificates};

/// The name of this program in requests.
pub const PROGRAM: &str = concat!("lcd/", env!("CARGO_PKG_VERSION"));
/// The most bytes that a connection buffers, and so of the head of an answer.
const MAX_BUFFERED_BYTES: usize = 32 * 1024;

/// Why there is no answer that can be used. Never quotes an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection ended, or what arrived is not HTTP.
    #[error("the exchange broke off: {0}")]
    Broken(String),
    #[error("it answered with status {0} instead of 200")]
    Status(u16),
    #[error("the answer is not of the type application/json")]
    ContentType,
    #[error("the answer has more than {} KiB", .0 / 1024)]
    TooLarge(usize),
}

/// Why an address cannot be used: the condition that it does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnusableAddress(pub &'static str);

/// Where a service listens, and how requests name it.
#[derive(Debug)]
pub struct HttpEndpoint {
    /// A name or an address.
    host: String,
    port: u16,
    /// For https, with the name that the certificate must have.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The part of the address after host and port.
    path: Uri,
    host_header: HeaderValue,
}

impl HttpEndpoint {
    /// Takes an address of the scheme `http` or `https`. `tls` is called for the latter only.
    ///
    /// # Errors
    /// The address cannot be used, or the error of `tls`.
    pub fn new<E: From<UnusableAddress>>(
        url: &Url,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, E>,
    ) -> Result<Self, E> {
        let unusable = || UnusableAddress("must be a URL, such as https://host/path");
        let path = url[Position::BeforePath..Position::AfterQuery].parse::<PathAndQuery>();
        let host_header = HeaderValue::from_str(&url[Position::BeforeHost..Position::BeforePath]);
        let host = url.host_str().unwrap_or_default();
        // An IPv6 address stands in brackets in a URL, and without in a socket address.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if url.scheme() == "https" {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| UnusableAddress("must name a host that TLS can check"))?;
            Some((tls()?, name))
        } else {
            None
        };
        Ok(Self {
            host,
            port: url.port_or_known_default().unwrap_or_default(),
            tls,
            path: path.map_err(|_| unusable())?.into(),
            host_header: host_header.map_err(|_| unusable())?,
        })
    }

    /// Returns the target of requests.
    pub fn path(&self) -> &Uri {
        &self.path
    }

    /// Returns the header `Host` of requests.
    pub fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`ExchangeError::Connect`] or [`ExchangeError::Broken`].
    pub async fn connect(&self) -> Result<HttpConnection, ExchangeError> {
        let failed = |error: std::io::Error| ExchangeError::Connect(error.to_string());
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        // Only costs time if it fails.
        let _ = socket.set_nodelay(true);
        match &self.tls {
            None => HttpConnection::open(TokioIo::new(socket)).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(config.clone());
                let socket = connector.connect(name.clone(), socket).await.map_err(failed)?;
                HttpConnection::open(TokioIo::new(socket)).await
            }
        }
    }
}

/// A connection, which is closed on drop.
#[derive(Debug)]
pub struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl HttpConnection {
    async fn open<T>(io: T) -> Result<Self, ExchangeError>
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

    /// Returns whether the service has closed it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and returns the answer, whose body is not read yet.
    ///
    /// # Errors
    /// [`ExchangeError::Broken`].
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        self.sender.ready().await.map_err(|error| broken(&error))?;
        self.sender.send_request(request).await.map_err(|error| broken(&error))
    }
}

/// Reads the body of an answer, which must have status 200 and one of these types.
///
/// # Errors
/// The answer is another, breaks off, or has more than `max_bytes`.
pub async fn read_answer(
    answer: Response<Incoming>,
    types: &[&str],
    max_bytes: usize,
) -> Result<Bytes, ExchangeError> {
    if answer.status() != StatusCode::OK {
        return Err(ExchangeError::Status(answer.status().as_u16()));
    }
    if !has_type(answer.headers(), types) {
        return Err(ExchangeError::ContentType);
    }
    let body = Limited::new(answer.into_body(), max_bytes).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            ExchangeError::TooLarge(max_bytes)
        } else {
            ExchangeError::Broken(error.to_string())
        }
    })?;
    Ok(body.to_bytes())
}

fn has_type(headers: &HeaderMap, types: &[&str]) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    types.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

fn broken(error: &hyper::Error) -> ExchangeError {
    ExchangeError::Broken(error.to_string())
}

/// Returns a TLS configuration that trusts the authorities in a PEM file; without one, those of the
/// public web. Blocks on the disk.
///
/// # Errors
/// The fault of the file.
pub fn trusting(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let Some(path) = authorities else { return Ok(Trust::PublicAuthorities.config()) };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path).map_err(|error| error.to_string())? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
