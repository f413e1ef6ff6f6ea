//! The operator's side of the admin socket: requests and answers in JSON, live data as JSON lines.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::protocol::error_code::{ErrorBody, ErrorEnvelope};

/// A line longer than this is no line of ours.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Why the admin socket gave no answer, or not the one hoped for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("no daemon listens on {path}: {source}", path = path.display())]
    NotListening { path: PathBuf, source: std::io::Error },
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    #[error("{}: {}", .0.code, .0.message)]
    Refused(ErrorBody),
    #[error("the daemon's answer makes no sense: {0}")]
    BadAnswer(String),
}

/// Speaks HTTP/1.1 over a Unix socket, one connection a request.
#[derive(Debug, Clone)]
pub struct AdminClient {
    socket: PathBuf,
}

impl AdminClient {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, AdminError> {
        whole(self.send(Method::GET, path, Bytes::new()).await?).await
    }

    pub async fn post<T: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<R, AdminError> {
        let body = serde_json::to_vec(body).map_err(|e| AdminError::BadAnswer(e.to_string()))?;
        whole(self.send(Method::POST, path, body.into()).await?).await
    }

    /// The lines of a live answer, until either side ends it.
    pub async fn lines<R: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<R, AdminError>> + Send + Unpin + use<R>, AdminError> {
        let response = accepted(self.send(Method::GET, path, Bytes::new()).await?).await?;
        let state = (response.into_body(), Vec::<u8>::new());
        Ok(futures_util::stream::unfold(state, next_line).boxed())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, AdminError> {
        let broken = |error: hyper::Error| AdminError::Broken(error.to_string());
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| AdminError::NotListening { path: self.socket.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "lcd")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| AdminError::Broken(error.to_string()))?;
        sender.send_request(request).await.map_err(broken)
    }
}

async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, AdminError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status: StatusCode = response.status();
    let body = bytes_of(response).await?;
    match serde_json::from_slice::<ErrorEnvelope>(&body) {
        Ok(envelope) => Err(AdminError::Refused(envelope.error)),
        Err(_) => Err(AdminError::BadAnswer(format!("HTTP {status} without an error body"))),
    }
}

async fn whole<R: DeserializeOwned>(response: Response<Incoming>) -> Result<R, AdminError> {
    let body = bytes_of(accepted(response).await?).await?;
    serde_json::from_slice(&body).map_err(|error| AdminError::BadAnswer(error.to_string()))
}

async fn bytes_of(response: Response<Incoming>) -> Result<Bytes, AdminError> {
    let collected = response.into_body().collect().await;
    collected.map(|body| body.to_bytes()).map_err(|error| AdminError::Broken(error.to_string()))
}

type Pending = (Incoming, Vec<u8>);

async fn next_line<R: DeserializeOwned>(
    (mut body, mut pending): Pending,
) -> Option<(Result<R, AdminError>, Pending)> {
    loop {
        if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let item = serde_json::from_slice(&line)
                .map_err(|error| AdminError::BadAnswer(error.to_string()));
            return Some((item, (body, pending)));
        }
        if pending.len() > MAX_LINE_BYTES {
            pending.clear();
            let error = AdminError::BadAnswer("a line without an end".to_owned());
            return Some((Err(error), (body, pending)));
        }
        match body.frame().await? {
            Ok(frame) => pending.extend_from_slice(frame.data_ref().map_or(&[][..], |d| d)),
            Err(error) => {
                return Some((Err(AdminError::Broken(error.to_string())), (body, pending)));
            }
        }
    }
}
