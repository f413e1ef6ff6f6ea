//! `/api/streams/{id}/comments`: submit a comment, read the history.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::error::public;
use super::{caller_on, known_caller_on, known_stream, parse_id, parse_limit};
use crate::daemon::base::handoff::{Accepted, ReplyTo, Submission};
use crate::daemon::base::metrics::count;
use crate::daemon::edge::gateway::comment_pages::PageRequest;
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, json_answer, read_json};
use crate::daemon::engines::StoreError;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::message::check_ref;
use crate::protocol::{CommentId, ErrorCode, Seq, StreamId};

/// Ingest normally answers within milliseconds, or fails by itself. This ends a wait for an answer
/// that was lost.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// As on a WebSocket, fields that are not known are ignored.
#[derive(Debug, Deserialize)]
struct NewComment {
    message: String,
    #[serde(default, rename = "ref")]
    client_ref: Option<String>,
}

#[derive(Debug, Serialize)]
struct Created {
    comment_id: CommentId,
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
        reply_to: ReplyTo::Caller(reply),
    };
    Ok(Prepared { submission, outcome })
}

#[derive(Debug, Deserialize)]
struct PageQuery {
    before: Option<String>,
    limit: Option<String>,
}

/// Returns a page of history, newest first. Open to everybody who may watch the stream. A token
/// adds the caller's own comments that are hidden from others.
pub(crate) async fn history(
    State(state): State<Arc<GatewayState>>,
    Path(stream_id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let stream_id: StreamId = parse_id(&stream_id)?;
    let (before, limit) = page_bounds(&uri)?;
    let stream = known_stream(&state, stream_id)?;
    let caller = if stream.anonymous {
        known_caller_on(&state, &headers, stream_id).await?
    } else {
        Some(caller_on(&state, &headers, stream_id).await?)
    };
    let is_staff = caller.as_ref().is_some_and(|identity| identity.role.is_staff());
    let reader = caller.map(|identity| identity.user_id);
    let request = PageRequest { stream_id, before, limit, reader, is_staff };
    let page = state.history.page(request).await;
    let page = page.map_err(|error| match error {
        StoreError::NotFound(_) => {
            HttpError::new(ErrorCode::UnknownStream, format!("no stream {stream_id}"))
        }
        error => public(error),
    })?;
    Ok(([(CONTENT_TYPE, "application/json")], page).into_response())
}

fn page_bounds(uri: &Uri) -> Result<(Option<CommentId>, usize), HttpError> {
    let Query(query) = Query::<PageQuery>::try_from_uri(uri).map_err(|error| {
        HttpError::new(ErrorCode::BadRequest, format!("the query: {}", error.body_text()))
    })?;
    let before = query.before.as_deref().map(parse_id::<CommentId>).transpose()?;
    Ok((before, parse_limit(query.limit.as_deref())?))
}
