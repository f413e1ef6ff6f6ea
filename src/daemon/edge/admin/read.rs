//! Requests that change nothing and are answered at once.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::Desk;
use super::answer::{Answer, Failure, listed};
use super::request::{Params, PathParam, within};
use crate::protocol::admin::{
    AuditEntry, Cluster, ConsumerLag, HistoryPage, NodeStatus, ReviewItem, Sanction, Status,
    StreamStatus, UserRef, Who, WorkerStatus,
};
use crate::protocol::{CommentId, ErrorCode, StreamId};

/// Rows of one answer.
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    #[serde(default = "hundred")]
    limit: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    #[serde(default)]
    before: Option<String>,
    #[serde(default = "hundred")]
    limit: usize,
}

fn hundred() -> usize {
    100
}

pub(super) async fn status(State(desk): State<Desk>) -> Json<Status> {
    Json(desk.parts.status().await)
}

pub(super) async fn nodes(State(desk): State<Desk>) -> Json<Cluster<NodeStatus>> {
    Json(desk.parts.nodes().await)
}

pub(super) async fn streams(State(desk): State<Desk>) -> Json<Cluster<StreamStatus>> {
    Json(desk.parts.streams().await)
}

pub(super) async fn workers(State(desk): State<Desk>) -> Json<Cluster<WorkerStatus>> {
    Json(desk.parts.all_workers().await)
}

pub(super) async fn lag(State(desk): State<Desk>) -> Answer<Cluster<ConsumerLag>> {
    Ok(listed(desk.parts.control.parts().log.lag().await?))
}

pub(super) async fn bans(State(desk): State<Desk>) -> Answer<Cluster<Sanction>> {
    Ok(listed(desk.parts.control.bans().await?))
}

pub(super) async fn who(
    State(desk): State<Desk>,
    PathParam(user): PathParam<String>,
) -> Answer<Who> {
    Ok(Json(desk.parts.control.who(&UserRef(user)).await?))
}

pub(super) async fn review_queue(
    State(desk): State<Desk>,
    Params(Limit { limit }): Params<Limit>,
) -> Answer<Cluster<ReviewItem>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    Ok(listed(desk.parts.control.review_queue(limit).await?))
}

pub(super) async fn audit(
    State(desk): State<Desk>,
    Params(Limit { limit }): Params<Limit>,
) -> Answer<Cluster<AuditEntry>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    Ok(listed(desk.parts.control.parts().metadata.audit_log(limit).await?))
}

pub(super) async fn history(
    State(desk): State<Desk>,
    PathParam(stream_id): PathParam<StreamId>,
    Params(Before { before, limit }): Params<Before>,
) -> Answer<HistoryPage> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    let before: Option<CommentId> =
        match before.as_deref() {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|error| {
                Failure::new(ErrorCode::BadRequest, format!("`before`: {error}"))
            })?),
        };
    desk.parts.control.require_stream(stream_id).await?;
    let store = &desk.parts.control.parts().comments;
    let comments = store.page(stream_id, before, limit).await?;
    let mut next_before = None;
    if let Some(oldest) = comments.last().filter(|_| comments.len() == limit) {
        // A full page may be the last one: only a comment beyond it says that it is not.
        let beyond = store.page(stream_id, Some(oldest.comment_id), 1).await?;
        next_before = (!beyond.is_empty()).then_some(oldest.comment_id);
    }
    Ok(Json(HistoryPage { comments, next_before }))
}
