//! Whether the process lives, and whether it should be sent viewers.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::{Answer, HttpError, RETRY_MS, json as answer_json};
use super::state::Operations;
use crate::protocol::ErrorCode;
use crate::protocol::error_code::ErrorBody;

/// The process answers: restart it only if this does not.
pub(super) async fn healthz() -> Response {
    answer_json(StatusCode::OK, &json!({"status": "alive"}))
}

/// Ready for what its roles are; 503 while starting and while draining.
pub(super) async fn readyz(State(operations): State<Operations>) -> Answer {
    if operations.board.is_ready() {
        return Ok(answer_json(StatusCode::OK, &json!({"status": "ready"})));
    }
    Err(not_ready(&operations))
}

fn not_ready(operations: &Operations) -> HttpError {
    let (code, text) = match operations.board.is_draining() {
        true => (ErrorCode::ShuttingDown, "the node is draining"),
        false => (ErrorCode::Overloaded, "the node is starting"),
    };
    ErrorBody::new(code, text).retry_after_ms(RETRY_MS).into()
}
