//! Why the service gave no decision.

use std::time::Duration;

use crate::daemon::base::http_client::ExchangeError;

/// The most bytes of an answer.
pub(super) const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Why a comment has no decision of the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The deadline of the comment came first, which says nothing of the service.
    #[error("the time for the check of the comment is over")]
    Late,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why the service gave no decision. Never quotes an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Not asked: it has failed before.
    #[error("it is not asked while it fails")]
    BreakerOpen,
    /// Not asked: as many requests as allowed were under way.
    #[error("no free place within {} ms (moderation.hook.max_in_flight)", .0.as_millis())]
    Busy(Duration),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection ended, or what arrived is not HTTP.
    #[error("the exchange broke off: {0}")]
    Broken(String),
    #[error("it answered with status {0} instead of 200")]
    Status(u16),
    #[error("the answer is not of the type application/json")]
    ContentType,
    #[error("the answer has more than {} KiB", MAX_ANSWER_BYTES / 1024)]
    TooLarge,
    #[error("the answer cannot be used: {0}")]
    BadAnswer(&'static str),
    /// The words are those of the daemon.
    #[error("the answer cannot be used: its `reason` is one of {}", .0.join(", "))]
    ReservedReason(&'static [&'static str]),
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Connect(reason) => Self::Connect(reason),
            ExchangeError::Broken(reason) => Self::Broken(reason),
            ExchangeError::Status(status) => Self::Status(status),
            ExchangeError::ContentType => Self::ContentType,
            ExchangeError::TooLarge(_) => Self::TooLarge,
        }
    }
}

impl Failure {
    /// Returns the word under which it is counted.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker_open",
            Self::Busy(_) => "busy",
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::Status(_) => "status",
            Self::ContentType => "content_type",
            Self::TooLarge => "too_large",
            Self::BadAnswer(_) | Self::ReservedReason(_) => "bad_answer",
        }
    }
}
