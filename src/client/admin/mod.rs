//! The client of the admin API: HTTP/1.1 and JSON over a Unix socket, or over TLS to another
//! machine. Each request has its own connection: opening one costs microseconds, over TLS a few
//! round trips, and a restarted daemon needs no special treatment.

mod inflate;
mod remote;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::Stream;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use crate::protocol::admin::ACTOR_HEADER;
use crate::protocol::error_code::{ErrorBody, ProblemDetails};
use crate::protocol::json;

pub use remote::{InvalidNodeAddress, NodeAddress, RemoteDaemon, RemoteSetupError};

use inflate::AnswerInflater;
use remote::Remote;

/// Longer than any operation takes, short enough to notice a hung daemon.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Limit of an answer that is read into memory.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Limit of a line of a live stream.
const MAX_LINE_BYTES: usize = 16 << 20;

/// The paths that are posted to and change nothing.
pub const PREVIEW: &str = "/v1/preview";
pub const TEXT_TRIAL: &str = "/v1/mod/test";

/// A client of one daemon. Cheap to clone; holds no connection.
#[derive(Debug, Clone)]
pub struct AdminClient {
    way: Way,
    actor: HeaderValue,
    read_only: bool,
}

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No process accepts on the socket.
    #[error(
        "no daemon listens on {} ({}). Start one with `lcd`, or name the socket of a running one \
         with `lc --socket PATH` or LC_SOCKET",
        .socket.display(), plain(.cause)
    )]
    NotRunning { socket: PathBuf, cause: io::Error },
    /// This user may not open the socket.
    #[error(
        "{} is not open to this user (permission denied): run as the user or in the group that \
         owns the socket, see `ls -l {}`",
        .socket.display(), .socket.display()
    )]
    NotPermitted { socket: PathBuf },
    /// No daemon answers at the address.
    #[error(
        "no daemon answers at {node} ({cause}). Does it run, is admin.listen set, and does nothing \
         between here and there block the port?"
    )]
    Unreachable { node: String, cause: String },
    /// The daemon's certificate is not one of those that are trusted.
    #[error(
        "{node} presents a certificate that is not trusted ({why}): name the authority that signed \
         it with --ca of lc ctx add, or LC_CA"
    )]
    Untrusted { node: String, why: String },
    /// The proof of the caller cannot be used, or the daemon does not accept it.
    #[error("{node} cannot be used: {why}")]
    CredentialsRefused { node: String, why: String },
    /// The context of `lc ctx` does not allow changes.
    #[error("this context is read-only: `lc ctx list` shows it")]
    ReadOnly,
    /// The daemon refused.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(ErrorBody),
    /// No answer came, or it was incomplete or invalid.
    #[error("the admin connection broke: {0}")]
    Broken(String),
}

impl AdminError {
    /// Reports whether the same request may succeed later.
    pub fn retry(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Unreachable { .. } | Self::Broken(_) => true,
            Self::NotPermitted { .. }
            | Self::Untrusted { .. }
            | Self::CredentialsRefused { .. }
            | Self::ReadOnly => false,
            Self::Refused(body) => body.code.retry(),
        }
    }

    fn broken(what: &str, why: &dyn std::fmt::Display) -> Self {
        Self::Broken(format!("{what}: {why}"))
    }

    fn connecting(socket: &Path, cause: io::Error) -> Self {
        let socket = socket.to_owned();
        match cause.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { socket },
            _ => Self::NotRunning { socket, cause },
        }
    }
}

/// Returns the operating system's reason without its error number.
fn plain(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "no process accepts there".to_owned(),
        _ => source.to_string(),
    }
}

/// The way to a daemon.
#[derive(Debug, Clone)]
enum Way {
    Socket(PathBuf),
    Network(Arc<Remote>),
}

/// An open connection.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Way {
    async fn connect(&self) -> Result<Box<dyn Connection>, AdminError> {
        Ok(match self {
            Self::Socket(path) => {
                let socket = UnixStream::connect(path).await;
                Box::new(socket.map_err(|source| AdminError::connecting(path, source))?)
            }
            Self::Network(remote) => Box::new(remote.connect().await?),
        })
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, AdminError> {
        match self {
            Self::Socket(_) => Ok(None),
            Self::Network(remote) => remote.authorization().await,
        }
    }

    /// Returns the error of a connection that broke.
    fn broken(&self, what: &str, error: &(dyn std::error::Error + 'static)) -> AdminError {
        let told = match self {
            Self::Socket(_) => None,
            Self::Network(remote) => remote.failed(error),
        };
        told.unwrap_or_else(|| AdminError::broken(what, error))
    }
}

impl AdminClient {
    /// Returns a client that acts in the name of the person at this terminal: `$SUDO_USER`,
    /// `$USER`, or the user number. The daemon records the socket's real peer beside it.
    pub fn new(socket: PathBuf) -> Self {
        let names = ["SUDO_USER", "USER"].into_iter().filter_map(|name| std::env::var(name).ok());
        // Services and containers often have neither.
        let known =
            || nix::unistd::User::from_uid(nix::unistd::getuid()).ok()?.map(|user| user.name);
        let name = names.into_iter().find(|name| !name.is_empty()).or_else(known);
        let actor = name.and_then(|name| HeaderValue::from_str(&name).ok());
        let actor = actor.unwrap_or(HeaderValue::from_static("operator"));
        Self { way: Way::Socket(socket), actor, read_only: false }
    }

    /// Returns a client of a daemon on another machine. Reads the certificates. The daemon takes
    /// the name of the person from its certificate or token.
    ///
    /// # Errors
    /// A file cannot be used, or the address names no host.
    pub fn remote(daemon: &RemoteDaemon) -> Result<Self, RemoteSetupError> {
        let way = Way::Network(Arc::new(Remote::new(daemon)?));
        Ok(Self { way, ..Self::new(PathBuf::new()) })
    }

    /// Returns a client that refuses to change anything.
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Returns the host of the daemon, if it is reached over the network.
    pub fn remote_host(&self) -> Option<&str> {
        match &self.way {
            Way::Socket(_) => None,
            Way::Network(remote) => Some(&remote.address().host),
        }
    }

    /// Returns the id of the daemon's process, if it is on this machine and answers.
    pub async fn peer_process(&self) -> Option<i32> {
        let Way::Socket(path) = &self.way else { return None };
        let socket = UnixStream::connect(path).await.ok()?;
        socket.peer_cred().ok()?.pid()
    }

    /// Sends a GET request for `path`, query included.
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, AdminError> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    /// Sends a POST request with `body` as JSON.
    pub async fn post<T: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<R, AdminError> {
        if self.read_only && ![PREVIEW, TEXT_TRIAL].contains(&path) {
            return Err(AdminError::ReadOnly);
        }
        let body = json::to_vec(body)
            .map_err(|error| AdminError::broken("the request cannot be written", &error))?;
        self.exchange(Method::POST, path, body.into()).await
    }

    /// Returns live JSON lines until the daemon ends them or the stream is dropped. Only the start
    /// of the answer has a time limit, not the time between lines.
    pub async fn lines<R: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<R, AdminError>> + Send + Unpin + use<R>, AdminError> {
        let answer = in_time(self.request(Method::GET, path, Bytes::new())).await?;
        let lines = Lines { answer, way: self.way.clone(), buffer: BytesMut::new(), searched: 0 };
        Ok(Box::pin(futures_util::stream::unfold(Some(lines), async |lines| {
            let mut lines = lines?;
            match lines.next().await {
                Ok(Some(line)) => Some((read_json(&line), Some(lines))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    async fn exchange<R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<R, AdminError> {
        in_time(async {
            let answer = self.request(method, path, body).await?;
            read_json(&answer.collect(&self.way).await?)
        })
        .await
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, AdminError> {
        let authorization = self.way.authorization().await?;
        let socket = self.way.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| self.way.broken("the handshake failed", &error))?;
        // Moves the bytes. Its errors show up in the request or the body.
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "lcd")
            .header(CONTENT_TYPE, "application/json")
            .header(ACTOR_HEADER, self.actor.clone())
            .body(Full::new(body))
            .map_err(|error| AdminError::broken("the request cannot be written", &error))?;
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        if let Way::Network(_) = self.way {
            let coding = HeaderValue::from_static(inflate::CODING);
            request.headers_mut().insert(ACCEPT_ENCODING, coding);
        }
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                drop(sender);
                // A connection that broke before it took the request knows why.
                let ended = connection.await.ok().and_then(Result::err).unwrap_or(error);
                return Err(self.way.broken("the daemon did not answer", &ended));
            }
        };
        let inflater = AnswerInflater::of(response.headers());
        Answer { response, inflater, _connection: connection }.accepted(&self.way).await
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| {
        Err(AdminError::Broken(format!(
            "no answer within {} s; the daemon is running but does not respond",
            ANSWER_TIMEOUT.as_secs()
        )))
    })
}

fn read_json<R: DeserializeOwned>(text: &[u8]) -> Result<R, AdminError> {
    serde_json::from_slice(text).map_err(|error| {
        AdminError::broken(
            "this `lc` cannot read the answer; is `lcd` of the same version?",
            &error,
        )
    })
}

/// An answer whose head has arrived, with the connection that carries its body.
struct Answer {
    response: Response<Incoming>,
    /// Present if the body is compressed.
    inflater: Option<AnswerInflater>,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

impl Answer {
    /// Turns an error status into the error in its body.
    async fn accepted(self, way: &Way) -> Result<Self, AdminError> {
        let status = self.response.status();
        if status.is_success() {
            return Ok(self);
        }
        let text = self.collect(way).await?;
        Err(match serde_json::from_slice::<ProblemDetails>(&text) {
            Ok(details) => AdminError::Refused(details.into()),
            Err(_) => {
                let text = String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned();
                AdminError::Broken(format!("the daemon answered {status}: {text}"))
            }
        })
    }

    async fn collect(self, way: &Way) -> Result<Bytes, AdminError> {
        let body = Limited::new(self.response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await;
        let body =
            body.map_err(|error| way.broken("the answer is incomplete", &*error))?.to_bytes();
        let Some(mut inflater) = self.inflater else { return Ok(body) };
        let mut text = BytesMut::new();
        inflater.append(&body, &mut text, MAX_ANSWER_BYTES)?;
        Ok(text.freeze())
    }
}

/// Divides a body into lines.
struct Lines {
    answer: Answer,
    way: Way,
    buffer: BytesMut,
    /// Length of the start of `buffer` that holds no newline.
    searched: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Bytes>, AdminError> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(AdminError::Broken(format!("a line above {MAX_LINE_BYTES} bytes")));
            }
            match self.answer.response.body_mut().frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    match &mut self.answer.inflater {
                        Some(inflater) => {
                            inflater.append(&data, &mut self.buffer, MAX_ANSWER_BYTES)?;
                        }
                        None => self.buffer.extend_from_slice(&data),
                    }
                }
                Some(Err(error)) => {
                    return Err(self.way.broken("the live lines broke off", &error));
                }
                None => return Ok(None),
            }
        }
    }

    /// Takes the next line that is not empty.
    fn take_line(&mut self) -> Option<Bytes> {
        while let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(self.searched + at).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// Encodes text as one segment of a path.
pub fn path_segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut path, byte| {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'~' => path.push(byte.into()),
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
        path
    })
}

#[cfg(test)]
mod tests;
