//! The parameters of a handshake: the viewer's token and its last position.

use axum::body::Body;
use axum::extract::Query;
use axum::http::Request;
use serde::Deserialize;

use crate::daemon::edge::gateway::api::bearer;
use crate::daemon::edge::http::HttpError;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::{Epoch, ErrorCode, StreamPosition};

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
            // No log reaches that far, and `welcome` repeats the position.
            (Some(epoch), Some(seq)) => {
                Some(StreamPosition { epoch: Epoch(epoch), seq: seq.min(MAX_SAFE_INTEGER) })
            }
            (None, None) => None,
            _ => return Err(bad("`epoch` and `seq` must be given together or not at all")),
        };
        let token = bearer(request.headers())
            .map(|token| token.map(str::to_owned).or(raw.token))
            .map_err(|error| error.body);
        Ok(Self { token, resume_from })
    }
}

fn bad(text: &str) -> HttpError {
    HttpError::new(ErrorCode::BadRequest, text)
}
