//! `/healthz` and `/readyz`: whether the process is alive, and whether it serves its roles.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::state::Operations;
use crate::daemon::base::status::EVENT_LOG;
use crate::daemon::edge::http::{Answer, HttpError, json_answer};
use crate::protocol::ErrorCode;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};

/// Answers as long as the process is alive. A process that does not answer should be restarted.
pub(super) async fn healthz() -> Response {
    json_answer(StatusCode::OK, &json!({"status": "alive"}))
}

/// Answers 200 while the node serves its roles, 503 with the reason while it starts, while it
/// drains, and while something is down without which it cannot do its work. What else is down
/// stands in `impaired`.
pub(super) async fn readyz(State(operations): State<Operations>) -> Answer {
    let outages = operations.board.outages();
    if operations.board.is_ready() && outages.essential.is_empty() {
        let body = json!({"status": "ready", "impaired": outages.others});
        return Ok(json_answer(StatusCode::OK, &body));
    }
    Err(not_ready(&operations, &outages.essential))
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
