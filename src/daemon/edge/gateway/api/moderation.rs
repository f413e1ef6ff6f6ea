//! `/api/streams/{stream_id}/moderation`: the acts of moderators of a stream, and its review queue.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::public;
use super::{caller_with_role, limit_schema, parse_id, parse_limit};
use crate::daemon::edge::gateway::openapi::{CHANGE_ERRORS, Operation, STORE_ERRORS, Tag};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{
    Answer, HttpError, json_answer, read_json, read_optional_json, read_query,
};
use crate::daemon::stages::control::Actor;
use crate::protocol::ErrorCode::*;
use crate::protocol::admin::{Outcome, ReviewItem};
use crate::protocol::json::misfit;
use crate::protocol::moderation::UserCommentList;
use crate::protocol::{ErrorCode, ModerationAct, Role, StreamId, UserId};

/// The acts whose body may be left out, because all of its fields may be.
const ACTS_WITHOUT_BODY: [&str; 2] = ["unpin", "close_poll"];

/// The answer to an act: the part of its [`Outcome`] that is not about the nodes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(description = "The outcome of an act.")]
struct Done {
    /// The audit entry, by which the act can be taken back.
    audit_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    /// The stream that a ban or timeout holds on, or was lifted on; absent if that is all streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_id: Option<StreamId>,
    /// When a ban or timeout ends, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    /// The poll that was opened or closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_id: Option<u64>,
    /// The number of comments, if several may have been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
    /// The number of changes that were taken back, if the entry stands for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<u64>,
    /// The connections that a message was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    /// Whether a message is kept, because its user is not connected.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    kept: bool,
    /// Users that were left out, because of their role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

impl Done {
    fn new(act: &ModerationAct, outcome: Outcome) -> Self {
        let Outcome { audit_id, user_id, user_name, stream_id, poll_id, .. } = outcome;
        let Outcome { expires_at, changes, connections, kept, left_out, .. } = outcome;
        let is_undo = matches!(act, ModerationAct::Undo(_));
        let deleted = changes.filter(|_| !is_undo);
        let undone = changes.filter(|_| is_undo);
        let connections = connections.filter(|_| matches!(act, ModerationAct::Message(_)));
        Self {
            audit_id,
            user_id,
            user_name,
            stream_id,
            expires_at,
            poll_id,
            deleted,
            undone,
            connections,
            kept,
            left_out,
        }
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
    let fields: Value = if ACTS_WITHOUT_BODY.contains(&&*name) {
        let fields = read_optional_json(request, state.body_limits()).await?;
        fields.unwrap_or_else(|| json!({}))
    } else {
        read_json(request, state.body_limits()).await?
    };
    let act = ModerationAct::named(&name, fields).map_err(|error| {
        let text = format!("the body's fields are wrong: {}", misfit(&error));
        HttpError::new(ErrorCode::BadMessage, text)
    })?;
    let done = state.control.moderate(&caller, stream_id, &act).await;
    Ok(json_answer(StatusCode::OK, &Done::new(&act, done.map_err(public)?)))
}

pub(crate) fn describe_act(operation: &mut Operation<'_>, name: &str) {
    operation
        .named(
            Tag::Moderation,
            format!("moderate_{name}"),
            &format!("Carries out the act `{name}`"),
        )
        .needs_token(Role::Moderator)
        .body_of_variant::<ModerationAct>(name)
        .answer::<Done>(200, "The act is done.")
        .errors(errors_of(name))
        .errors(CHANGE_ERRORS);
    if ACTS_WITHOUT_BODY.contains(&name) {
        operation.body_may_be_absent();
    }
}

/// Returns the errors of an act besides those of every change.
///
/// # Panics
/// There is no such act. The document is made when a node starts, so no request meets this.
fn errors_of(act: &str) -> &'static [ErrorCode] {
    match act {
        "delete" | "clear_user" | "clear_room" | "timeout" | "ban" | "unban" => &[NotFound],
        "shadow" | "unshadow" | "pin" | "unpin" | "close_poll" | "message" => &[NotFound],
        "approve" | "reject" => &[NotFound, ReviewClaimed, ReviewDecided],
        "open_poll" => &[PollOpen],
        "undo" => &[NotFound, ReviewClaimed, ReviewDecided, PollOpen],
        other => panic!("the errors of the act `{other}` are not described"),
    }
}

/// The comments of a stream that wait for review.
#[derive(Debug, Serialize, JsonSchema)]
struct ReviewQueue {
    items: Vec<ReviewItem>,
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    limit: Option<String>,
}

fn limit_of(uri: &Uri) -> Result<usize, HttpError> {
    let ListQuery { limit } = read_query(uri)?;
    parse_limit(limit.as_deref())
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
    let limit = limit_of(&uri)?;
    let listed = state.control.review_queue_of(&Actor::bearer(&caller), stream_id, limit).await;
    Ok(json_answer(StatusCode::OK, &ReviewQueue { items: listed.map_err(public)? }))
}

pub(crate) fn describe_queue(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Moderation, "list_review_queue", "Lists the comments that wait for review")
        .needs_token(Role::Moderator)
        .query("limit", limit_schema(), "The most comments that are listed.")
        .answer::<ReviewQueue>(200, "The comments, the oldest first.")
        .errors(STORE_ERRORS);
}

/// Lists what a user wrote on a stream in the last day, the newest first, also what was deleted.
/// Needs the role moderator on the stream.
pub(crate) async fn comments_of_user(
    State(state): State<Arc<GatewayState>>,
    Path((stream_id, user_id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let user_id: UserId = parse_id(&user_id)?;
    caller_with_role(&state, &headers, stream_id, Role::Moderator).await?;
    let limit = limit_of(&uri)?;
    let listed = state.control.comments_on_stream(stream_id, user_id, limit).await;
    let comments: UserCommentList = listed.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &comments))
}

pub(crate) fn describe_comments_of_user(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Moderation, "list_comments_of_user", "Lists what a user wrote on a stream")
        .text("The comments of the last day, also those that were deleted or hidden.")
        .needs_token(Role::Moderator)
        .query("limit", limit_schema(), "The most comments that are listed.")
        .answer::<UserCommentList>(200, "The comments, the newest first.")
        .errors(&[LogUnavailable, NotFound, ShuttingDown])
        .errors(STORE_ERRORS);
}
