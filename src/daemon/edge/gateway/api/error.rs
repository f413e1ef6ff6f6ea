//! Failures inside the daemon as viewers see them.

use crate::daemon::edge::http::HttpError;
use crate::daemon::stages::control::ControlError;
use crate::protocol::ErrorCode;
use crate::protocol::error_code::ErrorBody;

/// Returns an error without the cause of a failure inside the daemon, which may name hosts and
/// files. The cause goes to the log.
pub(super) fn public(error: impl Into<ControlError>) -> HttpError {
    public_body(error).into()
}

/// Returns the body of such an error.
pub(crate) fn public_body(error: impl Into<ControlError>) -> ErrorBody {
    let error = error.into();
    let mut body = error.body();
    if body.code.http_status() >= 500 {
        match body.code {
            ErrorCode::Internal => tracing::error!(%error, "request failed"),
            _ => tracing::warn!(%error, "request failed"),
        }
        body.message = "this cannot be done right now; the daemon's log says more".to_owned();
    }
    body
}
