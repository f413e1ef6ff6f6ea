//! `GET /api/streams/{id}/comments/{comment_id}/replies`: the replies to a comment.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

use super::error::public;
use super::{caller_on, known_caller_on, known_stream, limit_schema, parse_id, parse_limit};
use crate::daemon::edge::gateway::comment_pages::{Replies, RepliesRequest};
use crate::daemon::edge::gateway::openapi::{Operation, STORE_ERRORS, Tag};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, json_answer, read_query};
use crate::protocol::ErrorCode::NotAuthenticated;
use crate::protocol::{CommentId, StreamId};

#[derive(Debug, Deserialize)]
struct RepliesQuery {
    before: Option<String>,
    limit: Option<String>,
}

/// Returns a page of the replies to a comment, newest first, and their number. Open to everybody
/// who may read the history. A token adds the caller's own replies that are hidden from others.
pub(crate) async fn replies(
    State(state): State<Arc<GatewayState>>,
    Path((stream_id, parent_id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let parent_id: CommentId = parse_id(&parent_id)?;
    let query: RepliesQuery = read_query(&uri)?;
    let before = query.before.as_deref().map(parse_id::<CommentId>).transpose()?;
    let limit = parse_limit(query.limit.as_deref())?;
    let caller = if known_stream(&state, stream_id)?.anonymous {
        known_caller_on(&state, &headers, stream_id).await?
    } else {
        Some(caller_on(&state, &headers, stream_id).await?)
    };
    let is_staff = caller.as_ref().is_some_and(|identity| identity.role.is_staff());
    let reader = caller.map(|identity| identity.user_id);
    let request = RepliesRequest { stream_id, parent_id, before, limit, reader, is_staff };
    let replies = state.history.replies(request).await.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &replies))
}

pub(crate) fn describe_replies(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Comments, "list_replies", "Returns a page of the replies to a comment")
        .text("Replies that are deleted are left out.")
        .text("With a token, the caller's own replies that are hidden from others are shown.")
        .may_have_token()
        .query(
            "before",
            json!({ "type": "string", "format": "uuid" }),
            "The `next_before` of the page before. Absent: the newest page.",
        )
        .query("limit", limit_schema(), "The most replies of the page.")
        .answer::<Replies>(200, "The page, newest first. Without `next_before` it is the last one.")
        .errors(&[NotAuthenticated])
        .errors(STORE_ERRORS);
}
