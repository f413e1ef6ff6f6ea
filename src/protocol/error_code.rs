//! The errors that viewers, HTTP clients and operators receive. Each has a stable code, an HTTP
//! status, whether waiting can help, and the close code that follows it, if any. [`table`] renders
//! the list for the documents.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::CloseCode;
use super::ids::MAX_SAFE_INTEGER;

/// The rule for a repetition of the same request, if nothing else changes meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Waiting does not help.
    Never,
    /// After `retry_after_ms`, which every such error has. The value is the wait of an error whose
    /// cause does not say how long it lasts.
    After(u64),
    /// After `retry_after_ms` if the error has it, otherwise never.
    IfTimed,
}

use Retry::{After, IfTimed, Never};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $status:literal, $retry:expr, $close:expr;)*) => {
        /// A stable error code. Codes may be added, but a code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum ErrorCode {
            $($(#[doc = $doc])* #[serde(rename = $text)] $name,)*
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

            /// Returns the rule for a repetition of the same request without any other change.
            pub fn retry_rule(self) -> Retry {
                match self { $(Self::$name => $retry,)* }
            }

            /// Returns the sentence that explains the code.
            pub fn meaning(self) -> String {
                let lines: &[&str] = match self { $(Self::$name => &[$($doc),*],)* };
                lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
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
    /// A header or a parameter is invalid, or names something that cannot be used.
    BadRequest = "bad_request", 400, Never, None;
    /// The header with the viewer's address is not from a trusted proxy, or names no address.
    BadForwarding = "bad_forwarding", 400, Never, None;
    /// The message is not JSON.
    BadJson = "bad_json", 400, Never, None;
    /// The message is not MessagePack.
    BadMsgpack = "bad_msgpack", 400, Never, None;
    /// A field is missing, of the wrong type or out of range; in a request that changes a stream or
    /// a setting also: unknown.
    BadMessage = "bad_message", 400, Never, None;
    /// `type` is not a message that a client may send.
    UnknownType = "unknown_type", 400, Never, None;
    /// The text is not UTF-8.
    BadUtf8 = "bad_utf8", 400, Never, Some(CloseCode::InvalidUtf8);
    /// A WebSocket framing rule was broken.
    BadFrame = "bad_frame", 400, Never, Some(CloseCode::ProtocolError);
    /// A text message on a binary subprotocol, or the reverse.
    WrongFrameType = "wrong_frame_type", 400, Never, Some(CloseCode::UnsupportedData);
    /// The message is larger than the limit.
    TooLarge = "too_large", 413, Never, Some(CloseCode::MessageTooBig);
    /// Too many invalid messages in a row.
    TooManyErrors = "too_many_errors", 429, Never, Some(CloseCode::TooManyErrors);
    /// The comment has no visible character.
    CommentEmpty = "comment_empty", 422, Never, None;
    /// The comment is longer than the limit.
    CommentTooLong = "comment_too_long", 422, Never, None;
    /// The comment contains control characters.
    ControlCharacters = "control_characters", 422, Never, None;
    /// The reaction does not exist.
    UnknownReaction = "unknown_reaction", 422, Never, None;
    /// The poll has no such option.
    UnknownOption = "unknown_option", 422, Never, None;
    /// The poll is closed, or is not one of the stream.
    PollClosed = "poll_closed", 409, Never, None;
    /// The user has voted in the poll already. The first vote counts.
    AlreadyVoted = "already_voted", 409, Never, None;
    /// A poll is open on the stream already.
    PollOpen = "poll_open", 409, Never, None;
    // Authentication and authorization.
    /// This requires a token.
    NotAuthenticated = "not_authenticated", 401, Never, None;
    /// The stream no longer admits viewers without a token.
    TokenRequired = "token_required", 401, Never, Some(CloseCode::AuthTimeout);
    /// The token is not a JWT.
    TokenMalformed = "token_malformed", 401, Never, Some(CloseCode::Unauthorized);
    /// The algorithm of the token is not accepted. `none` never is.
    TokenAlgorithm = "token_algorithm", 401, Never, Some(CloseCode::Unauthorized);
    /// The signature of the token matches no configured key.
    TokenSignature = "token_signature", 401, Never, Some(CloseCode::Unauthorized);
    /// The token has expired (`exp`), or the key that signed it was withdrawn while it was in use.
    TokenExpired = "token_expired", 401, Never, Some(CloseCode::TokenExpired);
    /// The token is not valid yet (`nbf`). Retry after `retry_after_ms`.
    TokenNotYetValid =
        "token_not_yet_valid", 401, After(RETRY_AFTER_MS), Some(CloseCode::TokenNotYetValid);
    /// The token is from another issuer (`iss`).
    TokenIssuer = "token_issuer", 401, Never, Some(CloseCode::Unauthorized);
    /// The token is for another audience (`aud`).
    TokenAudience = "token_audience", 401, Never, Some(CloseCode::Unauthorized);
    /// A claim of the token is missing or out of range.
    TokenClaims = "token_claims", 401, Never, Some(CloseCode::Unauthorized);
    /// The token cannot be checked now: the keys of its issuer, or the store of user ids, do not
    /// answer. Retry after `retry_after_ms`.
    IdentityUnavailable =
        "identity_unavailable", 503, After(5_000), Some(CloseCode::IdentityUnavailable);
    /// The stream requires a token, and no valid one was sent within the auth timeout.
    AuthTimeout = "auth_timeout", 401, Never, Some(CloseCode::AuthTimeout);
    /// The role of the user does not allow this.
    Forbidden = "forbidden", 403, Never, None;
    /// Users send each other no messages on this server. `messages.between_users` is off.
    MessagesOff = "messages_off", 403, Never, None;
    /// The user is banned. A ban for a time has `retry_after_ms`.
    Banned = "banned", 403, IfTimed, Some(CloseCode::Banned);
    /// The user is timed out. Retry after `retry_after_ms`.
    TimedOut = "timed_out", 403, After(RETRY_AFTER_MS), None;
    // Limits.
    /// The user has sent too much, or asked too often. Retry after `retry_after_ms`.
    RateLimited = "rate_limited", 429, After(RETRY_AFTER_MS), None;
    /// The user or address is at its connection limit. By `retry_after_ms` the places of
    /// connections that are dead without having been closed are free again.
    TooManyConnections =
        "too_many_connections", 429, After(10_000), Some(CloseCode::TooManyConnections);
    /// The node is at its connection limit. Sent before the upgrade, over HTTP only.
    NodeFull = "node_full", 503, After(RETRY_AFTER_MS), None;
    /// Too many viewers are connecting to the node. Sent before the upgrade, over HTTP only.
    ConnectionRate = "connection_rate", 503, After(RETRY_AFTER_MS), None;
    // Streams, paths and methods.
    /// The stream does not exist.
    UnknownStream = "unknown_stream", 404, Never, Some(CloseCode::UnknownStream);
    /// The stream is scheduled or has ended, so it does not accept comments.
    StreamNotLive = "stream_not_live", 409, Never, None;
    /// The stream has not started, so there is no moment of it to replay.
    StreamNotStarted = "stream_not_started", 409, Never, None;
    /// The moment is after the end of the stream, or has not come yet.
    BeyondEnd = "beyond_end", 416, Never, None;
    /// The stream has ended, so it cannot be watched. Its history remains.
    StreamEnded = "stream_ended", 409, Never, Some(CloseCode::StreamEnded);
    /// A stream with this id already exists.
    StreamExists = "stream_exists", 409, Never, None;
    /// The path, comment, user or entry does not exist.
    NotFound = "not_found", 404, Never, None;
    /// The path does not support this method.
    MethodNotAllowed = "method_not_allowed", 405, Never, None;
    /// The path does not accept this content type.
    UnsupportedMediaType = "unsupported_media_type", 415, Never, None;
    /// The request is not a WebSocket handshake of RFC 6455, version 13, over HTTP/1.1 GET.
    BadHandshake = "bad_handshake", 426, Never, None;
    // Rules of rooms.
    /// The room is in slow mode, and the user has commented a moment ago. Retry after
    /// `retry_after_ms`.
    SlowMode = "slow_mode", 429, After(RETRY_AFTER_MS), None;
    /// Only subscribers may comment in the room.
    SubscribersOnly = "subscribers_only", 403, Never, None;
    /// Only followers may comment in the room. For a user who follows too recently,
    /// `retry_after_ms` is the time that is missing.
    FollowersOnly = "followers_only", 403, IfTimed, None;
    /// Only emoji and emotes are allowed in the room.
    EmotesOnly = "emotes_only", 422, Never, None;
    /// Links are not allowed in the room.
    LinksRefused = "links_refused", 422, Never, None;
    /// The text was said in the room lately. By `retry_after_ms` it may be said again, if nobody
    /// says it meanwhile.
    SaidBefore = "said_before", 422, IfTimed, None;
    // Moderation.
    /// Moderation has rejected the text, and nobody was shown it.
    ModerationRejected = "moderation_rejected", 422, Never, None;
    /// The comment waits for review before it is shown. Do not send it again.
    HeldForReview = "held_for_review", 202, Never, None;
    /// The stream moderates comments before publication, and this one was not checked in time.
    /// Nothing was stored. Retry after `retry_after_ms`.
    ModerationLate = "moderation_late", 503, After(RETRY_AFTER_MS), None;
    /// Another moderator has claimed the comment. By `retry_after_ms` the claim has run out, unless
    /// it is renewed.
    ReviewClaimed = "review_claimed", 409, IfTimed, None;
    /// A moderator has already decided about the comment.
    ReviewDecided = "review_decided", 409, Never, None;
    // The state of the daemon.
    /// A queue of the node is full. Retry after `retry_after_ms`.
    Overloaded = "overloaded", 503, After(RETRY_AFTER_MS), None;
    /// The disk of the event log is full. Nothing was stored.
    StorageFull = "storage_full", 507, After(10_000), None;
    /// The event log is unavailable. Nothing was acknowledged.
    LogUnavailable = "log_unavailable", 503, After(RETRY_AFTER_MS), None;
    /// A store is unavailable.
    StoreUnavailable = "store_unavailable", 503, After(RETRY_AFTER_MS), None;
    /// The node is shutting down.
    ShuttingDown = "shutting_down", 503, After(RETRY_AFTER_MS), Some(CloseCode::Shutdown);
    /// An internal error. The log of the daemon has details.
    Internal = "internal", 500, After(RETRY_AFTER_MS), None;
}

impl ErrorCode {
    /// Returns whether the same request may succeed after `retry_after_ms`.
    pub fn retry(self) -> bool {
        matches!(self.retry_rule(), After(_))
    }

    /// Returns the first sentence of [`Self::meaning`], without its full stop.
    pub fn title(self) -> String {
        let meaning = self.meaning();
        meaning.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
    }

    /// Returns the code with that text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// Returns the table of all codes, in Markdown.
pub fn table() -> String {
    let mut out =
        "| code | HTTP | retry | closes with | meaning |\n|---|---|---|---|---|\n".to_owned();
    for code in ErrorCode::ALL {
        let retry = match code.retry_rule() {
            Never => "",
            After(_) => "yes",
            IfTimed => "if timed",
        };
        let close = code.close_code().map(|close| close.number().to_string()).unwrap_or_default();
        let status = code.http_status();
        let meaning = code.meaning();
        let _ = writeln!(out, "| `{code}` | {status} | {retry} | {close} | {meaning} |");
    }
    out
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The retry delay suggested to clients after a full queue or a failed dependency.
pub const RETRY_AFTER_MS: u64 = 1_000;

/// An error, before it is written as a message or as [`ProblemDetails`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub code: ErrorCode,
    /// Says what is wrong, and what would be valid.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// Returns an error with the usual wait of its code, if waiting can help. The message may quote
    /// what was sent: its control characters are replaced.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retry_after_ms = match code.retry_rule() {
            After(wait_ms) => Some(wait_ms),
            Never | IfTimed => None,
        };
        Self { code, message: without_controls(message.into()), retry_after_ms }
    }

    /// Adds the time after which the request may succeed. A token may be valid in a time that no
    /// integer of the protocol holds; the largest stands for it.
    #[must_use]
    pub fn retry_after_ms(mut self, wait_ms: u64) -> Self {
        self.retry_after_ms = Some(wait_ms.min(MAX_SAFE_INTEGER));
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

/// An error in an HTTP answer or on the admin socket, in the form of RFC 9457.
///
/// Readers need `code`, `detail` and `retry_after_ms` only: the rest follows from the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "An error, in the form of RFC 9457."))]
pub struct ProblemDetails {
    /// `urn:live-comments:error:` and the code.
    #[serde(rename = "type", default)]
    pub problem_type: String,
    /// A sentence that explains the code, always the same one.
    #[serde(default)]
    pub title: String,
    /// The status of the answer.
    #[serde(default)]
    pub status: u16,
    /// Says what is wrong with this request, and what would be valid.
    pub detail: String,
    /// A stable code: programs decide by it.
    pub code: ErrorCode,
    /// The same request may succeed after this time, in milliseconds. Absent: waiting does not
    /// help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ProblemDetails {
    /// The content type of an answer with these details.
    pub const CONTENT_TYPE: &str = "application/problem+json";
}

impl From<ErrorBody> for ProblemDetails {
    fn from(body: ErrorBody) -> Self {
        let ErrorBody { code, message: detail, retry_after_ms } = body;
        Self {
            problem_type: format!("urn:live-comments:error:{code}"),
            title: code.title(),
            status: code.http_status(),
            detail,
            code,
            retry_after_ms,
        }
    }
}

impl From<ProblemDetails> for ErrorBody {
    fn from(details: ProblemDetails) -> Self {
        let ProblemDetails { code, detail: message, retry_after_ms, .. } = details;
        Self { code, message, retry_after_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_wait_is_beyond_what_readers_of_json_hold() {
        let error = ErrorBody::new(ErrorCode::TokenNotYetValid, "valid later");
        assert_eq!(error.retry_after_ms(u64::MAX).retry_after_ms, Some(MAX_SAFE_INTEGER));
    }

    /// A client that is told to retry must not be told at the same time to stay away.
    #[test]
    fn retry_and_close_code_agree() {
        for code in ErrorCode::ALL {
            let body = ErrorBody::new(*code, "");
            assert_eq!(body.retry_after_ms.is_some(), code.retry(), "{code}");
            if let Some(close) = code.close_code() {
                assert_eq!(code.retry(), close.reconnect(), "{code} closes with {close:?}");
            }
        }
    }

    #[test]
    fn problem_details_are_read_back_as_the_error() {
        let error = ErrorBody::new(ErrorCode::SlowMode, "wait 5 s").retry_after_ms(5_000);
        let details = ProblemDetails::from(error.clone());
        let json = serde_json::to_value(&details).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:live-comments:error:slow_mode",
                "title": "The room is in slow mode, and the user has commented a moment ago",
                "status": 429,
                "detail": "wait 5 s",
                "code": "slow_mode",
                "retry_after_ms": 5_000,
            })
        );
        let read: ProblemDetails = serde_json::from_value(json).unwrap();
        assert_eq!(ErrorBody::from(read), error);
    }

    #[test]
    fn codes_are_unique_and_their_texts_are_stable() {
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
