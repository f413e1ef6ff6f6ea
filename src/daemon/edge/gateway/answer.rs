//! Answers over HTTP: JSON, and errors in their envelope.

use axum::Json;
use axum::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::daemon::engines::StoreError;
use crate::daemon::stages::control::ControlError;
use crate::protocol::ErrorCode;
use crate::protocol::error_code::{ErrorBody, ErrorEnvelope};

/// How long a client waits before it tries again a store or a queue that is not at hand.
pub(super) const RETRY_MS: u64 = 1000;

/// An error on its way out.
#[derive(Debug)]
pub(super) struct HttpError {
    pub(super) body: ErrorBody,
    /// Such as `Upgrade`, where the status asks for one.
    headers: Vec<(&'static str, HeaderValue)>,
}

impl HttpError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// `name` is in lower case.
    pub(super) fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl From<ErrorBody> for HttpError {
    fn from(body: ErrorBody) -> Self {
        Self { body, headers: Vec::new() }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let code = self.body.code;
        let status =
            StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers: HeaderMap = self
            .headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), value))
            .collect();
        if let Some(wait_ms) = self.body.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1000)));
        }
        (status, headers, Json(ErrorEnvelope { error: self.body })).into_response()
    }
}

/// What a store's failure means to a client; `missing` is what `NotFound` stands for.
pub(super) fn store_error(error: &StoreError, missing: ErrorCode) -> HttpError {
    let body = match error {
        StoreError::Unavailable(_) | StoreError::Incomplete(_) => {
            // Its text may name hosts and files, which are the operator's business.
            tracing::warn!(%error, "a request could not be answered");
            ErrorBody::new(ErrorCode::StoreUnavailable, "the store does not answer")
                .retry_after_ms(RETRY_MS)
        }
        StoreError::NotFound(_) => ErrorBody::new(missing, error.to_string()),
        StoreError::Exists(_) => ErrorBody::new(ErrorCode::StreamExists, error.to_string()),
        StoreError::Corrupt(_) => {
            tracing::error!(%error, "a request could not be answered");
            ErrorBody::new(ErrorCode::Internal, "the store's data is damaged; the log says more")
        }
    };
    body.into()
}

/// What a refused or failed operation means to a client.
pub(super) fn control_error(error: &ControlError) -> HttpError {
    let mut body = error.body();
    if body.code.http_status() >= 500 {
        // Its text may name hosts and files, which are the operator's business.
        tracing::warn!(%error, "a request could not be carried out");
        body.message = "this cannot be done right now; the daemon's log says more".to_owned();
    }
    body.into()
}

/// A JSON answer with a status.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    (status, Json(value)).into_response()
}

pub(super) type Answer = Result<Response, HttpError>;
