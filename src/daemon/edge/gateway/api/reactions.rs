//! `/api/streams/{id}/reactions`: a reaction of a viewer that has no WebSocket.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::{caller, parse_id};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{HttpError, read_json};
use crate::protocol::StreamId;

/// As on a WebSocket, fields that are not known are ignored.
#[derive(Debug, Deserialize)]
struct NewReaction {
    reaction: String,
}

pub(crate) async fn react(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let identity = caller(&state, request.headers())?;
    state.watchable_stream(stream_id)?;
    let NewReaction { reaction } = read_json(request, state.body_limits()).await?;
    let now_ms = state.clock.now_ms();
    state.reactions.react(stream_id, identity.user_id, &reaction, now_ms)?;
    Ok(StatusCode::NO_CONTENT)
}
