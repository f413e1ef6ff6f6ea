//! Requests that change something: decode, let control do it, encode.

use axum::Json;
use axum::extract::State;

use super::Desk;
use super::answer::Answer;
use super::request::{By, JsonBody, OptionalJsonBody, PathParam};
use crate::protocol::StreamId;
use crate::protocol::admin::{
    AnnounceRequest, DeleteRequest, DirectRequest, DrainRequest, Outcome, ReviewRequest,
    SanctionRequest, ThrottleRequest, TokenRequest, Tokens, UserRequest,
};
use crate::protocol::stream::{NewStream, StreamPatch};

macro_rules! changes {
    ($($handler:ident($body:ident<$request:ty>);)*) => {
        $(pub(super) async fn $handler(
            State(desk): State<Desk>,
            By(actor): By,
            $body(request): $body<$request>,
        ) -> Answer<Outcome> {
            Ok(Json(desk.parts.control.$handler(&actor, &request).await?))
        })*
    };
}

changes! {
    ban(JsonBody<SanctionRequest>);
    timeout(JsonBody<SanctionRequest>);
    unban(JsonBody<UserRequest>);
    kick(JsonBody<UserRequest>);
    direct(JsonBody<DirectRequest>);
    announce(JsonBody<AnnounceRequest>);
    delete(JsonBody<DeleteRequest>);
    throttle(JsonBody<ThrottleRequest>);
    drain(OptionalJsonBody<DrainRequest>);
    approve(JsonBody<ReviewRequest>);
    reject(JsonBody<ReviewRequest>);
    create_stream(JsonBody<NewStream>);
}

pub(super) async fn update_stream(
    State(desk): State<Desk>,
    By(actor): By,
    PathParam(stream_id): PathParam<StreamId>,
    JsonBody(patch): JsonBody<StreamPatch>,
) -> Answer<Outcome> {
    Ok(Json(desk.parts.control.update_stream(&actor, stream_id, &patch).await?))
}

pub(super) async fn tokens(
    State(desk): State<Desk>,
    By(actor): By,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Answer<Tokens> {
    Ok(Json(desk.parts.control.mint(&actor, &request, &desk.parts.minter).await?))
}
