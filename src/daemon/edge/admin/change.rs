//! Requests that change something. Each calls the operation of control that has its name.

use axum::extract::State;

use super::access::Caller;
use super::error::Answer;
use super::request::{JsonBody, OptionalJsonBody, PathParam, Requester, UsersJsonBody};
use super::{AdminState, change_text};
use crate::daemon::edge::http::{HttpError, Json};
use crate::daemon::stages::moderation::check_terms;
use crate::protocol::admin::{
    AckRequest, AcknowledgeRequest, AdminTokenRequest, AnnounceRequest, BatchRequest, ClaimRequest,
    ClearRoomRequest, ClosePollRequest, DeleteOfUserRequest, DeleteRequest, DirectRequest,
    DrainRequest, ForgetViewRequest, GrantRequest, OpenPollRequest, Outcome, PinRequest,
    RestoreRequest, ReviewItem, ReviewRequest, RevokeRequest, SanctionRequest, SaveViewRequest,
    ShadowRequest, ThrottleRequest, TokenRequest, Tokens, UnbanRequest, UndoRequest, UnpinRequest,
    UserRequest, UserTokensRequest, audit_action, role_to_undo,
};
use crate::protocol::room::{RoomPatch, TermsPatch};
use crate::protocol::stream::{NewStream, StreamPatch};
use crate::protocol::{ErrorCode, StreamId};

macro_rules! changes {
    ($($handler:ident($body:ident<$request:ty>);)*) => {
        $(pub(super) async fn $handler(
            State(state): State<AdminState>,
            Requester(actor): Requester,
            $body(request): $body<$request>,
        ) -> Answer<Json<Outcome>> {
            let outcome = state.parts.control.$handler(&actor, &request).await?;
            let text = change_text::$handler(&request, &outcome);
            state.parts.record_outcome(actor.name(), stringify!($handler), &text, &outcome);
            Ok(Json(outcome))
        })*
    };
}

changes! {
    ban(JsonBody<SanctionRequest>);
    timeout(JsonBody<SanctionRequest>);
    unban(JsonBody<UnbanRequest>);
    shadow(JsonBody<ShadowRequest>);
    unshadow(JsonBody<UserRequest>);
    grant(JsonBody<GrantRequest>);
    revoke(JsonBody<RevokeRequest>);
    kick(JsonBody<UserRequest>);
    direct(JsonBody<DirectRequest>);
    announce(JsonBody<AnnounceRequest>);
    delete(JsonBody<DeleteRequest>);
    delete_of_user(JsonBody<DeleteOfUserRequest>);
    batch(UsersJsonBody<BatchRequest>);
    throttle(JsonBody<ThrottleRequest>);
    drain(OptionalJsonBody<DrainRequest>);
    acknowledge(JsonBody<AcknowledgeRequest>);
    approve(JsonBody<ReviewRequest>);
    reject(JsonBody<ReviewRequest>);
    restore(JsonBody<RestoreRequest>);
    forgive(JsonBody<UserRequest>);
    create_stream(JsonBody<NewStream>);
    save_view(JsonBody<SaveViewRequest>);
    forget_view(JsonBody<ForgetViewRequest>);
}

/// Takes back only what the caller may do itself.
pub(super) async fn undo(
    State(state): State<AdminState>,
    caller: Caller,
    JsonBody(request): JsonBody<UndoRequest>,
) -> Answer<Json<Outcome>> {
    let control = &state.parts.control;
    if let Some(entry) = control.parts().metadata.audit_entry(request.audit_id).await? {
        caller.require(role_to_undo(&entry.action))?;
    }
    let outcome = control.undo(&caller.actor, &request).await?;
    let text = change_text::undo(&request, &outcome);
    state.parts.record_outcome(caller.actor.name(), audit_action::UNDO, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn update_stream(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(patch): JsonBody<StreamPatch>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.update_stream(&actor, stream_id, &patch).await?;
    let text = change_text::update_stream(&patch, &outcome);
    state.parts.record_outcome(actor.name(), audit_action::UPDATE_STREAM, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn delete_stream(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.delete_stream(&actor, stream_id).await?;
    let text = change_text::delete_stream(stream_id);
    state.parts.record_outcome(actor.name(), audit_action::DELETE_STREAM, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn update_room(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(patch): JsonBody<RoomPatch>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.update_room(&actor, stream_id, &patch).await?;
    let text = change_text::update_room(&patch, stream_id);
    state.parts.record_outcome(actor.name(), audit_action::ROOM, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn update_terms(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(patch): JsonBody<TermsPatch>,
) -> Answer<Json<Outcome>> {
    check_terms(&patch)
        .map_err(|bad| HttpError::new(ErrorCode::BadMessage, format!("`add`: {bad}")))?;
    let outcome = state.parts.control.update_terms(&actor, stream_id, &patch).await?;
    let text = change_text::update_terms(&patch, stream_id);
    state.parts.record_outcome(actor.name(), audit_action::ROOM_TERMS, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn clear_room(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(request): JsonBody<ClearRoomRequest>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.clear_room(&actor, stream_id, &request).await?;
    let text = change_text::clear_room(&request, stream_id, &outcome);
    state.parts.record_outcome(actor.name(), audit_action::CLEAR_ROOM, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn pin(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(request): JsonBody<PinRequest>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.pin(&actor, stream_id, &request).await?;
    let text = change_text::pin(&request, stream_id);
    state.parts.record_outcome(actor.name(), audit_action::PIN, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn unpin(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(request): JsonBody<UnpinRequest>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.unpin(&actor, stream_id, &request).await?;
    let text = change_text::unpin(stream_id);
    state.parts.record_outcome(actor.name(), audit_action::UNPIN, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn open_poll(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(request): JsonBody<OpenPollRequest>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.open_poll(&actor, stream_id, &request).await?;
    let text = change_text::open_poll(stream_id);
    state.parts.record_outcome(actor.name(), audit_action::OPEN_POLL, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn close_poll(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(request): JsonBody<ClosePollRequest>,
) -> Answer<Json<Outcome>> {
    let outcome = state.parts.control.close_poll(&actor, stream_id, &request).await?;
    let text = change_text::close_poll(stream_id);
    state.parts.record_outcome(actor.name(), audit_action::CLOSE_POLL, &text, &outcome);
    Ok(Json(outcome))
}

pub(super) async fn ack(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    JsonBody(request): JsonBody<AckRequest>,
) -> Answer<Json<Outcome>> {
    Ok(Json(state.parts.acknowledge(&actor, &request).await?))
}

pub(super) async fn claim(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    JsonBody(request): JsonBody<ClaimRequest>,
) -> Answer<Json<ReviewItem>> {
    Ok(Json(state.parts.control.claim(&actor, &request).await?))
}

pub(super) async fn tokens(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Answer<Json<Tokens>> {
    Ok(Json(state.parts.control.mint(&actor, &request, &state.parts.minter).await?))
}

pub(super) async fn tokens_of_users(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    UsersJsonBody(request): UsersJsonBody<UserTokensRequest>,
) -> Answer<Json<Tokens>> {
    let parts = &state.parts;
    Ok(Json(parts.control.mint_for_users(&actor, &request, &parts.minter).await?))
}

pub(super) async fn admin_token(
    State(state): State<AdminState>,
    Requester(actor): Requester,
    JsonBody(request): JsonBody<AdminTokenRequest>,
) -> Answer<Json<Tokens>> {
    let parts = &state.parts;
    Ok(Json(parts.control.mint_admin(&actor, &request, &parts.admin_minter).await?))
}
