//! The REST API under `/api`.

pub(super) mod comments;
mod error;
pub(super) mod history;
pub(super) mod messages;
pub(super) mod moderation;
pub(super) mod polls;
pub(super) mod reactions;
pub(super) mod replies;
pub(super) mod room;
pub(super) mod streams;

pub(super) use error::public_body;

use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::admission::Caller;
use super::comment_pages::MAX_LIMIT;
use super::parameters::bearer;
use super::positions::parse_number;
use super::state::GatewayState;
use crate::daemon::edge::http::HttpError;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::ids::InvalidId;
use crate::protocol::stream::Stream;
use crate::protocol::{ErrorCode, Identity, Role, StreamId};

const DEFAULT_LIMIT: usize = 100;

/// Parses an id from a path or a query.
pub(super) fn parse_id<T: std::str::FromStr<Err = InvalidId>>(text: &str) -> Result<T, HttpError> {
    text.parse()
        .map_err(|error: InvalidId| HttpError::new(ErrorCode::BadRequest, error.to_string()))
}

/// Parses the `limit` of a query: 1 to [`MAX_LIMIT`].
fn parse_limit(text: Option<&str>) -> Result<usize, HttpError> {
    parse_limit_up_to(text, MAX_LIMIT, DEFAULT_LIMIT)
}

/// Parses a `limit` from 1 to `max`.
fn parse_limit_up_to(text: Option<&str>, max: usize, default: usize) -> Result<usize, HttpError> {
    let Some(text) = text else { return Ok(default) };
    let limit = parse_number(text, max as u64).filter(|limit| *limit > 0);
    limit.map(|limit| limit as usize).ok_or_else(|| {
        let text = format!("`limit` must be a number from 1 to {max}");
        HttpError::new(ErrorCode::BadRequest, text)
    })
}

/// Returns the schema of such a `limit`.
fn limit_schema() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT })
}

/// Returns the user of the token that the caller must have sent, who is not banned from the stream,
/// or from all if none is named.
async fn token_bearer(
    state: &GatewayState,
    headers: &HeaderMap,
    stream_id: Option<StreamId>,
) -> Result<Caller, HttpError> {
    let token = bearer(headers)?.ok_or_else(|| {
        let text = "this needs a token: `Authorization: Bearer <token>`";
        HttpError::new(ErrorCode::NotAuthenticated, text)
    })?;
    Ok(state.admission.recognize(token, stream_id).await?)
}

/// Returns the user of the token if the caller sent one, as [`token_bearer`].
async fn known_bearer(
    state: &GatewayState,
    headers: &HeaderMap,
    stream_id: Option<StreamId>,
) -> Result<Option<Caller>, HttpError> {
    match bearer(headers)? {
        Some(_) => token_bearer(state, headers, stream_id).await.map(Some),
        None => Ok(None),
    }
}

/// Returns the caller on a stream, who must have sent a token.
async fn caller_on(
    state: &GatewayState,
    headers: &HeaderMap,
    stream_id: StreamId,
) -> Result<Identity, HttpError> {
    Ok(token_bearer(state, headers, Some(stream_id)).await?.on(stream_id))
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
    let caller = known_bearer(state, headers, Some(stream_id)).await?;
    Ok(caller.map(|caller| caller.on(stream_id)))
}

fn require_role(identity: &Identity, role: Role) -> Result<(), HttpError> {
    if identity.role >= role {
        return Ok(());
    }
    let text = format!("this needs the role {role}; yours here is {}", identity.role);
    Err(HttpError::new(ErrorCode::Forbidden, text))
}

/// Checks that a caller is admin of all streams.
fn require_admin(caller: &Identity) -> Result<(), HttpError> {
    if caller.role >= Role::Admin {
        return Ok(());
    }
    let text = format!("this needs the role admin on all streams; yours is {}", caller.role);
    Err(HttpError::new(ErrorCode::Forbidden, text))
}

/// Returns a stream as a caller may know it: moderators and higher roles all of it, others only
/// what is public, and what its viewers are shown only if they may watch it. A closed
/// poll is left out, so that callers need not compare its time with their own clock.
fn shown_to(caller: Option<&Identity>, stream: &Stream, now_ms: u64) -> Stream {
    let stream = stream.clone().with_open_poll(now_ms);
    if caller.is_some_and(|identity| identity.role.is_staff()) {
        return stream;
    }
    let public = stream.public();
    if stream.anonymous || caller.is_some() { public } else { public.unwatched() }
}

fn known_stream(state: &GatewayState, stream_id: StreamId) -> Result<Arc<Stream>, HttpError> {
    state.streams.get(stream_id).ok_or_else(|| {
        let text = format!("there is no stream {stream_id}");
        ErrorBody::new(ErrorCode::UnknownStream, text).into()
    })
}
