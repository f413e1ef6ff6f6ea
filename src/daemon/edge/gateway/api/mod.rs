//! The REST API under `/api`.

pub(super) mod comments;
mod error;
pub(super) mod moderation;
pub(super) mod reactions;
pub(super) mod room;
pub(super) mod streams;

pub(super) use error::public_body;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::admission::Caller;
use super::comment_pages::MAX_LIMIT;
use super::state::GatewayState;
use crate::daemon::edge::http::HttpError;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::ids::InvalidId;
use crate::protocol::stream::Stream;
use crate::protocol::{ErrorCode, Identity, Role, StreamId};

const DEFAULT_LIMIT: usize = 100;

/// Returns the token of `Authorization: Bearer …`, or `None` without one. Other schemes are for
/// other layers: a browser adds `Basic` to every request to a site that is protected by a proxy.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, HttpError> {
    for value in headers.get_all(AUTHORIZATION) {
        let bytes = value.as_bytes().trim_ascii();
        let scheme = bytes.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or(bytes);
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            continue;
        }
        let token = std::str::from_utf8(bytes[scheme.len()..].trim_ascii());
        return match token {
            Ok(token) if !token.is_empty() => Ok(Some(token)),
            _ => {
                let text = "expected `Authorization: Bearer <token>`";
                Err(HttpError::new(ErrorCode::TokenMalformed, text))
            }
        };
    }
    Ok(None)
}

/// Parses an id from a path or a query.
pub(super) fn parse_id<T: std::str::FromStr<Err = InvalidId>>(text: &str) -> Result<T, HttpError> {
    text.parse()
        .map_err(|error: InvalidId| HttpError::new(ErrorCode::BadRequest, error.to_string()))
}

/// Parses the `limit` of a query: 1 to [`MAX_LIMIT`].
fn parse_limit(text: Option<&str>) -> Result<usize, HttpError> {
    match text.map(str::parse::<usize>) {
        None => Ok(DEFAULT_LIMIT),
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => {
            let text = format!("`limit` must be a number from 1 to {MAX_LIMIT}");
            Err(HttpError::new(ErrorCode::BadRequest, text))
        }
    }
}

/// Returns the user of the token that the caller must have sent.
async fn token_bearer(state: &GatewayState, headers: &HeaderMap) -> Result<Caller, HttpError> {
    let token = bearer(headers)?.ok_or_else(|| {
        let text = "this needs a token: `Authorization: Bearer <token>`";
        HttpError::new(ErrorCode::NotAuthenticated, text)
    })?;
    Ok(state.admission.recognize(token).await?)
}

/// Returns the user of the token if the caller sent one, which must be valid.
async fn known_bearer(
    state: &GatewayState,
    headers: &HeaderMap,
) -> Result<Option<Caller>, HttpError> {
    match bearer(headers)? {
        Some(_) => token_bearer(state, headers).await.map(Some),
        None => Ok(None),
    }
}

/// Returns the caller on a stream, who must have sent a token.
async fn caller_on(
    state: &GatewayState,
    headers: &HeaderMap,
    stream_id: StreamId,
) -> Result<Identity, HttpError> {
    Ok(token_bearer(state, headers).await?.on(stream_id))
}

/// Returns the caller, who must have at least this role on the stream.
async fn caller_with_role(
    state: &GatewayState,
    headers: &HeaderMap,
    stream_id: StreamId,
    role: Role,
) -> Result<Identity, HttpError> {
    let identity = caller_on(state, headers, stream_id).await?;
    require_role(&identity, role)?;
    Ok(identity)
}

/// Returns the caller on a stream if it sent a token, which must be valid.
async fn known_caller_on(
    state: &GatewayState,
    headers: &HeaderMap,
    stream_id: StreamId,
) -> Result<Option<Identity>, HttpError> {
    Ok(known_bearer(state, headers).await?.map(|caller| caller.on(stream_id)))
}

fn require_role(identity: &Identity, role: Role) -> Result<(), HttpError> {
    if identity.role >= role {
        return Ok(());
    }
    let text = format!("this needs the role {role}; yours here is {}", identity.role);
    Err(HttpError::new(ErrorCode::Forbidden, text))
}

/// Returns a stream as a caller may know it: moderators and higher roles all of it, others only
/// what is public.
fn shown_to(caller: Option<&Identity>, stream: &Stream) -> Stream {
    let is_staff = caller.is_some_and(|identity| identity.role.is_staff());
    if is_staff { stream.clone() } else { stream.public() }
}

fn known_stream(state: &GatewayState, stream_id: StreamId) -> Result<Arc<Stream>, HttpError> {
    state.streams.get(stream_id).ok_or_else(|| {
        let text = format!("there is no stream {stream_id}");
        ErrorBody::new(ErrorCode::UnknownStream, text).into()
    })
}
