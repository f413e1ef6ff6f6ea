//! `/api/streams`: the events, their settings, and changes to them.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{caller_with_role, known_stream, parse_id};
use crate::daemon::gateway::answer::{Answer, HttpError, json as answer_json, store_error};
use crate::daemon::gateway::body::read_json;
use crate::daemon::gateway::state::GatewayState;
use crate::daemon::registry::NodeCommand;
use crate::daemon::store::metadata::NewAudit;
use crate::protocol::stream::{NewStream, Stream, StreamPatch};
use crate::protocol::{ErrorCode, Identity, Role, StreamId};

const MAX_TITLE_CHARS: usize = 200;

/// All streams, by id. Open to everybody: a title is no secret, what is said may be.
pub(in crate::daemon::gateway) async fn list(State(state): State<Arc<GatewayState>>) -> Response {
    answer_json(StatusCode::OK, &json!({"streams": state.streams.all()}))
}

pub(in crate::daemon::gateway) async fn show(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
) -> Answer {
    let stream = known_stream(&state, parse_id(&stream_id)?)?;
    Ok(answer_json(StatusCode::OK, &*stream))
}

/// Needs an admin.
pub(in crate::daemon::gateway) async fn create(
    State(state): State<Arc<GatewayState>>,
    request: Request,
) -> Answer {
    let who = caller_with_role(&state, request.headers(), Role::Admin)?;
    let new: NewStream = read_json(request, state.body_limits()).await?;
    check_title(&new.title)?;
    if let Some(stream_id) = new.stream_id {
        // JSON took any number; the id must fit every store.
        stream_id.to_string().parse::<StreamId>().map_err(|error| {
            HttpError::new(ErrorCode::BadMessage, format!("`stream_id`: {error}"))
        })?;
    }
    let detail = json!({"title": new.title, "state": new.state, "anonymous": new.anonymous,
                        "moderation": new.moderation});
    let stream = state
        .metadata
        .create_stream(new, state.clock.now_ms())
        .await
        .map_err(|error| store_error(&error, ErrorCode::UnknownStream))?;
    changed(&state, &who, "stream_create", &stream, detail).await;
    Ok(answer_json(StatusCode::CREATED, &stream))
}

/// Needs a broadcaster.
pub(in crate::daemon::gateway) async fn change(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let who = caller_with_role(&state, request.headers(), Role::Broadcaster)?;
    let patch: StreamPatch = read_json(request, state.body_limits()).await?;
    if let Some(title) = &patch.title {
        check_title(title)?;
    }
    let detail = json!(patch);
    let stream = state
        .metadata
        .update_stream(stream_id, patch, state.clock.now_ms())
        .await
        .map_err(|error| store_error(&error, ErrorCode::UnknownStream))?;
    changed(&state, &who, "stream_change", &stream, detail).await;
    Ok(answer_json(StatusCode::OK, &stream))
}

fn check_title(title: &str) -> Result<(), HttpError> {
    if title.chars().count() > MAX_TITLE_CHARS || title.chars().any(char::is_control) {
        let text = format!(
            "`title` may have {MAX_TITLE_CHARS} characters, none of them control characters"
        );
        return Err(HttpError::new(ErrorCode::BadMessage, text));
    }
    Ok(())
}

/// Makes a stored change known everywhere. What fails here is caught up with: every node reads the
/// streams anew every few seconds.
async fn changed(
    state: &GatewayState,
    who: &Identity,
    action: &'static str,
    stream: &Stream,
    detail: serde_json::Value,
) {
    let stream_id = stream.stream_id;
    let audit = NewAudit {
        at: state.clock.now_ms(),
        actor: format!("user {} ({})", who.user_id, who.name),
        action,
        target: format!("stream {stream_id}"),
        detail,
    };
    if let Err(error) = state.metadata.audit(audit).await {
        tracing::warn!(%error, %stream_id, action, "a change is missing from the audit log");
    }
    // This node first, so that its caller reads what it wrote.
    if let Err(error) = state.streams.reload().await {
        tracing::warn!(%error, %stream_id, "this node has yet to learn of a stream's change");
    }
    match state.registry.nodes().await {
        Ok(nodes) => {
            for node in nodes {
                let command = NodeCommand::ReloadStream { stream_id };
                if let Err(error) = state.registry.command(&node, command).await {
                    tracing::warn!(%error, %node, %stream_id, "a node has yet to learn of a change");
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, %stream_id, "other nodes have yet to learn of a change");
        }
    }
}
