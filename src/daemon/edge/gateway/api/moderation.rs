//! `/api/streams/{stream_id}/moderation`: what the moderators of a stream do, and its review queue.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::error::public;
use super::{caller_with_role, parse_id, parse_limit};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, json_answer, read_json};
use crate::daemon::stages::control::Actor;
use crate::protocol::admin::Outcome;
use crate::protocol::json::misfit;
use crate::protocol::{ErrorCode, ModerationAct, Role, StreamId, UserId};

/// The answer to an act: the part of its [`Outcome`] that is not about the nodes.
#[derive(Debug, Serialize)]
struct Done {
    audit_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    /// When a ban or timeout ends, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    /// The number of comments, if several may have been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
    /// The number of changes that were taken back, if the entry stands for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

impl Done {
    fn new(act: &ModerationAct, outcome: Outcome) -> Self {
        let Outcome { audit_id, user_id, user_name, expires_at, changes, left_out, .. } = outcome;
        let is_undo = matches!(act, ModerationAct::Undo(_));
        let deleted = changes.filter(|_| !is_undo);
        let undone = changes.filter(|_| is_undo);
        Self { audit_id, user_id, user_name, expires_at, deleted, undone, left_out }
    }
}

/// Carries out the act that ends the path; the body has its fields. Needs the role moderator on the
/// stream.
pub(crate) async fn act(
    State(state): State<Arc<GatewayState>>,
    Path((stream_id, name)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let caller = caller_with_role(&state, request.headers(), stream_id, Role::Moderator).await?;
    if !ModerationAct::NAMES.contains(&&*name) {
        let names = ModerationAct::NAMES.join(", ");
        let text = format!("there is no such act; those there are: {names}");
        return Err(HttpError::new(ErrorCode::NotFound, text));
    }
    let fields: serde_json::Value = read_json(request, state.body_limits()).await?;
    let act = ModerationAct::named(&name, fields).map_err(|error| {
        let text = format!("the body's fields are wrong: {}", misfit(&error));
        HttpError::new(ErrorCode::BadMessage, text)
    })?;
    let done = state.control.moderate(&caller, stream_id, &act).await;
    Ok(json_answer(StatusCode::OK, &Done::new(&act, done.map_err(public)?)))
}

#[derive(Debug, Deserialize)]
struct QueueQuery {
    limit: Option<String>,
}

/// Lists the comments of a stream that wait for review. Needs the role moderator on the stream.
pub(crate) async fn queue(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let caller = caller_with_role(&state, &headers, stream_id, Role::Moderator).await?;
    let Query(QueueQuery { limit }) = Query::try_from_uri(&uri).map_err(|error| {
        HttpError::new(ErrorCode::BadRequest, format!("the query: {}", error.body_text()))
    })?;
    let limit = parse_limit(limit.as_deref())?;
    let listed = state.control.review_queue_of(&Actor::bearer(&caller), stream_id, limit).await;
    Ok(json_answer(StatusCode::OK, &json!({ "items": listed.map_err(public)? })))
}
