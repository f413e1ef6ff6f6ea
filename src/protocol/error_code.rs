//! The errors that viewers, HTTP clients and operators receive. Each has a stable code, an HTTP
//! status, whether a retry may succeed, and the close code that follows it, if any.

use serde::{Deserialize, Serialize};

use super::CloseCode;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $retry:literal, $close:expr;)*) => {
        /// A stable error code. Codes may be added, but a code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the code as it is written in messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same request may succeed later.
            pub fn retry(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }

            /// Returns the close code that follows this error on a WebSocket, or `None` if it stays
            /// open.
            pub fn close_code(self) -> Option<CloseCode> {
                match self { $(Self::$name => $close,)* }
            }
        }
    };
}

error_codes! {
    // Invalid messages and requests.
    /// The request line, a header or a parameter is invalid.
    BadRequest = "bad_request", 400, false, None;
    /// The message is not JSON.
    BadJson = "bad_json", 400, false, None;
    /// The message is not MessagePack.
    BadMsgpack = "bad_msgpack", 400, false, None;
    /// A field is missing, unknown, of the wrong type or out of range.
    BadMessage = "bad_message", 400, false, None;
    /// `type` is not a message that a client may send.
    UnknownType = "unknown_type", 400, false, None;
    /// The text is not UTF-8.
    BadUtf8 = "bad_utf8", 400, false, Some(CloseCode::InvalidUtf8);
    /// A WebSocket framing rule was broken.
    BadFrame = "bad_frame", 400, false, Some(CloseCode::ProtocolError);
    /// A text message on a binary subprotocol, or the reverse.
    WrongFrameType = "wrong_frame_type", 400, false, Some(CloseCode::UnsupportedData);
    /// The message is larger than the limit.
    TooLarge = "too_large", 413, false, Some(CloseCode::MessageTooBig);
    /// Too many invalid messages in a row.
    TooManyErrors = "too_many_errors", 429, false, Some(CloseCode::TooManyErrors);
    /// The comment has no visible character.
    CommentEmpty = "comment_empty", 422, false, None;
    /// The comment is longer than the limit.
    CommentTooLong = "comment_too_long", 422, false, None;
    /// The comment contains control characters.
    ControlCharacters = "control_characters", 422, false, None;
    /// The reaction does not exist.
    UnknownReaction = "unknown_reaction", 422, false, None;
    // Authentication and authorization.
    /// Commenting requires a token.
    NotAuthenticated = "not_authenticated", 401, false, None;
    /// The token is not a JWT.
    TokenMalformed = "token_malformed", 401, false, Some(CloseCode::Unauthorized);
    /// The algorithm of the token is not accepted. `none` never is.
    TokenAlgorithm = "token_algorithm", 401, false, Some(CloseCode::Unauthorized);
    /// The signature of the token matches no configured key.
    TokenSignature = "token_signature", 401, false, Some(CloseCode::Unauthorized);
    /// The token has expired (`exp`).
    TokenExpired = "token_expired", 401, false, Some(CloseCode::TokenExpired);
    /// The token is not valid yet (`nbf`).
    TokenNotYetValid = "token_not_yet_valid", 401, true, Some(CloseCode::Unauthorized);
    /// The token is from another issuer (`iss`).
    TokenIssuer = "token_issuer", 401, false, Some(CloseCode::Unauthorized);
    /// The token is for another audience (`aud`).
    TokenAudience = "token_audience", 401, false, Some(CloseCode::Unauthorized);
    /// A claim of the token is missing or out of range.
    TokenClaims = "token_claims", 401, false, Some(CloseCode::Unauthorized);
    /// No valid token was sent within the auth timeout.
    AuthTimeout = "auth_timeout", 401, false, Some(CloseCode::AuthTimeout);
    /// The role of the user does not allow this.
    Forbidden = "forbidden", 403, false, None;
    /// The user is banned.
    Banned = "banned", 403, false, Some(CloseCode::Banned);
    /// The user is timed out. Retry after `retry_after_ms`.
    TimedOut = "timed_out", 403, true, None;
    // Limits.
    /// The user has sent too many comments. Retry after `retry_after_ms`.
    RateLimited = "rate_limited", 429, true, None;
    /// The user or address is at its connection limit.
    TooManyConnections = "too_many_connections", 429, true, Some(CloseCode::TooManyConnections);
    /// The node is at its connection limit.
    NodeFull = "node_full", 503, true, Some(CloseCode::NodeFull);
    /// Too many viewers are connecting to the node. Retry after `retry_after_ms`.
    ConnectionRate = "connection_rate", 503, true, None;
    // Streams, paths and methods.
    /// The stream does not exist.
    UnknownStream = "unknown_stream", 404, false, Some(CloseCode::UnknownStream);
    /// The stream is scheduled or has ended, so it does not accept comments.
    StreamNotLive = "stream_not_live", 409, false, None;
    /// A stream with this id already exists.
    StreamExists = "stream_exists", 409, false, None;
    /// The path, comment, user or entry does not exist.
    NotFound = "not_found", 404, false, None;
    /// The path does not support this method.
    MethodNotAllowed = "method_not_allowed", 405, false, None;
    /// The path does not accept this content type.
    UnsupportedMediaType = "unsupported_media_type", 415, false, None;
    /// The request is not a WebSocket handshake of RFC 6455, version 13, over HTTP/1.1 GET.
    BadHandshake = "bad_handshake", 426, false, None;
    // Moderation.
    /// The stream moderates comments before publication, and this one was rejected.
    ModerationRejected = "moderation_rejected", 422, false, None;
    /// The stream moderates comments before publication, and this one waits for review.
    HeldForReview = "held_for_review", 202, false, None;
    // The state of the daemon.
    /// A queue of the node is full. Retry after `retry_after_ms`.
    Overloaded = "overloaded", 503, true, None;
    /// The disk of the event log is full. Nothing was stored.
    StorageFull = "storage_full", 507, true, None;
    /// The event log is unavailable. Nothing was acknowledged.
    LogUnavailable = "log_unavailable", 503, true, None;
    /// A store is unavailable.
    StoreUnavailable = "store_unavailable", 503, true, None;
    /// The node is shutting down.
    ShuttingDown = "shutting_down", 503, true, Some(CloseCode::Shutdown);
    /// An internal error. The log of the daemon has details.
    Internal = "internal", 500, true, None;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The retry delay suggested to clients after a full queue or a failed dependency.
pub const RETRY_AFTER_MS: u64 = 1_000;

/// An error in an HTTP answer or on the admin socket:
/// `{"error":{"code":…,"message":…,"retry_after_ms":…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub code: ErrorCode,
    /// What is wrong, and what would be valid.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// The message may quote what was sent: its control characters are replaced.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: without_controls(message.into()), retry_after_ms: None }
    }

    /// Adds the time after which the request may succeed.
    #[must_use]
    pub fn retry_after_ms(mut self, wait_ms: u64) -> Self {
        self.retry_after_ms = Some(wait_ms);
        self
    }
}

/// Returns a text that changes no terminal on which it is shown.
pub(super) fn without_controls(text: String) -> String {
    if text.chars().any(char::is_control) {
        return text.replace(char::is_control, "\u{FFFD}");
    }
    text
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
