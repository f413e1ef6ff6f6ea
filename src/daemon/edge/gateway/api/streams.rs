//! `/api/streams`: the events, their settings, and changes to them.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{caller_with_role, known_stream, parse_id};
use crate::daemon::edge::gateway::answer::{Answer, control_error, json as answer_json};
use crate::daemon::edge::gateway::body::read_json;
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::stages::control::Actor;
use crate::protocol::stream::{NewStream, StreamPatch};
use crate::protocol::{Role, StreamId};

/// All streams, by id. Open to everybody: a title is no secret, what is said may be.
pub(crate) async fn list(State(state): State<Arc<GatewayState>>) -> Response {
    answer_json(StatusCode::OK, &json!({"streams": state.streams.all()}))
}

pub(crate) async fn show(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
) -> Answer {
    let stream = known_stream(&state, parse_id(&stream_id)?)?;
    Ok(answer_json(StatusCode::OK, &*stream))
}

/// Needs an admin.
pub(crate) async fn create(State(state): State<Arc<GatewayState>>, request: Request) -> Answer {
    let who = caller_with_role(&state, request.headers(), Role::Admin)?;
    let new: NewStream = read_json(request, state.body_limits()).await?;
    let made = state.control.create_stream(&Actor::bearer(&who), &new).await;
    let outcome = made.map_err(|error| control_error(&error))?;
    Ok(answer_json(StatusCode::CREATED, &outcome.stream))
}

/// Needs a broadcaster.
pub(crate) async fn change(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let who = caller_with_role(&state, request.headers(), Role::Broadcaster)?;
    let patch: StreamPatch = read_json(request, state.body_limits()).await?;
    let changed = state.control.update_stream(&Actor::bearer(&who), stream_id, &patch).await;
    let outcome = changed.map_err(|error| control_error(&error))?;
    Ok(answer_json(StatusCode::OK, &outcome.stream))
}
