//! `POST /api/streams/{id}/comments`: submit a comment.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::{caller_on, known_stream, parse_id};
use crate::daemon::base::handoff::{Accepted, ReplyTo, Submission};
use crate::daemon::base::metrics::count;
use crate::daemon::edge::gateway::openapi::{Operation, Tag};
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, json_answer, read_json};
use crate::protocol::ErrorCode::*;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::message::{MAX_REF_CHARS, check_ref, read_parent_id};
use crate::protocol::schema::optional_parent_id;
use crate::protocol::{CommentId, ErrorCode, Role, Seq, StreamId};

/// Ingest normally answers within milliseconds, or fails by itself. This ends a wait for an answer
/// that was lost.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// As on a WebSocket, fields that are not known are ignored.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(description = "A comment to send. Fields that are not known are ignored.")]
struct NewComment {
    /// The text: at most 500 characters and 2,000 bytes, unless the server is configured otherwise.
    message: String,
    /// Chosen by the client. A repetition with the same `ref` is stored and shown only once.
    #[serde(default, rename = "ref")]
    #[schemars(length(min = 1, max = MAX_REF_CHARS))]
    client_ref: Option<String>,
    /// The comment that this one answers: an id of version 1, whose time has passed.
    #[serde(default, deserialize_with = "read_parent_id")]
    #[schemars(schema_with = "optional_parent_id")]
    parent_id: Option<CommentId>,
}

/// A comment that is in the event log.
#[derive(Debug, Serialize, JsonSchema)]
struct Created {
    comment_id: CommentId,
    /// Its position in the stream.
    seq: Seq,
}

pub(crate) async fn submit(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    let accepted = accept(&state, &stream_id, request).await?;
    let created = Created { comment_id: accepted.comment_id, seq: accepted.seq };
    Ok(json_answer(StatusCode::CREATED, &created))
}

pub(crate) fn describe_submit(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Comments, "submit_comment", "Submits a comment")
        .text("The comment is stored, in the order of the stream, when the answer arrives.")
        .text("An answer 202 means that it waits for review: do not send it again.")
        .needs_token(Role::Viewer)
        .body::<NewComment>()
        .answer::<Created>(201, "The comment is stored.")
        .errors(&[CommentEmpty, CommentTooLong, ControlCharacters, StreamNotLive, HeldForReview])
        .errors(&[RateLimited, SlowMode, TimedOut, SubscribersOnly, FollowersOnly, EmotesOnly])
        .errors(&[LinksRefused, SaidBefore, ModerationRejected, ModerationLate])
        .errors(&[Overloaded, StorageFull, LogUnavailable, StoreUnavailable, ShuttingDown]);
}

async fn accept(
    state: &GatewayState,
    stream_id: &str,
    request: Request,
) -> Result<Accepted, HttpError> {
    let prepared = prepare(state, stream_id, request).await;
    let Prepared { submission, outcome } = prepared.inspect_err(|error| {
        count(&state.board.metrics().comments_refused, error.body.code.as_str());
    })?;
    state.submissions.try_send(submission).map_err(|error| match error {
        TrySendError::Full(_) => {
            ErrorBody::new(ErrorCode::Overloaded, "too many comments are waiting to be checked")
                .retry_after_ms(RETRY_AFTER_MS)
        }
        TrySendError::Closed(_) => {
            ErrorBody::new(ErrorCode::ShuttingDown, "the node takes no more comments")
                .retry_after_ms(RETRY_AFTER_MS)
        }
    })?;
    match tokio::time::timeout(OUTCOME_TIMEOUT, outcome).await {
        Ok(Ok(outcome)) => Ok(outcome?),
        Ok(Err(_)) | Err(_) => {
            let text = "it is not known whether the comment was stored: send it again with the same \
                        `ref`, it will be shown once";
            Err(ErrorBody::new(ErrorCode::LogUnavailable, text)
                .retry_after_ms(RETRY_AFTER_MS)
                .into())
        }
    }
}

struct Prepared {
    submission: Submission,
    outcome: oneshot::Receiver<Result<Accepted, ErrorBody>>,
}

/// Checks what can be checked before a comment is queued. Ingest checks the rest: rate, length,
/// content, whether the stream is live.
async fn prepare(
    state: &GatewayState,
    stream_id: &str,
    request: Request,
) -> Result<Prepared, HttpError> {
    let stream_id: StreamId = parse_id(stream_id)?;
    let identity = Arc::new(caller_on(state, request.headers(), stream_id).await?);
    known_stream(state, stream_id)?;
    let comment: NewComment = read_json(request, state.body_limits()).await?;
    if let Some(client_ref) = &comment.client_ref {
        check_ref(client_ref).map_err(|text| HttpError::new(ErrorCode::BadMessage, text))?;
    }
    let (reply, outcome) = oneshot::channel();
    let submission = Submission {
        stream_id,
        identity,
        message: comment.message,
        client_ref: comment.client_ref.map(Into::into),
        parent_id: comment.parent_id,
        reply_to: ReplyTo::Caller(reply),
    };
    Ok(Prepared { submission, outcome })
}
