//! `/api/streams/{stream_id}/room`: the rules of a room, for viewers and its moderators.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};

use super::error::public;
use super::{caller_with_role, known_caller_on, known_stream, parse_id, shown_to};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, json_answer, read_json};
use crate::daemon::stages::control::Actor;
use crate::daemon::stages::moderation::check_terms;
use crate::protocol::admin::{ClearRoomRequest, Room};
use crate::protocol::room::{RoomPatch, TermsPatch};
use crate::protocol::{ErrorCode, Role, StreamId};

/// Returns the rules of a room, and to moderators all its settings.
pub(crate) async fn show(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let stream = known_stream(&state, parse_id(&stream_id)?)?;
    let caller = known_caller_on(&state, &headers, stream.stream_id).await?;
    let shown = shown_to(caller.as_ref(), &stream);
    Ok(json_answer(StatusCode::OK, &Room::from(shown)))
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

async fn terms_answer(state: &GatewayState, stream_id: StreamId) -> Answer {
    let terms = state.control.room_terms(stream_id).await.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &serde_json::json!({ "terms": terms })))
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
    let deleted = serde_json::json!({ "deleted": outcome.changes, "left_out": outcome.left_out });
    Ok(json_answer(StatusCode::OK, &deleted))
}
