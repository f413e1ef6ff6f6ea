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

/// Returns the caller, who must have sent a token.
fn caller(state: &GatewayState, headers: &HeaderMap) -> Result<Arc<Identity>, HttpError> {
    let token = bearer(headers)?.ok_or_else(|| {
        let text = "this needs a token: `Authorization: Bearer <token>`";
        HttpError::new(ErrorCode::NotAuthenticated, text)
    })?;
    Ok(state.admission.identify(token)?.identity)
}

/// Returns the caller, who must have at least this role.
fn caller_with_role(
    state: &GatewayState,
    headers: &HeaderMap,
    role: Role,
) -> Result<Arc<Identity>, HttpError> {
    let identity = caller(state, headers)?;
    if identity.role < role {
        let text = format!("this needs the role {role}; the token's is {}", identity.role);
        return Err(HttpError::new(ErrorCode::Forbidden, text));
    }
    Ok(identity)
}

/// Returns the caller if it sent a token, which must be valid.
fn known_caller(
    state: &GatewayState,
    headers: &HeaderMap,
) -> Result<Option<Arc<Identity>>, HttpError> {
    bearer(headers)?.map(|_| caller(state, headers)).transpose()
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
