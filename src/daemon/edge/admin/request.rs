//! Decoding requests. Whatever is wrong with one, its sender is told in the envelope of errors.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::answer::Failure;
use crate::daemon::stages::control::Actor;
use crate::protocol::ErrorCode;
use crate::protocol::admin::ACTOR_HEADER;

/// A larger body is refused.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who holds the other end of the socket, by the operating system's word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) uid: u32,
}

/// Who asks: the claimed name beside the peer's uid.
#[derive(Debug)]
pub(super) struct By(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let Some(peer) = parts.extensions.get::<Peer>() else {
            return Err(Failure::new(ErrorCode::Internal, "the peer of the socket is not known"));
        };
        let claimed = parts.headers.get(ACTOR_HEADER);
        let claimed = claimed.map(|value| String::from_utf8_lossy(value.as_bytes()));
        Ok(Self(Actor::operator(claimed.as_deref(), peer.uid)))
    }
}

/// A body of JSON. Its content type is not looked at: `curl -d` says form data unless told otherwise.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        let bytes = read(request.into_body()).await?;
        parse(&bytes).map(Self)
    }
}

/// Like [`JsonBody`], and nothing at all is the default.
#[derive(Debug)]
pub(super) struct OptionalJsonBody<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        let bytes = read(request.into_body()).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

async fn read(body: Body) -> Result<axum::body::Bytes, Failure> {
    let arrived = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await;
    match arrived {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => {
            let message = format!("a request may have {MAX_BODY_BYTES} bytes");
            Err(Failure::new(ErrorCode::TooLarge, message))
        }
        Ok(Err(error)) => {
            Err(Failure::new(ErrorCode::BadRequest, format!("the body broke off: {error}")))
        }
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Failure::new(ErrorCode::BadRequest, message))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Failure::new(ErrorCode::BadUtf8, format!("the body is {error}")))?;
    serde_json::from_str(text).map_err(|error| {
        let code = match error.classify() {
            Category::Data => ErrorCode::BadMessage,
            Category::Syntax | Category::Eof | Category::Io => ErrorCode::BadJson,
        };
        Failure::new(code, format!("the body is wrong: {error}"))
    })
}

/// The one parameter in the path.
#[derive(Debug)]
pub(super) struct PathParam<T>(pub(super) T);

impl<T: FromStr<Err: std::fmt::Display>, S: Send + Sync> FromRequestParts<S> for PathParam<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let bad = |message: String| Failure::new(ErrorCode::BadRequest, message);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| bad(format!("the path is wrong: {}", error.body_text())))?;
        text.parse().map(Self).map_err(|error| bad(format!("in the path, {error}")))
    }
}

/// The parameters after the question mark.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Query(params) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Failure::new(ErrorCode::BadRequest, error.body_text()))?;
        Ok(Self(params))
    }
}

/// A number of a query that must lie in a range.
pub(super) fn within<T: PartialOrd + std::fmt::Display + Copy>(
    name: &str,
    value: T,
    min: T,
    max: T,
) -> Result<T, Failure> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let message = format!("`{name}` must be {min} to {max}, not {value}");
    Err(Failure::new(ErrorCode::BadRequest, message))
}
