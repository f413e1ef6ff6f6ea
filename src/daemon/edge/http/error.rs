//! Errors as they are answered over HTTP.

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::protocol::error_code::{ErrorBody, ProblemDetails};
use crate::protocol::{ErrorCode, json};

/// A request that is answered with an error.
///
/// Failures inside the daemon do not convert to it: the gateway hides their cause, and the admin
/// socket shows it.
#[derive(Debug)]
pub(crate) struct HttpError {
    pub(crate) body: ErrorBody,
    /// Headers besides `Retry-After` and `WWW-Authenticate`, such as `Upgrade`.
    headers: Vec<(&'static str, HeaderValue)>,
}

impl HttpError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// Adds a header. `name` must be in lower case.
    pub(crate) fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
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
        let status = StatusCode::from_u16(self.body.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers: HeaderMap = self
            .headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), value))
            .collect();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait_ms) = self.body.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1000)));
        }
        let Ok(body) = json::to_vec(&ProblemDetails::from(self.body)) else {
            return (status, headers).into_response();
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(ProblemDetails::CONTENT_TYPE));
        (status, headers, body).into_response()
    }
}
