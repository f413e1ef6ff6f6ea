//! Requests about records that a consumer could not process.

use axum::extract::State;
use serde::Deserialize;

use super::AdminState;
use super::error::Answer;
use super::request::{JsonBody, Params, Requester, within};
use crate::daemon::edge::http::Json;
use crate::protocol::StreamId;
use crate::protocol::admin::{
    Cluster, DeadLetterItem, DeadLettersOutcome, DeadLettersRequest, EventKind,
};
use crate::protocol::quantity::counted;

/// The most rows of one answer.
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListParams {
    #[serde(default = "default_limit")]
    limit: usize,
    #[serde(default)]
    stream: Option<u64>,
}

fn default_limit() -> usize {
    100
}

pub(super) async fn list(
    State(state): State<AdminState>,
    Params(ListParams { limit, stream }): Params<ListParams>,
) -> Answer<Json<Cluster<DeadLetterItem>>> {
    let limit = within("limit", limit, 1, MAX_LIMIT)?;
    let items = state.parts.control.dead_letters(stream.map(StreamId), limit).await?;
    Ok(Json(Cluster { items, unreachable: Vec::new() }))
}

pub(super) async fn requeue(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    JsonBody(request): JsonBody<DeadLettersRequest>,
) -> Answer<Json<DeadLettersOutcome>> {
    let outcome = state.parts.control.requeue_dead_letters(&actor, &request).await?;
    record(&state, actor.name(), "requeued", &outcome);
    Ok(Json(outcome))
}

pub(super) async fn ack(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    JsonBody(request): JsonBody<DeadLettersRequest>,
) -> Answer<Json<DeadLettersOutcome>> {
    let outcome = state.parts.control.acknowledge_dead_letters(&actor, &request).await?;
    record(&state, actor.name(), "acknowledged", &outcome);
    Ok(Json(outcome))
}

fn record(state: &AdminState, actor: &str, done: &str, outcome: &DeadLettersOutcome) {
    let Some(last) = outcome.audit_ids.last() else { return };
    let letters = counted(outcome.done.len() as u64, "dead letter");
    let text = format!("{actor}: {done} {letters}");
    state.parts.record_event(EventKind::Audit, "dead letters", text, Some(*last));
}
