//! Every error a viewer, an HTTP client or an operator can be answered with: its stable code, its
//! HTTP status, whether the same request may succeed later, and whether it closes the connection.

use serde::{Deserialize, Serialize};

use super::CloseCode;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $retry:literal, $close:expr;)*) => {
        /// A stable error code. New ones may be added; a code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it stands in messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same request may succeed later without being changed.
            pub fn retry(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }

            /// The close code that follows this error on a WebSocket; `None` keeps it open.
            pub fn close_code(self) -> Option<CloseCode> {
                match self { $(Self::$name => $close,)* }
            }
        }
    };
}

error_codes! {
    // what was sent
    /// The request line, a header or a parameter is wrong.
    BadRequest = "bad_request", 400, false, None;
    /// Not JSON.
    BadJson = "bad_json", 400, false, None;
    /// Not MessagePack.
    BadMsgpack = "bad_msgpack", 400, false, None;
    /// Well-formed, but a field is missing, of the wrong type or out of range.
    BadMessage = "bad_message", 400, false, None;
    /// `type` names no message a client may send.
    UnknownType = "unknown_type", 400, false, None;
    /// Not UTF-8.
    BadUtf8 = "bad_utf8", 400, false, Some(CloseCode::InvalidUtf8);
    /// A WebSocket framing rule was broken.
    BadFrame = "bad_frame", 400, false, Some(CloseCode::ProtocolError);
    /// Text where the subprotocol is binary, or the reverse.
    WrongFrameType = "wrong_frame_type", 400, false, Some(CloseCode::UnsupportedData);
    /// More bytes than a message may have.
    TooLarge = "too_large", 413, false, Some(CloseCode::MessageTooBig);
    /// Bad messages came one after another until patience ended.
    TooManyErrors = "too_many_errors", 429, false, Some(CloseCode::TooManyErrors);
    /// The comment has no visible character.
    CommentEmpty = "comment_empty", 422, false, None;
    /// The comment has more characters or bytes than allowed.
    CommentTooLong = "comment_too_long", 422, false, None;
    /// The comment contains control characters.
    ControlCharacters = "control_characters", 422, false, None;
    /// No such reaction.
    UnknownReaction = "unknown_reaction", 422, false, None;
    // who sent it
    /// Commenting needs a token.
    NotAuthenticated = "not_authenticated", 401, false, None;
    /// The text is not a JWT.
    TokenMalformed = "token_malformed", 401, false, Some(CloseCode::Unauthorized);
    /// The algorithm is not accepted here (`none` never is).
    TokenAlgorithm = "token_algorithm", 401, false, Some(CloseCode::Unauthorized);
    /// No configured key made this signature.
    TokenSignature = "token_signature", 401, false, Some(CloseCode::Unauthorized);
    /// Past its `exp`.
    TokenExpired = "token_expired", 401, false, Some(CloseCode::TokenExpired);
    /// Before its `nbf`.
    TokenNotYetValid = "token_not_yet_valid", 401, true, Some(CloseCode::Unauthorized);
    /// Another issuer than the configured one.
    TokenIssuer = "token_issuer", 401, false, Some(CloseCode::Unauthorized);
    /// Meant for another audience.
    TokenAudience = "token_audience", 401, false, Some(CloseCode::Unauthorized);
    /// A claim is missing or out of range.
    TokenClaims = "token_claims", 401, false, Some(CloseCode::Unauthorized);
    /// No token within the auth timeout.
    AuthTimeout = "auth_timeout", 401, false, Some(CloseCode::AuthTimeout);
    /// The role does not allow it.
    Forbidden = "forbidden", 403, false, None;
    /// The user is banned.
    Banned = "banned", 403, false, Some(CloseCode::Banned);
    /// The user is timed out and may comment again after `retry_after_ms`.
    TimedOut = "timed_out", 403, true, None;
    // limits
    /// More comments a minute than allowed; again after `retry_after_ms`.
    RateLimited = "rate_limited", 429, true, None;
    /// The user or address holds as many connections as it may.
    TooManyConnections = "too_many_connections", 429, true, Some(CloseCode::TooManyConnections);
    /// The node holds as many connections as it may.
    NodeFull = "node_full", 503, true, Some(CloseCode::NodeFull);
    /// More viewers connect at once than the node takes; again after `retry_after_ms`.
    ConnectionRate = "connection_rate", 503, true, None;
    // where it was sent to
    /// No such stream.
    UnknownStream = "unknown_stream", 404, false, Some(CloseCode::UnknownStream);
    /// The stream is scheduled or ended: comments are not accepted.
    StreamNotLive = "stream_not_live", 409, false, None;
    /// A stream of that id exists.
    StreamExists = "stream_exists", 409, false, None;
    /// No such path, comment, user or entry.
    NotFound = "not_found", 404, false, None;
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, false, None;
    /// The body is not of the content type the path takes.
    UnsupportedMediaType = "unsupported_media_type", 415, false, None;
    /// Not a WebSocket handshake this server speaks (RFC 6455 version 13 over HTTP/1.1 GET).
    BadHandshake = "bad_handshake", 426, false, None;
    // moderation
    /// The stream checks comments before showing them, and this one was refused.
    ModerationRejected = "moderation_rejected", 422, false, None;
    /// The stream checks comments before showing them, and this one waits for a moderator.
    HeldForReview = "held_for_review", 202, false, None;
    // the daemon's own state
    /// A bounded queue is full; again after `retry_after_ms`.
    Overloaded = "overloaded", 503, true, None;
    /// The disk of the event log is full. Nothing was stored.
    StorageFull = "storage_full", 507, true, None;
    /// The event log does not answer. Nothing was acknowledged.
    LogUnavailable = "log_unavailable", 503, true, None;
    /// A store does not answer.
    StoreUnavailable = "store_unavailable", 503, true, None;
    /// The node is shutting down.
    ShuttingDown = "shutting_down", 503, true, Some(CloseCode::Shutdown);
    /// A fault of the daemon; its log says more.
    Internal = "internal", 500, true, None;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The wait suggested to clients whose request met a full queue or a dependency that did not answer.
pub const RETRY_AFTER_MS: u64 = 1_000;

/// An error as it is answered over HTTP and on the admin socket:
/// `{"error":{"code":…,"message":…,"retry_after_ms":…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub code: ErrorCode,
    /// What is wrong, where, and what would be right.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// Adds the time after which the request may succeed.
    #[must_use]
    pub fn retry_after_ms(mut self, wait_ms: u64) -> Self {
        self.retry_after_ms = Some(wait_ms);
        self
    }
}

/// The envelope of [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEnvelope {
    pub error: ErrorBody,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_close_codes_agree_with_retry() {
        let texts: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        let numbers: HashSet<_> = CloseCode::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers.len(), CloseCode::ALL.len());
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
        }
    }
}
