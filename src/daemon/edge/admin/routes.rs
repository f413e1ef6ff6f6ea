//! The paths of the admin API. A path that changes something has its role in `needed_role` of
//! `protocol/admin/session.rs`.

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use super::{
    AdminState, access, change, compression, dead_letters, doctor, lines, preview, read, talkers,
    text_trial, timeline,
};
use crate::daemon::edge::http::{HttpError, finish_changes};
use crate::protocol::ErrorCode;

pub(super) fn router(state: AdminState) -> Router {
    Router::new()
        .route("/v1/status", get(read::status))
        .route("/v1/nodes", get(read::nodes))
        .route("/v1/streams", get(read::streams).post(change::create_stream))
        .route("/v1/streams/{id}", post(change::update_stream))
        .route("/v1/streams/{id}/delete", post(change::delete_stream))
        .route("/v1/streams/{id}/talkers", get(talkers::talkers))
        .route("/v1/streams/{id}/room", get(read::room).post(change::update_room))
        .route("/v1/streams/{id}/room/terms", get(read::room_terms).post(change::update_terms))
        .route("/v1/streams/{id}/room/clear", post(change::clear_room))
        .route("/v1/streams/{id}/pin", post(change::pin))
        .route("/v1/streams/{id}/unpin", post(change::unpin))
        .route("/v1/streams/{id}/polls", get(read::polls).post(change::open_poll))
        .route("/v1/streams/{id}/polls/close", post(change::close_poll))
        .route("/v1/workers", get(read::workers))
        .route("/v1/bus", get(read::bus))
        .route("/v1/rules", get(read::rules))
        .route("/v1/lag", get(read::lag))
        .route("/v1/stores", get(read::stores))
        .route("/v1/doctor", get(doctor::doctor))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/requeue", post(dead_letters::requeue))
        .route("/v1/dead-letters/ack", post(dead_letters::ack))
        .route("/v1/bans", get(read::bans))
        .route("/v1/shadows", get(read::shadows))
        .route("/v1/grants", get(read::grants))
        .route("/v1/who/{user}", get(read::who))
        .route("/v1/users/{user}", get(read::user))
        .route("/v1/history/{stream}", get(read::history))
        .route("/v1/mod/queue", get(read::review_queue))
        .route("/v1/mod/decisions", get(read::decisions))
        .route("/v1/mod/offenders", get(read::offenders))
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
        .route("/v1/shadow", post(change::shadow))
        .route("/v1/unshadow", post(change::unshadow))
        .route("/v1/grant", post(change::grant))
        .route("/v1/revoke", post(change::revoke))
        .route("/v1/kick", post(change::kick))
        .route("/v1/dm", post(change::direct))
        .route("/v1/announce", post(change::announce))
        .route("/v1/delete", post(change::delete))
        .route("/v1/delete_of_user", post(change::delete_of_user))
        .route("/v1/batch", post(change::batch))
        .route("/v1/throttle", post(change::throttle))
        .route("/v1/drain", post(change::drain))
        .route("/v1/acknowledge", post(change::acknowledge))
        .route("/v1/undo", post(change::undo))
        .route("/v1/views", get(read::views).post(change::save_view))
        .route("/v1/views/forget", post(change::forget_view))
        .route("/v1/preview", post(preview::preview))
        .route("/v1/mod/claim", post(change::claim))
        .route("/v1/mod/approve", post(change::approve))
        .route("/v1/mod/reject", post(change::reject))
        .route("/v1/mod/restore", post(change::restore))
        .route("/v1/mod/forgive", post(change::forgive))
        .route("/v1/mod/test", post(text_trial::test))
        .route("/v1/tokens", post(change::tokens))
        .route("/v1/tokens/users", post(change::tokens_of_users))
        .route("/v1/tokens/admin", post(change::admin_token))
        .route("/v1/session", get(access::session))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.changes.clone(), finish_changes))
        .layer(from_fn(access::authorize))
        // The outermost: what is refused is answered through it, too.
        .layer(from_fn(compression::compress))
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
