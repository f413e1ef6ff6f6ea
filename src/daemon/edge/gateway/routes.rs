//! The paths of the gateway.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::base_path::Mounted;
use super::openapi::{Document, Routes, ServedDocument};
use super::parameters::refuse_other_bytes;
use super::state::{GatewayState, Operations};
use super::{api, entry, event_stream, exposition, health, openapi, page, polling, websocket};
use crate::daemon::edge::http::{HttpError, finish_changes};
use crate::protocol::{ErrorCode, ModerationAct};

const OPENAPI: &str = "/openapi.json";

/// Returns the paths of a node with the role `edge`: viewers, the API, health and metrics.
pub(super) fn router(state: Arc<GatewayState>, operations: Operations) -> Router {
    let base_path = state.config.base_path.clone();
    let mut document = Document::new(&base_path);
    let viewers = viewer_routes(state, &mut document);
    let operations = operation_routes(operations, &mut document);
    if base_path.is_empty() {
        return with_fallbacks(viewers.merge(operations)).layer(served(document));
    }
    // Viewers reach the paths below the base path only.
    let viewers = document_route(viewers, &mut document);
    let mounted = Mounted::new(&base_path, with_fallbacks(viewers));
    operations
        .fallback(move |request: Request| mounted.clone().answer(request))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(served(document))
}

/// Answers what no route takes, and lets scripts of other sites use the API.
fn with_fallbacks(router: Router) -> Router {
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(refuse_other_bytes))
        .layer(from_fn(allow_any_origin));
    checked(router)
}

/// Compares errors with the document, in tests.
#[cfg(test)]
fn checked(router: Router) -> Router {
    router.layer(from_fn(openapi::refuse_undocumented))
}

#[cfg(not(test))]
fn checked(router: Router) -> Router {
    router
}

/// Returns the paths of viewers: pages, sockets and the API.
fn viewer_routes(state: Arc<GatewayState>, document: &mut Document) -> Router {
    let steering =
        steering_routes(document).layer(from_fn_with_state(state.changes.clone(), finish_changes));
    let api = other_api_routes(steering, document)
        .layer(from_fn_with_state(state.clone(), refuse_changes_while_draining));
    // These are for people and WebSockets, and not in the document.
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
}

/// Adds what changes streams and rooms, and shows them.
fn steering_routes(document: &mut Document) -> Router<Arc<GatewayState>> {
    use api::{messages, moderation, room, streams};
    const STREAM: &str = "/api/streams/{stream_id}";
    const ROOM: &str = "/api/streams/{stream_id}/room";
    const TERMS: &str = "/api/streams/{stream_id}/room/terms";
    const MODERATION: &str = "/api/streams/{stream_id}/moderation";
    Routes::new(document)
        .get("/api/streams", streams::list, streams::describe_list)
        .post("/api/streams", streams::create, streams::describe_create)
        .get(STREAM, streams::show, streams::describe_show)
        .patch(STREAM, streams::change, streams::describe_change)
        .delete(STREAM, streams::delete, streams::describe_delete)
        .get(ROOM, room::show, room::describe_show)
        .patch(ROOM, room::change, room::describe_change)
        .get(TERMS, room::terms, room::describe_terms)
        .patch(TERMS, room::change_terms, room::describe_change_terms)
        .post("/api/streams/{stream_id}/room/clear", room::clear, room::describe_clear)
        .get(
            "/api/streams/{stream_id}/moderation/queue",
            moderation::queue,
            moderation::describe_queue,
        )
        .post("/api/streams/{stream_id}/messages", messages::send, messages::describe_send)
        .post_named(MODERATION, &ModerationAct::NAMES, moderation::act, moderation::describe_act)
        .into_router()
}

/// Adds what viewers send and read, and what moderators read. Submissions need no task of their
/// own: ingest has them as soon as they are queued.
fn other_api_routes(
    before: Router<Arc<GatewayState>>,
    document: &mut Document,
) -> Router<Arc<GatewayState>> {
    use api::{comments, history, messages, moderation, polls, reactions, replies};
    const COMMENTS: &str = "/api/streams/{stream_id}/comments";
    const EVENTS: &str = "/api/streams/{stream_id}/events";
    const POLL: &str = "/api/streams/{stream_id}/comments/poll";
    Routes::after(before, document)
        .get(
            "/api/streams/{stream_id}/users/{user_id}/comments",
            moderation::comments_of_user,
            moderation::describe_comments_of_user,
        )
        .post(COMMENTS, comments::submit, comments::describe_submit)
        .get(COMMENTS, history::history, history::describe_history)
        .get(
            "/api/streams/{stream_id}/comments/{comment_id}/replies",
            replies::replies,
            replies::describe_replies,
        )
        .get("/api/streams/{stream_id}/messages", messages::list, messages::describe_list)
        .post(
            "/api/streams/{stream_id}/messages/acknowledged",
            messages::acknowledge,
            messages::describe_acknowledge,
        )
        .get("/api/streams/{stream_id}/polls", polls::list, polls::describe_list)
        .post("/api/streams/{stream_id}/polls/{poll_id}/votes", polls::vote, polls::describe_vote)
        .post("/api/streams/{stream_id}/reactions", reactions::react, reactions::describe_react)
        .get_without_head(EVENTS, event_stream::open, event_stream::describe)
        .get_without_head(POLL, polling::poll, polling::describe)
        .into_router()
}

/// Returns the paths of a node without the role `edge`: health and metrics.
pub(super) fn operations_router(operations: Operations) -> Router {
    let mut document = Document::new("");
    operation_routes(operations, &mut document)
        .fallback(no_viewers)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(served(document))
}

/// Adds what a node of any role answers.
fn operation_routes(operations: Operations, document: &mut Document) -> Router {
    let router = Routes::new(document)
        .get("/healthz", health::healthz, health::describe_healthz)
        .get("/readyz", health::readyz, health::describe_readyz)
        .get("/metrics", exposition::metrics, exposition::describe)
        .into_router();
    document_route(router, document).with_state(operations)
}

/// Adds the document itself.
fn document_route<S>(before: Router<S>, document: &mut Document) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Routes::after(before, document).get(OPENAPI, openapi::show, openapi::describe).into_router()
}

fn served(document: Document) -> Extension<Arc<ServedDocument>> {
    Extension(Arc::new(document.into()))
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
    let path = request.uri().path();
    if !path.starts_with("/api/") && path != OPENAPI {
        return next.run(request).await;
    }
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let exposed = HeaderValue::from_static("ETag, Retry-After");
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    if preflight {
        let allowed = [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE"),
            (
                ACCESS_CONTROL_ALLOW_HEADERS,
                "Authorization, Content-Type, If-None-Match, Last-Event-ID",
            ),
            (ACCESS_CONTROL_MAX_AGE, "86400"),
        ];
        for (name, value) in allowed {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}
