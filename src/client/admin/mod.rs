//! A connection to the admin socket: HTTP/1.1 and JSON over a Unix socket, one connection a
//! request, because opening one costs microseconds and a restarted daemon needs no second thought.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::Stream;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use crate::protocol::admin::ACTOR_HEADER;
use crate::protocol::error_code::{ErrorBody, ErrorEnvelope};

/// Longer than any operation takes, short enough that a hung daemon is noticed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer read into memory.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The longest line of a live stream.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Speaks to the daemon behind one admin socket. Cheap to clone; holds no connection.
#[derive(Debug, Clone)]
pub struct AdminClient {
    socket: PathBuf,
    actor: HeaderValue,
}

/// Why a request got no answer of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody accepts on the socket.
    #[error(
        "no daemon listens on {} ({}). Start one with `lcd`, or name the socket of a running one \
         with `lc --socket PATH` or LC_SOCKET",
        .socket.display(), plain(.cause)
    )]
    NotRunning { socket: PathBuf, cause: io::Error },
    /// The socket is there, but not for this user.
    #[error(
        "{} is not open to this user (permission denied): run as the user or in the group that \
         owns the socket, see `ls -l {}`",
        .socket.display(), .socket.display()
    )]
    NotPermitted { socket: PathBuf },
    /// The daemon understood and declined.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(ErrorBody),
    /// The answer never came, broke off or makes no sense.
    #[error("the admin connection broke: {0}")]
    Broken(String),
}

impl AdminError {
    /// Whether asking again later, unchanged, may work.
    pub fn retry(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Broken(_) => true,
            Self::NotPermitted { .. } => false,
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

/// The operating system's reason without its error number.
fn plain(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody accepts there".to_owned(),
        _ => source.to_string(),
    }
}

impl AdminClient {
    /// A client that acts in the name of the person at this terminal: `$SUDO_USER`, `$USER`, or
    /// the user number. The daemon notes who really holds the socket beside it.
    pub fn new(socket: PathBuf) -> Self {
        let told = ["SUDO_USER", "USER"].into_iter().filter_map(|name| std::env::var(name).ok());
        // Services and containers often have neither; the machine knows its users all the same.
        let known =
            || nix::unistd::User::from_uid(nix::unistd::getuid()).ok()?.map(|user| user.name);
        let name = told.into_iter().find(|name| !name.is_empty()).or_else(known);
        let actor = name.and_then(|name| HeaderValue::from_str(&name).ok());
        let actor = actor.unwrap_or(HeaderValue::from_static("operator"));
        Self { socket, actor }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for `path`, query included.
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, AdminError> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    /// Asks for a change.
    pub async fn post<T: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<R, AdminError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| AdminError::broken("the request cannot be written", &error))?;
        self.exchange(Method::POST, path, body.into()).await
    }

    /// Live JSON lines, until the daemon ends them or the stream is dropped. Only the beginning of
    /// the answer has a time limit; lines may be as far apart as they like.
    pub async fn lines<R: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<R, AdminError>> + Send + Unpin + use<R>, AdminError> {
        let answer = in_time(self.request(Method::GET, path, Bytes::new())).await?;
        let lines = Lines { answer, buffer: BytesMut::new(), searched: 0 };
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
            read_json(&answer.collect().await?)
        })
        .await
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, AdminError> {
        let socket = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| AdminError::connecting(&self.socket, source))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| AdminError::broken("the handshake failed", &error))?;
        // Moves the bytes; what goes wrong with it shows up in the request or the body.
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "lcd")
            .header(CONTENT_TYPE, "application/json")
            .header(ACTOR_HEADER, self.actor.clone())
            .body(Full::new(body))
            .map_err(|error| AdminError::broken("the request cannot be written", &error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| AdminError::broken("the daemon did not answer", &error))?;
        Answer { response, _connection: connection }.accepted().await
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| {
        Err(AdminError::Broken(format!(
            "no answer within {} s; the daemon is running but does not get to it",
            ANSWER_TIMEOUT.as_secs()
        )))
    })
}

fn read_json<R: DeserializeOwned>(text: &[u8]) -> Result<R, AdminError> {
    serde_json::from_slice(text).map_err(|error| {
        AdminError::broken(
            "the answer is not what this `lc` expects, is `lcd` of its version?",
            &error,
        )
    })
}

/// An answer whose head has come, with the connection its body comes over.
struct Answer {
    response: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

impl Answer {
    /// Turns an error status into the error it carries.
    async fn accepted(self) -> Result<Self, AdminError> {
        let status = self.response.status();
        if status.is_success() {
            return Ok(self);
        }
        let text = self.collect().await?;
        Err(match serde_json::from_slice::<ErrorEnvelope>(&text) {
            Ok(envelope) => AdminError::Refused(envelope.error),
            Err(_) => {
                let text = String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned();
                AdminError::Broken(format!("the daemon answered {status}: {text}"))
            }
        })
    }

    async fn collect(self) -> Result<Bytes, AdminError> {
        let body = Limited::new(self.response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await;
        Ok(body.map_err(|error| AdminError::broken("the answer broke off", &error))?.to_bytes())
    }
}

/// Cuts a body into lines.
struct Lines {
    answer: Answer,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end.
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
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(AdminError::broken("the lines broke off", &error)),
                None => return Ok(None),
            }
        }
    }

    /// The next line that is not empty: an empty one is a sign of life, not an item.
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

/// Text as one segment of a path.
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
