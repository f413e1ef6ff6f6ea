//! `/healthz` and `/readyz`: whether the process is alive, and whether it serves its roles.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::openapi::{Operation, Tag};
use super::state::Operations;
use crate::daemon::base::status::EVENT_LOG;
use crate::daemon::edge::http::{Answer, HttpError, json_answer};
use crate::protocol::ErrorCode::{self, *};
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};

/// The process is alive.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

/// The node serves its roles.
#[derive(Debug, Serialize, JsonSchema)]
struct Readiness {
    status: &'static str,
    /// Parts that are down although the node serves.
    impaired: Vec<String>,
}

/// Answers as long as the process is alive. A process that does not answer should be restarted.
pub(super) async fn healthz() -> Response {
    json_answer(StatusCode::OK, &Health { status: "alive" })
}

pub(super) fn describe_healthz(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Operation, "get_health", "Answers as long as the process is alive")
        .at_root()
        .answer::<Health>(200, "It is alive.");
}

/// Answers 200 while the node serves its roles, 503 with the reason while it starts, while it
/// drains, and while something is down without which it cannot do its work. What else is down
/// stands in `impaired`.
pub(super) async fn readyz(State(operations): State<Operations>) -> Answer {
    let outages = operations.board.outages();
    if operations.board.is_ready() && outages.essential.is_empty() {
        let body = Readiness { status: "ready", impaired: outages.others };
        return Ok(json_answer(StatusCode::OK, &body));
    }
    Err(not_ready(&operations, &outages.essential))
}

pub(super) fn describe_readyz(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Operation, "get_readiness", "Tells whether the node serves its roles")
        .at_root()
        .answer::<Readiness>(200, "It does.")
        .errors(&[ShuttingDown, Overloaded, LogUnavailable, StoreUnavailable]);
}

fn not_ready(operations: &Operations, outages: &[String]) -> HttpError {
    let error = if operations.board.is_draining() {
        ErrorBody::new(ErrorCode::ShuttingDown, "the node is draining")
    } else if !operations.board.is_ready() {
        ErrorBody::new(ErrorCode::Overloaded, "the node is starting")
    } else {
        let is_log = outages.iter().any(|outage| outage.starts_with(EVENT_LOG));
        let code = if is_log { ErrorCode::LogUnavailable } else { ErrorCode::StoreUnavailable };
        ErrorBody::new(code, format!("{}; `lc status` says why", outages.join("; ")))
    };
    error.retry_after_ms(RETRY_AFTER_MS).into()
}
