//! `GET /api/streams/{id}/comments`: read the history, from the newest comment on, before a
//! comment, or as it was at a moment of the stream.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, VARY};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::error::public;
use super::{caller_on, known_caller_on, known_stream, limit_schema, parse_id, parse_limit};
use crate::daemon::edge::gateway::comment_pages::{PageAnswer, PageEnd, PageRequest};
use crate::daemon::edge::gateway::openapi::{Operation, STORE_ERRORS, Tag};
use crate::daemon::edge::gateway::positions::parse_number;
use crate::daemon::edge::gateway::state::GatewayState;
use crate::daemon::edge::http::{Answer, HttpError, has_current, read_query};
use crate::daemon::engines::StoreError;
use crate::protocol::ErrorCode::*;
use crate::protocol::admin::HistoryPage;
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::{CommentId, ErrorCode, StreamId};

/// Everything of a stream that ended this long ago is stored.
const STORED_AFTER_MS: u64 = 60_000;

#[derive(Debug, Deserialize)]
struct PageQuery {
    before: Option<String>,
    at: Option<String>,
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
    let query: PageQuery = read_query(&uri)?;
    let place = Place::read(&query)?;
    let limit = parse_limit(query.limit.as_deref())?;
    let stream = known_stream(&state, stream_id)?;
    let caller = if stream.anonymous {
        known_caller_on(&state, &headers, stream_id).await?
    } else {
        Some(caller_on(&state, &headers, stream_id).await?)
    };
    let now_ms = state.clock.now_ms();
    let end = match place {
        Place::Newest => PageEnd::Newest,
        Place::Before(comment_id) => PageEnd::Before(comment_id),
        Place::At(at_ms) => PageEnd::Since(first_after(&stream, at_ms, now_ms)?),
    };
    let is_staff = caller.as_ref().is_some_and(|identity| identity.role.is_staff());
    let ended_ms = stream.ended_at.filter(|_| stream.state == StreamState::Ended);
    let request = PageRequest {
        stream_id,
        end,
        limit,
        reader: caller.map(|identity| identity.user_id),
        is_staff,
        is_public: stream.anonymous,
        is_over: ended_ms.is_some_and(|at| at.saturating_add(STORED_AFTER_MS) <= now_ms),
    };
    let page = state.history.page(request).await.map_err(|error| match error {
        StoreError::NotFound(_) => {
            HttpError::new(ErrorCode::UnknownStream, format!("no stream {stream_id}"))
        }
        error => public(error),
    })?;
    Ok(answer(page, &headers))
}

pub(crate) fn describe_history(operation: &mut Operation<'_>) {
    let moment = json!({ "type": "integer", "minimum": 0, "maximum": MAX_SAFE_INTEGER });
    operation
        .named(Tag::Comments, "list_comments", "Returns a page of the history, newest first")
        .text("Comments that are deleted are left out.")
        .text("With a token, the caller's own comments that are hidden from others are shown.")
        .text("`Cache-Control` says how long others may keep the page.")
        .may_have_token()
        .query(
            "before",
            json!({ "type": "string", "format": "uuid" }),
            "The `next_before` of the page before. Absent: the newest page.",
        )
        .query(
            "at",
            moment,
            "A moment of the stream, in milliseconds since its `started_at`: the page begins at \
             the newest comment of that moment. Not together with `before`.",
        )
        .query("limit", limit_schema(), "The most comments of the page.")
        .answer::<HistoryPage>(200, "The page. Without `next_before` it is the last one.")
        .revalidated_by_etag()
        .errors(&[NotAuthenticated, StreamNotStarted, BeyondEnd])
        .errors(STORE_ERRORS);
}

/// The end of a page.
enum Place {
    Newest,
    Before(CommentId),
    /// Milliseconds since the start of the stream.
    At(u64),
}

impl Place {
    fn read(query: &PageQuery) -> Result<Self, HttpError> {
        match (&query.before, &query.at) {
            (None, None) => Ok(Self::Newest),
            (Some(before), None) => parse_id(before).map(Self::Before),
            (None, Some(at)) => parse_moment(at).map(Self::At),
            (Some(_), Some(_)) => {
                let text = "`before` and `at` must not be given together";
                Err(HttpError::new(ErrorCode::BadRequest, text))
            }
        }
    }
}

fn parse_moment(text: &str) -> Result<u64, HttpError> {
    parse_number(text, MAX_SAFE_INTEGER).ok_or_else(|| {
        let text = "`at` must be the milliseconds since the start of the stream, such as 90000";
        HttpError::new(ErrorCode::BadRequest, text)
    })
}

/// Returns the first time after a moment of the stream, in milliseconds since the Unix epoch.
fn first_after(stream: &Stream, at_ms: u64, now_ms: u64) -> Result<u64, HttpError> {
    let stream_id = stream.stream_id;
    let Some(started_at) = stream.started_at else {
        let text = format!("stream {stream_id} has not started, so it has no moments");
        return Err(HttpError::new(ErrorCode::StreamNotStarted, text));
    };
    let end = stream.ended_at.unwrap_or(now_ms).saturating_sub(started_at);
    if at_ms > end {
        let text = match stream.ended_at {
            Some(_) => format!("stream {stream_id} ended {end} ms after its start"),
            None => format!("stream {stream_id} started {end} ms ago"),
        };
        return Err(HttpError::new(ErrorCode::BeyondEnd, format!("`at` is {at_ms}, but {text}")));
    }
    Ok(started_at + at_ms + 1)
}

/// Answers a page, or that the caller has it.
fn answer(page: PageAnswer, headers: &HeaderMap) -> Response {
    let PageAnswer { body, entity_tag, freshness } = page;
    let mut response = if has_current(headers, &entity_tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], body).into_response()
    };
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(freshness.cache_control()));
    fields.insert(VARY, HeaderValue::from_static("Authorization"));
    if let Ok(tag) = HeaderValue::from_str(&entity_tag) {
        fields.insert(ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::stream::{NewStream, StreamPatch};

    #[test]
    fn a_moment_is_one_of_the_stream() {
        let code = |text: &str| parse_moment(text).unwrap_err().body.code;
        for bad in ["", "-1", "+1", "1.5", " 1", "1e3", "\u{1b}[2J", "9007199254740992"] {
            assert_eq!(code(bad), ErrorCode::BadRequest, "{bad:?}");
        }
        assert_eq!(parse_moment("90000").unwrap(), 90_000);
        let new = NewStream { starts_at: Some(5_000), ..NewStream::default() };
        let mut stream = new.begin(StreamId(1), 1_000);
        let at = |stream: &Stream, at_ms| {
            first_after(stream, at_ms, 9_000).map_err(|error| error.body.code)
        };
        assert_eq!(at(&stream, 0), Err(ErrorCode::StreamNotStarted));
        stream.apply(StreamPatch::start(), 5_000);
        assert_eq!(at(&stream, 4_000), Ok(9_001));
        assert_eq!(at(&stream, 4_001), Err(ErrorCode::BeyondEnd), "it has not come yet");
        let ended = Some(StreamState::Ended);
        stream.apply(StreamPatch { state: ended, ..StreamPatch::default() }, 6_000);
        assert_eq!(at(&stream, 1_000), Ok(6_001));
        assert_eq!(at(&stream, 1_001), Err(ErrorCode::BeyondEnd));
        assert_eq!(at(&stream, 0), Ok(5_001));
    }
}
