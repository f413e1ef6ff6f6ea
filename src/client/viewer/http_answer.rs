//! The head of a server's answer over HTTP/1.1, without I/O.

use super::{ConnectError, ViewerError};
use crate::protocol::error_code::{ErrorBody, ProblemDetails};

/// Limit of an answer's head, and of the body of an error.
const MAX_BYTES: usize = 16 << 10;

/// Why an answer is not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("it answered HTTP {status}")]
    Refused { status: u16, body: Option<ErrorBody> },
    #[error("{0}")]
    Malformed(String),
}

impl AnswerError {
    /// Returns the error of a connection that was not made to `url`.
    pub fn at(self, url: String) -> ConnectError {
        match self {
            Self::Refused { status, body } => ConnectError::Refused { url, status, body },
            Self::Malformed(problem) => ConnectError::Handshake { url, problem },
        }
    }
}

impl From<AnswerError> for ViewerError {
    /// The error of a viewer that had its welcome.
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Refused { body: Some(body), .. } => {
                let ErrorBody { code, message, retry_after_ms } = body;
                Self::Refused { code, message, retry_after_ms }
            }
            AnswerError::Refused { body: None, .. } => Self::Broken(error.to_string()),
            AnswerError::Malformed(problem) => Self::BadMessage(problem),
        }
    }
}

/// The parts of an answer's head that matter to viewers.
pub(super) struct AnswerHead<'a> {
    pub status: u16,
    pub accept: Option<&'a str>,
    pub protocol: Option<&'a str>,
    pub extensions: Option<&'a str>,
    /// Bytes of the body.
    pub content_length: Option<usize>,
    /// The body is not read.
    chunked: bool,
}

impl<'a> AnswerHead<'a> {
    /// Reads the head at the start of `bytes`. Returns it with its length, and `None` while bytes
    /// are missing; `ended` means that no more will come.
    ///
    /// # Errors
    /// The bytes are not the head of an answer over HTTP/1.1.
    pub(super) fn read(bytes: &'a [u8], ended: bool) -> Result<Option<(Self, usize)>, AnswerError> {
        let malformed = |problem: &str| Err(AnswerError::Malformed(problem.to_owned()));
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return match (ended, bytes.len() > MAX_BYTES) {
                (_, true) => malformed("its response does not end"),
                (true, _) => malformed("it closed the connection without a response"),
                _ => Ok(None),
            };
        };
        match std::str::from_utf8(&bytes[..end]).ok().and_then(Self::parse) {
            Some(head) => Ok(Some((head, end + 4))),
            None => malformed("its response is not HTTP/1.1"),
        }
    }

    /// Reads the body of a refusal.
    ///
    /// # Errors
    /// Always the refusal, once its bytes are there.
    pub(super) fn refuse(&self, body: &[u8], ended: bool) -> Result<(), AnswerError> {
        let complete =
            self.chunked || self.content_length.is_some_and(|length| body.len() >= length);
        if !complete && !ended && body.len() <= MAX_BYTES {
            return Ok(());
        }
        let body = serde_json::from_slice::<ProblemDetails>(body).ok();
        Err(AnswerError::Refused { status: self.status, body: body.map(ErrorBody::from) })
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let mut head = Self {
            status,
            accept: None,
            protocol: None,
            extensions: None,
            content_length: None,
            chunked: false,
        };
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "sec-websocket-accept" => head.accept = Some(value),
                "sec-websocket-protocol" => head.protocol = Some(value),
                "sec-websocket-extensions" => head.extensions = Some(value),
                "transfer-encoding" => head.chunked = true,
                "content-length" => head.content_length = value.parse().ok(),
                _ => {}
            }
        }
        Some(head)
    }
}

/// Splits a URL into its authority and the path after it.
pub(super) fn split_authority(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

/// Appends the header that carries a token.
///
/// # Errors
/// The token has characters that a header cannot hold.
pub(super) fn push_token(request: &mut String, token: &str, url: &str) -> Result<(), ConnectError> {
    if !token.bytes().all(|byte| (0x21..0x7F).contains(&byte)) {
        let problem = "the token has characters that a header cannot hold".to_owned();
        return Err(ConnectError::Handshake { url: url.to_owned(), problem });
    }
    request.push_str("Authorization: Bearer ");
    request.push_str(token);
    request.push_str("\r\n");
    Ok(())
}
