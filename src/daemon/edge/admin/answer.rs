//! Answers: JSON, and errors in their envelope.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::LogError;
use crate::daemon::stages::control::ControlError;
use crate::protocol::ErrorCode;
use crate::protocol::admin::Cluster;
use crate::protocol::error_code::{ErrorBody, ErrorEnvelope};

/// An answer, or the error that is answered instead.
pub(super) type Answer<T> = Result<Json<T>, Failure>;

/// A request that is answered with an error.
#[derive(Debug)]
pub(super) struct Failure(pub(super) ErrorBody);

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorBody::new(code, message))
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self(error.body())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        ControlError::Store(error).into()
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        ControlError::Log(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(ErrorEnvelope { error: self.0 })).into_response()
    }
}

/// A list that no node had to be asked for.
pub(super) fn listed<T>(items: Vec<T>) -> Json<Cluster<T>> {
    Json(Cluster { items, unreachable: Vec::new() })
}
