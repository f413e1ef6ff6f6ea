//! `/api/streams`: streams, their settings, and changes to them.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;

use super::error::public;
use super::{
    caller_with_role, known_bearer, known_caller_on, known_stream, parse_id, require_role,
    shown_to, token_bearer,
};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, json_answer, read_json};
use crate::daemon::stages::control::Actor;
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::{Role, StreamId};

/// Lists all streams, by id. Open to everybody: titles are public, comments may not be.
pub(crate) async fn list(State(state): State<Arc<GatewayState>>, headers: HeaderMap) -> Answer {
    let caller = known_bearer(&state, &headers).await?;
    let shown = |stream: &Arc<Stream>| {
        let identity = caller.as_ref().map(|caller| caller.on(stream.stream_id));
        shown_to(identity.as_ref(), stream)
    };
    let streams: Vec<_> = state.streams.all().iter().map(shown).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "streams": streams })))
}

pub(crate) async fn show(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let stream = known_stream(&state, parse_id(&stream_id)?)?;
    let caller = known_caller_on(&state, &headers, stream.stream_id).await?;
    Ok(json_answer(StatusCode::OK, &shown_to(caller.as_ref(), &stream)))
}

/// Creates a stream. Needs the role admin, which is one on all streams.
pub(crate) async fn create(State(state): State<Arc<GatewayState>>, request: Request) -> Answer {
    let caller = token_bearer(&state, request.headers()).await?.everywhere();
    require_role(&caller, Role::Admin)?;
    let new: NewStream = read_json(request, state.body_limits()).await?;
    let created = state.control.create_stream(&Actor::bearer(&caller), &new).await;
    let outcome = created.map_err(public)?;
    Ok(json_answer(StatusCode::CREATED, &outcome.stream))
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
