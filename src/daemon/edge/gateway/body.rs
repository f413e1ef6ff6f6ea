//! Request bodies: JSON of a bounded size, in bounded time.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::answer::HttpError;
use crate::protocol::ErrorCode;

/// What JSON around a message may take besides the message itself.
const ENVELOPE_BYTES: usize = 1024;

/// How much and how long a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    pub(super) max_bytes: usize,
    pub(super) timeout: Duration,
}

impl BodyLimits {
    pub(super) fn new(max_message_bytes: u64, timeout: Duration) -> Self {
        Self { max_bytes: max_message_bytes as usize + ENVELOPE_BYTES, timeout }
    }
}

/// Reads a JSON body.
///
/// # Errors
/// `unsupported_media_type`, `too_large`, `bad_request` (cut off or too slow), `bad_utf8`, `bad_json`,
/// `bad_message` (well-formed, but not what the path takes).
pub(super) async fn read_json<T: DeserializeOwned>(
    request: Request<Body>,
    limits: BodyLimits,
) -> Result<T, HttpError> {
    check_content_type(request.headers())?;
    let too_large = || {
        let text = format!("the body may have at most {} bytes", limits.max_bytes);
        HttpError::new(ErrorCode::TooLarge, text)
    };
    if announced_bytes(request.headers()).is_some_and(|bytes| bytes > limits.max_bytes as u64) {
        return Err(too_large());
    }
    let collected = Limited::new(request.into_body(), limits.max_bytes).collect();
    let bytes = match tokio::time::timeout(limits.timeout, collected).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => return Err(HttpError::new(ErrorCode::BadRequest, "the body was cut off")),
        Err(_) => return Err(HttpError::new(ErrorCode::BadRequest, "the body came too slowly")),
    };
    parse(&bytes)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), HttpError> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = text.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = "expected `Content-Type: application/json`";
    Err(HttpError::new(ErrorCode::UnsupportedMediaType, text))
}

fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| HttpError::new(ErrorCode::BadUtf8, format!("the body: {error}")))?;
    serde_json::from_str(text).map_err(|error| {
        let (code, what) = match error.is_data() {
            true => (ErrorCode::BadMessage, "the body's fields are wrong"),
            false => (ErrorCode::BadJson, "the body is not JSON"),
        };
        HttpError::new(code, format!("{what}: {error}"))
    })
}
