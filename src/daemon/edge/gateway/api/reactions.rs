//! `/api/streams/{id}/reactions`: a reaction of a viewer that has no WebSocket.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{caller_on, parse_id};
use crate::daemon::edge::gateway::openapi::{Operation, Tag};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{HttpError, read_json};
use crate::protocol::ErrorCode::*;
use crate::protocol::{Role, StreamId};

/// As on a WebSocket, fields that are not known are ignored.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(description = "A reaction to send. Fields that are not known are ignored.")]
struct NewReaction {
    /// One of the kinds of the server, such as `fire`; an error lists them.
    reaction: String,
}

pub(crate) async fn react(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let identity = caller_on(&state, request.headers(), stream_id).await?;
    state.watchable_stream(stream_id)?;
    let NewReaction { reaction } = read_json(request, state.body_limits()).await?;
    let now_ms = state.clock.now_ms();
    state.reactions.react(stream_id, identity.user_id, &reaction, now_ms)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn describe_react(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Comments, "react", "Sends a reaction")
        .needs_token(Role::Viewer)
        .body::<NewReaction>()
        .empty(204, "The reaction is counted.")
        .errors(&[UnknownReaction, RateLimited, StreamEnded, Overloaded, ShuttingDown]);
}
