//! Why there is no connection, or no longer one.

use std::io;

use tokio_tungstenite::tungstenite;

use crate::protocol::error_code::{ErrorBody, ErrorEnvelope};
use crate::protocol::{CloseCode, ErrorCode};

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{url} cannot be reached: {source}")]
    Unreachable { url: String, source: io::Error },
    /// The server answered, but not with a WebSocket.
    #[error("{url} answered HTTP {status}{}", explain(.body))]
    Refused { url: String, status: u16, body: Option<ErrorBody> },
    #[error("{url} did not complete the handshake: {problem}")]
    Handshake { url: String, problem: String },
    #[error("{url} did not complete the handshake within {waited:?}")]
    TimedOut { url: String, waited: std::time::Duration },
    /// It ended before the server's welcome.
    #[error("{url} gave no welcome: {error}")]
    NotWelcome { url: String, error: ViewerError },
}

fn explain(body: &Option<ErrorBody>) -> String {
    body.as_ref().map_or_else(String::new, |body| format!(" ({}: {})", body.code, body.message))
}

impl ConnectError {
    /// Whether the same attempt may succeed later.
    pub fn retry(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Refused { body: Some(body), .. } => body.code.retry(),
            Self::Refused { status, body: None, .. } => *status == 429 || *status >= 500,
            Self::Handshake { .. } => false,
            Self::NotWelcome { error, .. } => error.retry(),
        }
    }

    /// How long the server, at which too many connect at once, wants the viewer to stay away. Who keeps
    /// to it finds a place in the end, so this is no failure yet.
    pub fn told_to_wait(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused { body: Some(body), .. } if body.code == ErrorCode::ConnectionRate => {
                body.retry_after_ms.map(std::time::Duration::from_millis)
            }
            _ => None,
        }
    }

    /// A short stable word for counting: an error code, or what kind of failure it was.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { source, .. } => match source.raw_os_error() {
                Some(code) if code == nix::libc::EMFILE || code == nix::libc::ENFILE => {
                    "out_of_descriptors"
                }
                Some(nix::libc::EADDRNOTAVAIL) => "out_of_ports",
                _ => "unreachable",
            },
            Self::Refused { body: Some(body), .. } => body.code.as_str(),
            Self::Refused { body: None, .. } => "http_error",
            Self::Handshake { .. } => "bad_handshake",
            Self::TimedOut { .. } => "handshake_timeout",
            Self::NotWelcome { error, .. } => error.kind(),
        }
    }

    pub(super) fn from_handshake(url: &str, error: tungstenite::Error) -> Self {
        let url = url.to_owned();
        match error {
            tungstenite::Error::Io(source) => Self::Unreachable { url, source },
            tungstenite::Error::Http(response) => {
                let status = response.status().as_u16();
                let body = response.body().as_deref();
                let body = body.and_then(|b| serde_json::from_slice::<ErrorEnvelope>(b).ok());
                Self::Refused { url, status, body: body.map(|envelope| envelope.error) }
            }
            other => Self::Handshake { url, problem: other.to_string() },
        }
    }
}

/// The server's close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// 1005 if the frame had none.
    pub number: u16,
    pub reason: String,
}

impl Closure {
    /// The code, if it is one of this system's.
    pub fn code(&self) -> Option<CloseCode> {
        CloseCode::from_number(self.number)
    }
}

impl std::fmt::Display for Closure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{} {}", self.number, code.as_str()),
            None => write!(f, "{} {}", self.number, self.reason),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewerError {
    #[error("the server closed the connection: {0}")]
    Closed(Closure),
    /// No close frame: the network, or a server that died.
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the server's message makes no sense: {0}")]
    BadMessage(String),
    /// The server said so before any welcome.
    #[error("{code}: {message}")]
    Refused { code: ErrorCode, message: String },
}

impl ViewerError {
    /// The server's close code, if it gave one that this system knows.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed(closure) => closure.code(),
            Self::Refused { code, .. } => code.close_code(),
            Self::Broken(_) | Self::BadMessage(_) => None,
        }
    }

    /// Whether to come back with the same token and position: after a broken connection, after close
    /// codes that say so, and after those of proxies and restarting servers (1001, 1011 to 1014).
    pub fn retry(&self) -> bool {
        match self {
            Self::Closed(closure) => match closure.code() {
                Some(code) => code.reconnect(),
                None => matches!(closure.number, 1001 | 1005 | 1006 | 1011..=1014),
            },
            Self::Broken(_) => true,
            Self::BadMessage(_) => false,
            Self::Refused { code, .. } => code.retry(),
        }
    }

    /// A short stable word for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Closed(closure) => closure.code().map_or("closed", CloseCode::as_str),
            Self::Broken(_) => "broken",
            Self::BadMessage(_) => "bad_message",
            Self::Refused { code, .. } => code.as_str(),
        }
    }

    pub(super) fn from_stream(error: &tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => Self::Broken("reset without a close frame".to_owned()),
            tungstenite::Error::Protocol(_)
            | tungstenite::Error::Utf8(_)
            | tungstenite::Error::Capacity(_) => Self::BadMessage(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}
