//! `/api/streams/{id}/polls`: the polls of a stream, and votes of viewers without a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::error::public;
use super::{caller_on, known_caller_on, known_stream, parse_id, parse_limit_up_to};
use crate::daemon::base::handoff::{Vote, VoteReplyTo};
use crate::daemon::edge::gateway::openapi::{Operation, STORE_ERRORS, Tag};
use crate::daemon::edge::gateway::positions::parse_number;
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, json_answer, read_json, read_query};
use crate::protocol::ErrorCode::*;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::{ErrorCode, PollState, Role, StreamId};

/// Votes are counted within milliseconds, or refused. This ends a wait for an answer that was lost.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// As on a WebSocket, fields that are not known are ignored.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(description = "A vote. Fields that are not known are ignored.")]
struct NewVote {
    /// The option, counted from 0.
    option: u64,
}

#[derive(Debug, Deserialize)]
struct PollsQuery {
    limit: Option<String>,
}

/// The latest polls of a stream.
#[derive(Debug, Serialize, JsonSchema)]
struct Polls {
    #[schemars(with = "Vec<PollState>")]
    polls: Arc<[PollState]>,
}

/// The most polls of an answer, and their number without a `limit`.
const MAX_POLLS: usize = 100;

/// Lists the latest polls with their votes, newest first. Open to whom the history is open.
pub(crate) async fn list(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let PollsQuery { limit } = read_query(&uri)?;
    let limit = parse_limit_up_to(limit.as_deref(), MAX_POLLS, MAX_POLLS)?;
    if known_stream(&state, stream_id)?.anonymous {
        known_caller_on(&state, &headers, stream_id).await?;
    } else {
        caller_on(&state, &headers, stream_id).await?;
    }
    let polls = state.control.polls(stream_id, limit).await.map_err(public)?;
    Ok(json_answer(StatusCode::OK, &Polls { polls }))
}

pub(crate) fn describe_list(operation: &mut Operation<'_>) {
    let limit =
        json!({ "type": "integer", "minimum": 1, "maximum": MAX_POLLS, "default": MAX_POLLS });
    operation
        .named(Tag::Polls, "list_polls", "Lists the latest polls with their votes")
        .may_have_token()
        .query("limit", limit, "The most polls of the answer.")
        .answer::<Polls>(200, "The polls, newest first.")
        .errors(&[NotAuthenticated])
        .errors(STORE_ERRORS);
}

/// Counts a vote of the caller, which may be the first and only one of the user in the poll.
pub(crate) async fn vote(
    State(state): State<Arc<GatewayState>>,
    Path((stream_id, poll_id)): Path<(String, String)>,
    request: Request,
) -> Result<StatusCode, HttpError> {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let poll_id = parse_number(&poll_id, MAX_SAFE_INTEGER).ok_or_else(|| {
        let text = format!("the id of a poll is a whole number from 0 to {MAX_SAFE_INTEGER}");
        HttpError::new(ErrorCode::BadRequest, text)
    })?;
    let identity = caller_on(&state, request.headers(), stream_id).await?;
    state.watchable_stream(stream_id)?;
    let NewVote { option } = read_json(request, state.body_limits()).await?;
    state.reactions.admit(identity.user_id, state.clock.now_ms())?;
    let (reply, outcome) = oneshot::channel();
    let reply_to = VoteReplyTo::Caller(reply);
    let user_id = identity.user_id;
    let arrived_ms = state.clock.now_ms();
    let vote = Vote { stream_id, user_id, poll_id, option, arrived_ms, reply_to };
    state.votes.try_send(vote).map_err(|error| match error {
        TrySendError::Full(_) => {
            ErrorBody::new(ErrorCode::Overloaded, "too many votes are waiting to be counted")
                .retry_after_ms(RETRY_AFTER_MS)
        }
        TrySendError::Closed(_) => {
            ErrorBody::new(ErrorCode::ShuttingDown, "the node takes no more votes")
                .retry_after_ms(RETRY_AFTER_MS)
        }
    })?;
    match tokio::time::timeout(OUTCOME_TIMEOUT, outcome).await {
        Ok(Ok(outcome)) => {
            outcome?;
            Ok(StatusCode::NO_CONTENT)
        }
        Ok(Err(_)) | Err(_) => {
            let text =
                "it is not known whether the vote was counted: send it again, it counts once";
            let error = ErrorBody::new(ErrorCode::StoreUnavailable, text);
            Err(error.retry_after_ms(RETRY_AFTER_MS).into())
        }
    }
}

pub(crate) fn describe_vote(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Polls, "vote", "Votes in a poll")
        .text("The first vote of a user counts, and no other.")
        .text("A repetition of it is answered as it was, also after the poll has closed.")
        .needs_token(Role::Viewer)
        .body::<NewVote>()
        .empty(204, "The vote is counted.")
        .errors(&[UnknownOption, PollClosed, AlreadyVoted, RateLimited, StreamEnded])
        .errors(&[Overloaded, StoreUnavailable, ShuttingDown, Internal]);
}
