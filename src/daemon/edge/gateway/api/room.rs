//! `/api/streams/{stream_id}/room`: the rules of a room, for viewers and its moderators.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::public;
use super::{caller_with_role, known_caller_on, known_stream, parse_id, shown_to};
use crate::daemon::edge::gateway::openapi::{CHANGE_ERRORS, Operation, STORE_ERRORS, Tag};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, json_answer, read_json};
use crate::daemon::stages::control::Actor;
use crate::daemon::stages::moderation::check_terms;
use crate::protocol::ErrorCode::*;
use crate::protocol::admin::{ClearRoomRequest, Room};
use crate::protocol::room::{RoomPatch, RoomTerm, TermsPatch};
use crate::protocol::{ErrorCode, Role, StreamId};

/// Returns the rules of a room, and to moderators all its settings.
pub(crate) async fn show(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let stream = known_stream(&state, parse_id(&stream_id)?)?;
    let caller = known_caller_on(&state, &headers, stream.stream_id).await?;
    let shown = shown_to(caller.as_ref(), &stream, state.clock.now_ms());
    Ok(json_answer(StatusCode::OK, &Room::from(shown)))
}

pub(crate) fn describe_show(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Rooms, "get_room", "Returns the rules of a room")
        .text("Moderators and higher roles are told all settings.")
        .may_have_token()
        .answer::<Room>(200, "The room.");
}

/// Changes the rules of a room. Needs the role moderator.
pub(crate) async fn change(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let caller = caller_with_role(&state, request.headers(), stream_id, Role::Moderator).await?;
    let patch: RoomPatch = read_json(request, state.body_limits()).await?;
    let changed = state.control.update_room(&Actor::bearer(&caller), stream_id, &patch).await;
    let outcome = changed.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &outcome.stream.map(Room::from)))
}

pub(crate) fn describe_change(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Rooms, "change_room", "Changes the rules of a room")
        .needs_token(Role::Moderator)
        .body::<RoomPatch>()
        .answer::<Room>(200, "The room as it is now.")
        .errors(CHANGE_ERRORS);
}

/// The blocked terms of a room.
#[derive(Debug, Serialize, JsonSchema)]
struct TermList {
    terms: Vec<RoomTerm>,
}

/// Lists the blocked terms of a room. Needs the role moderator: nobody else is told them.
pub(crate) async fn terms(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    caller_with_role(&state, request.headers(), stream_id, Role::Moderator).await?;
    terms_answer(&state, stream_id).await
}

pub(crate) fn describe_terms(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Rooms, "list_terms", "Lists the blocked terms of a room")
        .needs_token(Role::Moderator)
        .answer::<TermList>(200, "The terms.")
        .errors(STORE_ERRORS);
}

async fn terms_answer(state: &GatewayState, stream_id: StreamId) -> Answer {
    let terms = state.control.room_terms(stream_id).await.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &TermList { terms }))
}

/// Adds and removes blocked terms of a room. Needs the role moderator.
pub(crate) async fn change_terms(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let caller = caller_with_role(&state, request.headers(), stream_id, Role::Moderator).await?;
    let patch: TermsPatch = read_json(request, state.body_limits()).await?;
    check_terms(&patch)
        .map_err(|bad| HttpError::new(ErrorCode::BadMessage, format!("`add`: {bad}")))?;
    let actor = Actor::bearer(&caller);
    state.control.update_terms(&actor, stream_id, &patch).await.map_err(public)?;
    terms_answer(&state, stream_id).await
}

pub(crate) fn describe_change_terms(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Rooms, "change_terms", "Adds and removes blocked terms of a room")
        .needs_token(Role::Moderator)
        .body::<TermsPatch>()
        .answer::<TermList>(200, "The terms as they are now.")
        .errors(&[NotFound])
        .errors(CHANGE_ERRORS);
}

/// The number of comments that were deleted.
#[derive(Debug, Serialize, JsonSchema)]
struct Cleared {
    deleted: Option<u64>,
    /// Authors whose comments stay, because of their role.
    left_out: Vec<String>,
}

/// Deletes the latest comments of a room. Needs the role moderator.
pub(crate) async fn clear(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let caller = caller_with_role(&state, request.headers(), stream_id, Role::Moderator).await?;
    let clear: ClearRoomRequest = read_json(request, state.body_limits()).await?;
    let cleared = state.control.clear_room(&Actor::bearer(&caller), stream_id, &clear).await;
    let outcome = cleared.map_err(public)?;
    let cleared = Cleared { deleted: outcome.changes, left_out: outcome.left_out };
    Ok(json_answer(StatusCode::OK, &cleared))
}

pub(crate) fn describe_clear(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Rooms, "clear_room", "Deletes the latest comments of a room")
        .text("As the act `clear_room`.")
        .needs_token(Role::Moderator)
        .body::<ClearRoomRequest>()
        .answer::<Cleared>(200, "The comments are deleted.")
        .errors(&[NotFound])
        .errors(CHANGE_ERRORS);
}
