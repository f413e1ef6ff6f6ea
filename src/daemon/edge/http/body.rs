//! Request bodies: JSON with a size limit and a time limit.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::HttpError;
use crate::protocol::{ErrorCode, json};

/// Limits of a request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: usize,
    /// The time from the first read to the last byte.
    pub(crate) timeout: Duration,
    /// True if the request must say `Content-Type: application/json`.
    pub(crate) requires_json_type: bool,
}

/// Reads a body and decodes it as JSON.
///
/// # Errors
/// Those of [`read_body`] and [`parse_json`].
pub(crate) async fn read_json<T: DeserializeOwned>(
    request: Request<Body>,
    limits: BodyLimits,
) -> Result<T, HttpError> {
    parse_json(&read_body(request, limits).await?)
}

/// Reads a body that may be left out, and decodes it as JSON. Returns `None` for one without a
/// byte, which needs no content type.
///
/// # Errors
/// Those of [`read_json`] for any other body.
pub(crate) async fn read_optional_json<T: DeserializeOwned>(
    request: Request<Body>,
    limits: BodyLimits,
) -> Result<Option<T>, HttpError> {
    let checked_type = check_content_type(request.headers());
    let bytes = read_body(request, BodyLimits { requires_json_type: false, ..limits }).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if limits.requires_json_type {
        checked_type?;
    }
    parse_json(&bytes).map(Some)
}

/// Reads a body.
///
/// # Errors
/// `unsupported_media_type`, `too_large`, or `bad_request` if it is cut off or too slow.
pub(crate) async fn read_body(
    request: Request<Body>,
    limits: BodyLimits,
) -> Result<Bytes, HttpError> {
    if limits.requires_json_type {
        check_content_type(request.headers())?;
    }
    let too_large = || {
        let text = format!("the body may have at most {} bytes", limits.max_bytes);
        HttpError::new(ErrorCode::TooLarge, text)
    };
    if announced_bytes(request.headers()).is_some_and(|bytes| bytes > limits.max_bytes as u64) {
        return Err(too_large());
    }
    let collected = Limited::new(request.into_body(), limits.max_bytes).collect();
    match tokio::time::timeout(limits.timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(HttpError::new(ErrorCode::BadRequest, "the body was cut off")),
        Err(_) => {
            let text = format!("the body did not arrive within {:?}", limits.timeout);
            Err(HttpError::new(ErrorCode::BadRequest, text))
        }
    }
}

/// Decodes a body.
///
/// # Errors
/// `bad_utf8`, `bad_json`, or `bad_message` for JSON that does not fit the type.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| HttpError::new(ErrorCode::BadUtf8, format!("the body: {error}")))?;
    json::from_str(text).map_err(|error| {
        if error.is_data() {
            let text = format!("the body's fields are wrong: {}", json::misfit(&error));
            return HttpError::new(ErrorCode::BadMessage, text);
        }
        HttpError::new(ErrorCode::BadJson, format!("the body is not JSON: {error}"))
    })
}

fn check_content_type(headers: &HeaderMap) -> Result<(), HttpError> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = text.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = "expected `Content-Type: application/json`";
    Err(HttpError::new(ErrorCode::UnsupportedMediaType, text))
}

fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
