//! Reasons why a connection was not made, or ended.

use std::io;

use crate::net::websocket::{CloseStatus, FrameError, InflateError};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, ErrorCode};

/// The reason why a connection was not made.
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
    #[error("{url} did not welcome the viewer: {error}")]
    NotWelcome { url: String, error: ViewerError },
}

fn explain(body: &Option<ErrorBody>) -> String {
    body.as_ref().map_or_else(String::new, |body| format!(" ({}: {})", body.code, body.message))
}

impl ConnectError {
    /// Reports whether the same attempt may succeed later.
    pub fn retry(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Refused { body: Some(body), .. } => {
                body.code.retry() || body.retry_after_ms.is_some()
            }
            Self::Refused { status, body: None, .. } => *status == 429 || *status >= 500,
            Self::Handshake { .. } => false,
            Self::NotWelcome { error, .. } => error.retry(),
        }
    }

    /// Returns the pause that the server asks for while too many viewers connect at once. This is
    /// not a failure: a viewer that keeps to it gets a place in the end.
    pub fn requested_pause(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused { body: Some(body), .. } if body.code == ErrorCode::ConnectionRate => {
                body.retry_after_ms.map(std::time::Duration::from_millis)
            }
            _ => None,
        }
    }

    /// Returns a short stable word for counting: an error code or the kind of failure.
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
}

/// The reason why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewerError {
    #[error("the server closed the connection: {0}")]
    Closed(CloseStatus),
    /// It ended without a close frame: the network failed or the server died.
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the server sent an invalid message: {0}")]
    BadMessage(String),
    /// The server refused the viewer before its welcome.
    #[error("{code}: {message}")]
    Refused { code: ErrorCode, message: String, retry_after_ms: Option<u64> },
}

impl ViewerError {
    /// Returns the server's close code, if it gave one that this system knows.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed(status) => status.code(),
            Self::Refused { code, .. } => code.close_code(),
            Self::Broken(_) | Self::BadMessage(_) => None,
        }
    }

    /// Reports whether to reconnect with the same token and position: after a broken connection,
    /// after close codes that say so, and after those of proxies and restarting servers (1001, 1011
    /// to 1014).
    pub fn retry(&self) -> bool {
        match self {
            Self::Closed(status) => match status.code() {
                Some(code) => code.reconnect(),
                None => matches!(status.number, 1001 | 1005 | 1006 | 1011..=1014),
            },
            Self::Broken(_) => true,
            Self::BadMessage(_) => false,
            Self::Refused { code, retry_after_ms, .. } => code.retry() || retry_after_ms.is_some(),
        }
    }

    /// Returns a short stable word for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Closed(status) => status.code().map_or("closed", CloseCode::as_str),
            Self::Broken(_) => "broken",
            Self::BadMessage(_) => "bad_message",
            Self::Refused { code, .. } => code.as_str(),
        }
    }
}

impl From<io::Error> for ViewerError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<FrameError> for ViewerError {
    fn from(error: FrameError) -> Self {
        Self::BadMessage(error.to_string())
    }
}

impl From<InflateError> for ViewerError {
    fn from(error: InflateError) -> Self {
        Self::BadMessage(error.to_string())
    }
}
