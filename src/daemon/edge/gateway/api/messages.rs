//! `/api/streams/{id}/messages`: direct messages of the caller, and those that are kept for it. The
//! latter are the same on every stream.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::public;
use super::{caller_on, known_stream, parse_id};
use crate::daemon::edge::gateway::openapi::{Operation, STORE_ERRORS, Tag};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, json_answer, read_json};
use crate::protocol::ErrorCode::*;
use crate::protocol::admin::DirectRequest;
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::{ErrorCode, KeptMessage, Role, StreamId};

/// The messages that are kept for the caller.
#[derive(Debug, Serialize, JsonSchema)]
struct KeptMessages {
    messages: Vec<KeptMessage>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(description = "The last message that the caller has read.")]
struct Acknowledged {
    /// The `message_id` of the last message that was read.
    up_to: u64,
}

/// Lists the messages, oldest first.
pub(crate) async fn list(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let identity = caller_on(&state, &headers, stream_id).await?;
    known_stream(&state, stream_id)?;
    state.messages.admit_read(identity.user_id, state.clock.now_ms())?;
    let messages = state.control.kept_messages(identity.user_id).await.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &KeptMessages { messages }))
}

pub(crate) fn describe_list(operation: &mut Operation<'_>) {
    operation
        .named(
            Tag::Messages,
            "list_messages",
            "Lists the direct messages that are kept for the caller",
        )
        .text("They are the same on every stream.")
        .needs_token(Role::Viewer)
        .answer::<KeptMessages>(200, "The messages, oldest first.")
        .errors(&[RateLimited])
        .errors(STORE_ERRORS);
}

/// Forgets those that the caller has read.
pub(crate) async fn acknowledge(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let identity = caller_on(&state, request.headers(), stream_id).await?;
    known_stream(&state, stream_id)?;
    state.messages.admit_read(identity.user_id, state.clock.now_ms())?;
    let Acknowledged { up_to } = read_json(request, state.body_limits()).await?;
    if up_to > MAX_SAFE_INTEGER {
        let text = format!("`up_to` must be a whole number from 0 to {MAX_SAFE_INTEGER}");
        return Err(HttpError::new(ErrorCode::BadMessage, text));
    }
    state.control.acknowledge_messages(identity.user_id, up_to).await.map_err(public)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn describe_acknowledge(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Messages, "acknowledge_messages", "Forgets messages that the caller has read")
        .text("An `up_to` above the last message forgets all messages so far, and none that is sent later.")
        .needs_token(Role::Viewer)
        .body::<Acknowledged>()
        .empty(204, "The messages up to this one are forgotten.")
        .errors(STORE_ERRORS)
        .errors(&[RateLimited, ShuttingDown]);
}

/// Sends a message of the caller to another user, on all of whose connections it is shown, on
/// whichever streams.
pub(crate) async fn send(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let sender = caller_on(&state, request.headers(), stream_id).await?;
    state.watchable_stream(stream_id)?;
    let door = &state.messages;
    door.may_send(&sender)?;
    let request: DirectRequest = read_json(request, state.body_limits()).await?;
    let now_ms = state.clock.now_ms();
    door.admit_message(sender.user_id, now_ms)?;
    let message = state.control.check_message(&sender, &request).await.map_err(public)?;
    if door.reaches_its_user(&sender, stream_id, message.text(), now_ms).await? {
        state.control.send_message(&sender, message).await.map_err(public)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn describe_send(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Messages, "send_message", "Sends a direct message to another user")
        .text("Only where `messages.between_users` is on, by users who may comment everywhere.")
        .text("It is kept until the user acknowledges it.")
        .needs_token(Role::Viewer)
        .body::<DirectRequest>()
        .empty(204, "The message is kept, and was sent to the user's connections.")
        .errors(&[MessagesOff, TimedOut, NotFound, StreamEnded, RateLimited, ModerationRejected])
        .errors(&[Overloaded])
        .errors(STORE_ERRORS)
        .errors(&[ShuttingDown]);
}
