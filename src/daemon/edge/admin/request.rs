//! Extractors for requests. Whatever is wrong with a request is answered with problem details.

use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::access::Caller;
use crate::daemon::edge::http::{
    BodyLimits, HttpError, parse_json, read_body, read_json, read_query,
};
use crate::daemon::stages::control::Actor;
use crate::protocol::ErrorCode;

/// Limits of a request body. The content type is ignored, because `curl -d` sends that of form data
/// by default.
const BODY_LIMITS: BodyLimits = BodyLimits {
    max_bytes: 64 * 1024,
    timeout: Duration::from_secs(10),
    requires_json_type: false,
};

/// Limits of a list of users: 10,000 of them with names of 64 characters, written as escapes.
const USERS_LIMITS: BodyLimits =
    BodyLimits { max_bytes: 10 * 1024 * 1024, timeout: Duration::from_secs(30), ..BODY_LIMITS };

/// The person who makes a request.
#[derive(Debug)]
pub(super) struct Requester(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Requester {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Ok(Self(Caller::from_request_parts(parts, state).await?.actor))
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, HttpError> {
        read_json(request, BODY_LIMITS).await.map(Self)
    }
}

/// A JSON body with a list of users, or of changes.
#[derive(Debug)]
pub(super) struct UsersJsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for UsersJsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, HttpError> {
        read_json(request, USERS_LIMITS).await.map(Self)
    }
}

/// A JSON body, or the default value if the body is empty.
#[derive(Debug)]
pub(super) struct OptionalJsonBody<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, HttpError> {
        let bytes = read_body(request, BODY_LIMITS).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse_json(&bytes).map(Self) }
    }
}

/// The parameter in the path.
#[derive(Debug)]
pub(super) struct PathParam<T>(pub(super) T);

impl<T: FromStr<Err: std::fmt::Display>, S: Send + Sync> FromRequestParts<S> for PathParam<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let bad = |message: String| HttpError::new(ErrorCode::BadRequest, message);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| bad(format!("the path is wrong: {}", error.body_text())))?;
        text.parse().map(Self).map_err(|error| bad(format!("in the path, {error}")))
    }
}

/// The parameters in the query.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        read_query(&parts.uri).map(Self)
    }
}

/// Checks that a number of a query lies in a range.
pub(super) fn within<T: PartialOrd + std::fmt::Display + Copy>(
    name: &str,
    value: T,
    min: T,
    max: T,
) -> Result<T, HttpError> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let message = format!("`{name}` must be {min} to {max}, not {value}");
    Err(HttpError::new(ErrorCode::BadRequest, message))
}
