//! The parameters of a viewer's request: its token and its last position.

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, Request};
use serde::Deserialize;

use super::api::bearer;
use super::positions::{parse_event_id, position};
use crate::daemon::edge::http::HttpError;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{ErrorCode, StreamPosition};

/// The position of the last event that a client of server-sent events received.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Debug)]
pub(super) struct Parameters {
    /// From the header `Authorization: Bearer`, else from the query. A malformed one is an error of
    /// the viewer and is refused in the same way as a bad token.
    pub(super) token: Result<Option<String>, ErrorBody>,
    pub(super) resume_from: Option<StreamPosition>,
}

#[derive(Deserialize)]
struct RawQuery {
    token: Option<String>,
    epoch: Option<u32>,
    seq: Option<u64>,
}

impl Parameters {
    /// # Errors
    /// `bad_request` if the query cannot be decoded.
    pub(super) fn read(request: &Request<Body>) -> Result<Self, HttpError> {
        let Query(raw) = Query::<RawQuery>::try_from_uri(request.uri())
            .map_err(|error| bad(&format!("the query: {}", error.body_text())))?;
        let resume_from = match (raw.epoch, raw.seq) {
            (Some(epoch), Some(seq)) => Some(position(epoch, seq)),
            (None, None) => None,
            _ => return Err(bad("`epoch` and `seq` must be given together or not at all")),
        };
        Ok(Self { token: token(request.headers(), raw.token), resume_from })
    }

    /// Reads those of an event stream, where the header `Last-Event-ID` wins over the query.
    ///
    /// # Errors
    /// `bad_request` if the query or the header cannot be decoded.
    pub(super) fn read_event_stream(request: &Request<Body>) -> Result<Self, HttpError> {
        let parameters = Self::read(request)?;
        let Some(id) = request.headers().get(LAST_EVENT_ID) else { return Ok(parameters) };
        let position = id.to_str().ok().and_then(parse_event_id);
        let position = position
            .ok_or_else(|| bad("`Last-Event-ID` must be an epoch and a sequence, such as 3:841"))?;
        Ok(Self { resume_from: Some(position), ..parameters })
    }
}

/// Returns the token of a request: that of the header, else `from_query`.
fn token(headers: &HeaderMap, from_query: Option<String>) -> Result<Option<String>, ErrorBody> {
    bearer(headers).map(|token| token.map(str::to_owned).or(from_query)).map_err(|error| error.body)
}

pub(super) fn bad(text: &str) -> HttpError {
    HttpError::new(ErrorCode::BadRequest, text)
}
