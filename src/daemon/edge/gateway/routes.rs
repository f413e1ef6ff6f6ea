//! The paths of the gateway.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use super::state::{GatewayState, Operations};
use super::{api, entry, event_stream, exposition, health, page, polling, websocket};
use crate::daemon::edge::http::{HttpError, finish_changes};
use crate::protocol::ErrorCode;

/// Returns the paths of a node with the role `edge`: viewers, the API, health and metrics.
pub(super) fn router(state: Arc<GatewayState>, operations: Operations) -> Router {
    let api = Router::new()
        .route("/api/streams", get(api::streams::list).post(api::streams::create))
        .route("/api/streams/{stream_id}", get(api::streams::show).patch(api::streams::change))
        .route("/api/streams/{stream_id}/room", get(api::room::show).patch(api::room::change))
        .route(
            "/api/streams/{stream_id}/room/terms",
            get(api::room::terms).patch(api::room::change_terms),
        )
        .route("/api/streams/{stream_id}/room/clear", post(api::room::clear))
        .route("/api/streams/{stream_id}/moderation/queue", get(api::moderation::queue))
        .route("/api/streams/{stream_id}/moderation/{act}", post(api::moderation::act))
        .layer(from_fn_with_state(state.changes.clone(), finish_changes))
        // Submissions need no task of their own: ingest has them as soon as they are queued.
        .route(
            "/api/streams/{stream_id}/comments",
            post(api::comments::submit).get(api::comments::history),
        )
        .route("/api/streams/{stream_id}/reactions", post(api::reactions::react))
        .route("/api/streams/{stream_id}/events", get(event_stream::open))
        .route("/api/streams/{stream_id}/comments/poll", get(polling::poll))
        .layer(from_fn_with_state(state.clone(), refuse_changes_while_draining));
    Router::new()
        .route("/", get(page::index))
        .route("/overlay/{stream_id}", get(page::overlay))
        .route("/moderate/{stream_id}", get(page::desk))
        .route("/page/{file}", get(page::page_file))
        .route("/client/{*file}", get(page::client_file))
        .route("/ws/{stream_id}", get(websocket::upgrade))
        .route(
            "/stream/{stream_id}",
            get(websocket::upgrade).route_layer(from_fn(page::unless_upgrade)),
        )
        .merge(api)
        .with_state(state)
        .merge(operation_routes(operations))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(allow_any_origin))
}

/// Returns the paths of a node without the role `edge`: health and metrics.
pub(super) fn operations_router(operations: Operations) -> Router {
    operation_routes(operations)
        .fallback(no_viewers)
        .method_not_allowed_fallback(method_not_allowed)
}

fn operation_routes(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(exposition::metrics))
        .with_state(operations)
}

/// Refuses requests that store something while the node drains. Reads are answered until the end.
/// The connection is closed, so that a client that keeps one open reaches another node with its
/// next request.
async fn refuse_changes_while_draining(
    State(state): State<Arc<GatewayState>>,
    request: Request,
    next: Next,
) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && state.board.is_draining() {
        return entry::draining().into_response();
    }
    next.run(request).await
}

async fn no_viewers() -> HttpError {
    HttpError::new(ErrorCode::NotFound, "no such path: this node does not have the role `edge`")
}

async fn not_found() -> HttpError {
    // The text does not repeat the path, which may be long or hold control characters.
    HttpError::new(ErrorCode::NotFound, "no such path")
}

/// axum adds the `Allow` header.
async fn method_not_allowed(method: Method) -> HttpError {
    let text = format!("{method} is not allowed on this path; `Allow` lists the methods that are");
    HttpError::new(ErrorCode::MethodNotAllowed, text)
}

/// Allows every origin: no credential is ambient (there are no cookies), so none needs to be kept
/// out.
async fn allow_any_origin(request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    if preflight {
        let allowed = [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, Last-Event-ID"),
            (ACCESS_CONTROL_MAX_AGE, "86400"),
        ];
        for (name, value) in allowed {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}
