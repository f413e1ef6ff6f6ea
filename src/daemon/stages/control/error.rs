//! Errors of operations, and the stable code of each.

use crate::daemon::engines::StoreError;
use crate::daemon::engines::bus::BusError;
use crate::daemon::engines::eventlog::LogError;
use crate::daemon::engines::registry::RegistryError;
use crate::protocol::admin::MAX_SAVED_VIEWS;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::{CommentId, ErrorCode, StreamId, UserId};

#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    #[error("`{field}` {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("`user` {0}")]
    BadUser(String),
    #[error(
        "nobody named `{0}` has connected or commented here; a name is known about a second after \
         that, or name the user by number, such as 42"
    )]
    UnknownUser(String),
    #[error("there is no stream {0}; the list of streams has those there are")]
    UnknownStream(StreamId),
    #[error("stream {0} exists already")]
    StreamExists(StreamId),
    #[error(
        "no comment {0}: it is neither in the store nor among the latest of the log (one that is \
         held for review is not published yet: reject it instead)"
    )]
    UnknownComment(CommentId),
    #[error("comment {0} is not in the review queue; somebody may have decided it already")]
    NotQueued(CommentId),
    #[error("there is no audit entry {0}")]
    UnknownAudit(u64),
    #[error("audit entry {audit_id} is not undone: {why}")]
    NotUndoable { audit_id: u64, why: String },
    #[error("there is no alert `{0}`; it may be over already")]
    UnknownAlert(String),
    #[error("there is no saved view `{0}`; the list of views has those there are")]
    UnknownView(String),
    #[error("{MAX_SAVED_VIEWS} views are saved, which is the most; forget one first")]
    TooManyViews,
    #[error("user {0} is neither banned nor timed out")]
    NotSanctioned(UserId),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(
        "recorded as audit entry {audit_id}, and carried out as soon as the event log accepts it: \
         {cause}"
    )]
    Deferred { audit_id: u64, cause: LogError },
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{}", .0.message)]
    Mint(ErrorBody),
}

impl ControlError {
    /// Returns the error as it is answered over HTTP and on the admin socket. This is the only
    /// conversion of store, log, bus and registry errors into error codes.
    pub fn body(&self) -> ErrorBody {
        if let Self::Mint(body) = self {
            return body.clone();
        }
        let code = self.code();
        let body = ErrorBody::new(code, self.to_string());
        if code.http_status() == 503 { body.retry_after_ms(RETRY_AFTER_MS) } else { body }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } => ErrorCode::BadMessage,
            Self::BadUser(_) | Self::NotUndoable { .. } | Self::TooManyViews => {
                ErrorCode::BadRequest
            }
            Self::UnknownStream(_) => ErrorCode::UnknownStream,
            Self::StreamExists(_) => ErrorCode::StreamExists,
            Self::UnknownUser(_)
            | Self::UnknownComment(_)
            | Self::NotQueued(_)
            | Self::UnknownAlert(_)
            | Self::UnknownAudit(_)
            | Self::UnknownView(_)
            | Self::NotSanctioned(_) => ErrorCode::NotFound,
            Self::Store(error) => store_code(error),
            Self::Log(error) | Self::Deferred { cause: error, .. } => log_code(error),
            Self::Bus(BusError::Unavailable(_)) => ErrorCode::StoreUnavailable,
            Self::Bus(BusError::Closed) => ErrorCode::ShuttingDown,
            Self::Registry(RegistryError::TooManyConnections(_)) => ErrorCode::TooManyConnections,
            Self::Registry(_) => ErrorCode::StoreUnavailable,
            Self::Mint(body) => body.code,
        }
    }
}

fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Unavailable(_) | StoreError::Incomplete(_) => ErrorCode::StoreUnavailable,
        StoreError::NotFound(_) => ErrorCode::NotFound,
        // Only streams have an id that the request chooses.
        StoreError::Exists(_) => ErrorCode::StreamExists,
        StoreError::Full(_) => ErrorCode::BadRequest,
        StoreError::Corrupt(_) => ErrorCode::Internal,
    }
}

fn log_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::Full(_) => ErrorCode::StorageFull,
        LogError::Unavailable(_) => ErrorCode::LogUnavailable,
        LogError::TooLarge { .. } => ErrorCode::TooLarge,
        LogError::Expired { .. } => ErrorCode::NotFound,
        LogError::Corrupt(_) => ErrorCode::Internal,
        LogError::Closed => ErrorCode::ShuttingDown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_failures_are_retryable() {
        let down = ControlError::Store(StoreError::Unavailable("disk".to_owned())).body();
        assert_eq!(down.code, ErrorCode::StoreUnavailable);
        assert!(down.code.retry() && down.retry_after_ms.is_some());
        let full = ControlError::Log(LogError::Full("/".to_owned())).body();
        assert_eq!(full.code, ErrorCode::StorageFull);
        let twice = ControlError::StreamExists(StreamId(7)).body();
        assert!(!twice.code.retry() && twice.message.contains('7'));
    }
}
