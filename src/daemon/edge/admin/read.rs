//! Requests that change nothing and have one answer.

use axum::extract::State;
use serde::Deserialize;

use super::AdminState;
use super::error::Answer;
use super::request::{Params, PathParam, Requester, within};
use crate::daemon::edge::http::{HttpError, Json};
use crate::protocol::admin::{
    Alert, AuditEntry, BusNode, Cluster, ConsumerLag, Grant, HistoryPage, ModerationDecision,
    NodeStatus, Offender, ReviewItem, Room, RulesInForce, Sanction, SavedView, Shadow, Status,
    StoreStatus, StreamStatus, UserDetail, UserRef, Who, WorkerStatus,
};
use crate::protocol::room::RoomTerm;
use crate::protocol::{CommentId, ErrorCode, PollState, StreamId};

/// The most rows of one answer.
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitParams {
    #[serde(default = "default_limit")]
    limit: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryParams {
    #[serde(default)]
    before: Option<String>,
    #[serde(default = "default_limit")]
    limit: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionParams {
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    before: Option<u64>,
    #[serde(default = "default_limit")]
    limit: usize,
    /// Also the comments whose deletion was taken back, as accepted.
    #[serde(default)]
    restored: bool,
}

fn default_limit() -> usize {
    100
}

/// Returns a list that needed no answer of another node.
fn listed<T>(items: Vec<T>) -> Json<Cluster<T>> {
    Json(Cluster { items, unreachable: Vec::new() })
}

pub(super) async fn status(State(state): State<AdminState>) -> Json<Status> {
    Json(state.parts.status().await)
}

pub(super) async fn nodes(State(state): State<AdminState>) -> Json<Cluster<NodeStatus>> {
    Json(state.parts.nodes().await)
}

pub(super) async fn streams(State(state): State<AdminState>) -> Json<Cluster<StreamStatus>> {
    Json(state.parts.streams().await)
}

pub(super) async fn alerts(State(state): State<AdminState>) -> Json<Cluster<Alert>> {
    let view = state.parts.cluster().await;
    Json(Cluster { items: state.parts.alerts_of(&view), unreachable: view.unreachable })
}

pub(super) async fn workers(State(state): State<AdminState>) -> Json<Cluster<WorkerStatus>> {
    Json(state.parts.all_workers().await)
}

pub(super) async fn bus(State(state): State<AdminState>) -> Json<Cluster<BusNode>> {
    Json(state.parts.bus_nodes().await)
}

pub(super) async fn stores(State(state): State<AdminState>) -> Json<Cluster<StoreStatus>> {
    Json(state.parts.stores().await)
}

pub(super) async fn rules(State(state): State<AdminState>) -> Json<RulesInForce> {
    Json(state.parts.about.rules.clone())
}

pub(super) async fn lag(State(state): State<AdminState>) -> Answer<Json<Cluster<ConsumerLag>>> {
    Ok(Json(state.parts.consumer_lag().await?))
}

pub(super) async fn bans(State(state): State<AdminState>) -> Answer<Json<Cluster<Sanction>>> {
    Ok(listed(state.parts.control.bans().await?))
}

pub(super) async fn shadows(State(state): State<AdminState>) -> Answer<Json<Cluster<Shadow>>> {
    Ok(listed(state.parts.control.shadows().await?))
}

pub(super) async fn grants(State(state): State<AdminState>) -> Answer<Json<Cluster<Grant>>> {
    Ok(listed(state.parts.control.grants().await?))
}

pub(super) async fn views(State(state): State<AdminState>) -> Answer<Json<Cluster<SavedView>>> {
    Ok(listed(state.parts.control.views().await?))
}

pub(super) async fn room(
    State(state): State<AdminState>,
    PathParam(stream_id): PathParam<StreamId>,
) -> Answer<Json<Room>> {
    Ok(Json(state.parts.control.room(stream_id).await?))
}

pub(super) async fn room_terms(
    State(state): State<AdminState>,
    PathParam(stream_id): PathParam<StreamId>,
) -> Answer<Json<Cluster<RoomTerm>>> {
    Ok(listed(state.parts.control.room_terms(stream_id).await?))
}

/// Polls that are listed.
const MAX_POLLS: usize = 100;

pub(super) async fn polls(
    State(state): State<AdminState>,
    PathParam(stream_id): PathParam<StreamId>,
) -> Answer<Json<Cluster<PollState>>> {
    Ok(listed(state.parts.control.polls(stream_id, MAX_POLLS).await?.to_vec()))
}

pub(super) async fn who(
    State(state): State<AdminState>,
    PathParam(user): PathParam<String>,
) -> Answer<Json<Who>> {
    Ok(Json(state.parts.control.who(&UserRef(user)).await?))
}

pub(super) async fn user(
    State(state): State<AdminState>,
    PathParam(user): PathParam<String>,
) -> Answer<Json<UserDetail>> {
    Ok(Json(state.parts.control.user_detail(&UserRef(user)).await?))
}

pub(super) async fn review_queue(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    Params(LimitParams { limit }): Params<LimitParams>,
) -> Answer<Json<Cluster<ReviewItem>>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    Ok(listed(state.parts.control.review_queue(&actor, limit).await?))
}

pub(super) async fn decisions(
    State(state): State<AdminState>,
    Params(DecisionParams { before, limit, restored }): Params<DecisionParams>,
) -> Answer<Json<Cluster<ModerationDecision>>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    let control = &state.parts.control;
    Ok(listed(if restored {
        control.decisions_for_training(before, limit).await?
    } else {
        control.decisions(before, limit).await?
    }))
}

pub(super) async fn offenders(
    State(state): State<AdminState>,
    Params(LimitParams { limit }): Params<LimitParams>,
) -> Answer<Json<Cluster<Offender>>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    Ok(listed(state.parts.control.offenders(limit).await?))
}

pub(super) async fn audit(
    State(state): State<AdminState>,
    Params(LimitParams { limit }): Params<LimitParams>,
) -> Answer<Json<Cluster<AuditEntry>>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    Ok(listed(state.parts.control.audit_log(limit).await?))
}

pub(super) async fn history(
    State(state): State<AdminState>,
    PathParam(stream_id): PathParam<StreamId>,
    Params(HistoryParams { before, limit }): Params<HistoryParams>,
) -> Answer<Json<HistoryPage>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    let before: Option<CommentId> = match before.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|error| {
            HttpError::new(ErrorCode::BadRequest, format!("`before`: {error}"))
        })?),
    };
    state.parts.control.require_stream(stream_id).await?;
    let store = &state.parts.control.parts().comments;
    let comments = store.page(stream_id, before, limit).await?;
    let mut next_before = None;
    if let Some(oldest) = comments.last().filter(|_| comments.len() == limit) {
        // A full page may be the last one. Only a comment beyond it shows that it is not.
        let beyond = store.page(stream_id, Some(oldest.comment_id), 1).await?;
        next_before = (!beyond.is_empty()).then_some(oldest.comment_id);
    }
    Ok(Json(HistoryPage { comments, next_before }))
}
