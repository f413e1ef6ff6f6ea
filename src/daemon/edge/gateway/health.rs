//! `/healthz` and `/readyz`: whether the process is alive, and whether it takes viewers.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::state::Operations;
use crate::daemon::edge::http::{Answer, HttpError, json as json_answer};
use crate::protocol::ErrorCode;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};

/// Answers as long as the process is alive. A process that does not answer should be restarted.
pub(super) async fn healthz() -> Response {
    json_answer(StatusCode::OK, &json!({"status": "alive"}))
}

/// Answers 200 while the node serves its roles, 503 while it starts and while it drains.
pub(super) async fn readyz(State(operations): State<Operations>) -> Answer {
    if operations.board.is_ready() {
        return Ok(json_answer(StatusCode::OK, &json!({"status": "ready"})));
    }
    Err(not_ready(&operations))
}

fn not_ready(operations: &Operations) -> HttpError {
    let error = if operations.board.is_draining() {
        ErrorBody::new(ErrorCode::ShuttingDown, "the node is draining")
    } else {
        ErrorBody::new(ErrorCode::Overloaded, "the node is starting")
    };
    error.retry_after_ms(RETRY_AFTER_MS).into()
}
