//! Errors as operators see them: with the cause of a failure inside the daemon.

use axum::response::{IntoResponse, Response};

use crate::daemon::edge::http::HttpError;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::LogError;
use crate::daemon::stages::control::ControlError;

/// An error answer that may name hosts and files.
#[derive(Debug)]
pub(super) struct OperatorError(HttpError);

/// The result of a request handler of the admin socket.
pub(super) type Answer<T = Response> = Result<T, OperatorError>;

impl From<HttpError> for OperatorError {
    fn from(error: HttpError) -> Self {
        Self(error)
    }
}

impl From<ControlError> for OperatorError {
    fn from(error: ControlError) -> Self {
        Self(error.body().into())
    }
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        ControlError::Store(error).into()
    }
}

impl From<LogError> for OperatorError {
    fn from(error: LogError) -> Self {
        ControlError::Log(error).into()
    }
}

impl IntoResponse for OperatorError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
