//! The paths of the admin socket.

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post};

use super::{AdminState, change, lines, preview, read, timeline};
use crate::daemon::edge::http::HttpError;
use crate::protocol::ErrorCode;

pub(super) fn router(state: AdminState) -> Router {
    Router::new()
        .route("/v1/status", get(read::status))
        .route("/v1/nodes", get(read::nodes))
        .route("/v1/streams", get(read::streams).post(change::create_stream))
        .route("/v1/streams/{id}", post(change::update_stream))
        .route("/v1/workers", get(read::workers))
        .route("/v1/bus", get(read::bus))
        .route("/v1/rules", get(read::rules))
        .route("/v1/lag", get(read::lag))
        .route("/v1/bans", get(read::bans))
        .route("/v1/who/{user}", get(read::who))
        .route("/v1/history/{stream}", get(read::history))
        .route("/v1/mod/queue", get(read::review_queue))
        .route("/v1/audit", get(read::audit))
        .route("/v1/timeline", get(timeline::timeline))
        .route("/v1/alerts", get(read::alerts))
        .route("/v1/alerts/ack", post(change::ack))
        .route("/v1/events", get(lines::events))
        .route("/v1/top", get(lines::top))
        .route("/v1/tail/{stream}", get(lines::tail))
        .route("/v1/ban", post(change::ban))
        .route("/v1/timeout", post(change::timeout))
        .route("/v1/unban", post(change::unban))
        .route("/v1/kick", post(change::kick))
        .route("/v1/dm", post(change::direct))
        .route("/v1/announce", post(change::announce))
        .route("/v1/delete", post(change::delete))
        .route("/v1/throttle", post(change::throttle))
        .route("/v1/drain", post(change::drain))
        .route("/v1/acknowledge", post(change::acknowledge))
        .route("/v1/undo", post(change::undo))
        .route("/v1/preview", post(preview::preview))
        .route("/v1/mod/approve", post(change::approve))
        .route("/v1/mod/reject", post(change::reject))
        .route("/v1/tokens", post(change::tokens))
        .route("/v1/tokens/users", post(change::tokens_of_users))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
}

async fn unknown_path(uri: Uri) -> HttpError {
    let shown: String = uri.path().chars().take(100).collect();
    HttpError::new(ErrorCode::NotFound, format!("no such path: {shown}"))
}

async fn wrong_method(method: Method, uri: Uri) -> HttpError {
    let shown: String = uri.path().chars().take(100).collect();
    HttpError::new(ErrorCode::MethodNotAllowed, format!("{shown} does not take {method}"))
}
