//! The parameters of a viewer's request: its token and its last position.

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Request};
use axum::middleware::Next;
use serde::Deserialize;
use serde_json::json;

use super::openapi::Operation;
use super::positions::{MAX_SEQ, parse_event_id, parse_number, parse_u32, position};
use crate::daemon::edge::http::{Answer, HttpError, read_query};
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
    epoch: Option<String>,
    seq: Option<String>,
}

impl Parameters {
    /// # Errors
    /// `bad_request` if the query cannot be decoded.
    pub(super) fn read(request: &Request<Body>) -> Result<Self, HttpError> {
        let raw: RawQuery = read_query(request.uri())?;
        let resume_from = match (raw.epoch, raw.seq) {
            (Some(epoch), Some(seq)) => Some(parse_position(&epoch, &seq)?),
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

fn parse_position(epoch: &str, seq: &str) -> Result<StreamPosition, HttpError> {
    let range = |name: &str, max: u64| bad(&format!("`{name}` must be a number from 0 to {max}"));
    let epoch = parse_u32(epoch).ok_or_else(|| range("epoch", u32::MAX.into()))?;
    let seq = parse_number(seq, MAX_SEQ).ok_or_else(|| range("seq", MAX_SEQ))?;
    Ok(position(epoch, seq))
}

/// Returns the token of `Authorization: Bearer …`, or `None` without one. Other schemes are for
/// other layers: a browser adds `Basic` to every request to a site that is protected by a proxy.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, HttpError> {
    for value in headers.get_all(AUTHORIZATION) {
        let bytes = value.as_bytes().trim_ascii();
        let scheme = bytes.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or(bytes);
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            continue;
        }
        let token = std::str::from_utf8(bytes[scheme.len()..].trim_ascii());
        return match token {
            Ok(token) if !token.is_empty() => Ok(Some(token)),
            _ => {
                let text = "expected `Authorization: Bearer <token>`";
                Err(HttpError::new(ErrorCode::TokenMalformed, text))
            }
        };
    }
    Ok(None)
}

/// Describes the position of a viewer that comes from another connection.
pub(super) fn describe_position(operation: &mut Operation<'_>) {
    let seq = json!({ "type": "integer", "minimum": 0, "maximum": MAX_SEQ });
    operation
        .query(
            "epoch",
            json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            "The epoch of the last position that was received; together with `seq`.",
        )
        .query("seq", seq, "The sequence of that position; together with `epoch`.");
}

/// Returns the token of a request: that of the header, else `from_query`.
fn token(headers: &HeaderMap, from_query: Option<String>) -> Result<Option<String>, ErrorBody> {
    bearer(headers).map(|token| token.map(str::to_owned).or(from_query)).map_err(|error| error.body)
}

/// Refuses a path that is not UTF-8 once it is decoded, which handlers would answer without a code.
pub(super) async fn refuse_other_bytes(request: Request<Body>, next: Next) -> Answer {
    let path = request.uri().path();
    // Without an escape there are ASCII characters only.
    if path.contains('%') && std::str::from_utf8(&decoded(path)).is_err() {
        return Err(bad("the path is not UTF-8"));
    }
    Ok(next.run(request).await)
}

/// Replaces `%41` by the byte that it stands for.
fn decoded(path: &str) -> Vec<u8> {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend(byte.or(Some(b'%')));
        bytes.extend(part.as_bytes().iter().skip(if byte.is_some() { 2 } else { 0 }));
    }
    bytes
}

pub(super) fn bad(text: &str) -> HttpError {
    HttpError::new(ErrorCode::BadRequest, text)
}
