//! `/api/streams`: streams, their settings, and changes to them.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use schemars::JsonSchema;
use serde::Serialize;

use super::error::public;
use super::{
    caller_with_role, known_bearer, known_caller_on, known_stream, parse_id, require_admin,
    shown_to, token_bearer,
};
use crate::daemon::edge::gateway::openapi::{CHANGE_ERRORS, Operation, Tag};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, json_answer, read_json};
use crate::daemon::stages::control::Actor;
use crate::protocol::ErrorCode::*;
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::{Identity, Role, StreamId, UserScope};

/// All streams.
#[derive(Debug, Serialize, JsonSchema)]
struct StreamList {
    streams: Vec<Stream>,
}

/// Lists all streams, by id. Open to everybody: titles are public, comments may not be.
pub(crate) async fn list(State(state): State<Arc<GatewayState>>, headers: HeaderMap) -> Answer {
    let caller = known_bearer(&state, &headers, None).await?;
    let now_ms = state.clock.now_ms();
    let shown = |stream: &Arc<Stream>| {
        let identity = caller.as_ref().map(|caller| caller.on(stream.stream_id));
        let is_banned = |identity: &Identity| {
            let who = UserScope { user_id: identity.user_id, stream_id: Some(stream.stream_id) };
            state.admission.ban_error(who).is_some()
        };
        shown_to(identity.filter(|identity| !is_banned(identity)).as_ref(), stream, now_ms)
    };
    let mut streams: Vec<_> = state.streams.all().iter().map(shown).collect();
    state.history.take_hidden_pins(&mut streams).await;
    Ok(json_answer(StatusCode::OK, &StreamList { streams }))
}

pub(crate) fn describe_list(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Streams, "list_streams", "Lists all streams, by id")
        .text("Moderators and higher roles are told all settings of their rooms.")
        .text("Without a token, streams closed to anonymous viewers show no pin and no poll.")
        .may_have_token()
        .answer::<StreamList>(200, "All streams.");
}

pub(crate) async fn show(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let stream = known_stream(&state, parse_id(&stream_id)?)?;
    let caller = known_caller_on(&state, &headers, stream.stream_id).await?;
    let mut shown = [shown_to(caller.as_ref(), &stream, state.clock.now_ms())];
    state.history.take_hidden_pins(&mut shown).await;
    let [shown] = shown;
    Ok(json_answer(StatusCode::OK, &shown))
}

pub(crate) fn describe_show(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Streams, "get_stream", "Returns a stream")
        .text("Moderators and higher roles are told all settings of the room.")
        .text("Without a token, a stream closed to anonymous viewers shows no pin and no poll.")
        .may_have_token()
        .answer::<Stream>(200, "The stream.");
}

/// Creates a stream. Needs the role admin, which is one on all streams.
pub(crate) async fn create(State(state): State<Arc<GatewayState>>, request: Request) -> Answer {
    let caller = token_bearer(&state, request.headers(), None).await?.everywhere();
    require_admin(&caller)?;
    let new: NewStream = read_json(request, state.body_limits()).await?;
    let created = state.control.create_stream(&Actor::bearer(&caller), &new).await;
    let outcome = created.map_err(public)?;
    Ok(json_answer(StatusCode::CREATED, &outcome.stream))
}

pub(crate) fn describe_create(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Streams, "create_stream", "Creates a stream")
        .text("With a start time, the stream is scheduled and goes live by itself.")
        .needs_token(Role::Admin)
        .body::<NewStream>()
        .answer::<Stream>(201, "The stream.")
        .errors(&[StreamExists])
        .errors(CHANGE_ERRORS);
}

/// Deletes a stream. Needs the role admin, which is one on all streams.
pub(crate) async fn delete(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let caller = token_bearer(&state, &headers, None).await?.everywhere();
    require_admin(&caller)?;
    let deleted = state.control.delete_stream(&Actor::bearer(&caller), stream_id).await;
    deleted.map_err(public)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) fn describe_delete(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Streams, "delete_stream", "Deletes a stream")
        .text("Its viewers are disconnected, and its id is not given again.")
        .needs_token(Role::Admin)
        .empty(204, "The stream is deleted.")
        .errors(CHANGE_ERRORS);
}

/// Changes a stream. Needs the role broadcaster on it.
pub(crate) async fn change(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let caller = caller_with_role(&state, request.headers(), stream_id, Role::Broadcaster).await?;
    let patch: StreamPatch = read_json(request, state.body_limits()).await?;
    let changed = state.control.update_stream(&Actor::bearer(&caller), stream_id, &patch).await;
    let outcome = changed.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &outcome.stream))
}

pub(crate) fn describe_change(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Streams, "change_stream", "Changes a stream")
        .text("Absent fields stay unchanged. Ending a stream disconnects its viewers.")
        .needs_token(Role::Broadcaster)
        .body::<StreamPatch>()
        .answer::<Stream>(200, "The stream as it is now.")
        .errors(CHANGE_ERRORS);
}
