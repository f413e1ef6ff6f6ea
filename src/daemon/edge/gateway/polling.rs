//! `GET /api/streams/{id}/comments/poll`: long polling, for viewers whose network lets no stream
//! through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::Version;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::entry::{Entrant, admit_over_http, attach, get_only};
use super::openapi::{ADMISSION_ERRORS, Operation, Tag};
use super::parameters::{Parameters, bad, describe_position};
use super::poll_sessions::{Owner, Poll, PollFailure, PollSession, Since};
use super::positions::parse_number;
use super::state::GatewayState;
use crate::daemon::base::handoff::ViewerLink;
use crate::daemon::base::pipe::pipe;
use crate::daemon::edge::http::{Answer, ConnectionSlot, HttpError, read_query};
use crate::protocol::ErrorCode::*;
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::{ErrorCode, StreamId, StreamPosition};

/// The longest wait of a poll, and the default. Proxies cut off requests that take a minute.
const MAX_WAIT_MS: u64 = 30_000;

/// The form of a `since`: epoch, sequence, session and answer.
const SINCE_PATTERN: &str = "^[0-9]{1,10}\\.[0-9]{1,16}\\.[0-9a-f]{32}\\.[0-9]{1,10}$";

#[derive(Deserialize)]
struct RawQuery {
    since: Option<String>,
    wait_ms: Option<String>,
}

/// A poll as it was sent.
struct PollRequest {
    stream_id: StreamId,
    address: SocketAddr,
    token: Option<String>,
    since: Option<Since>,
    /// The position of a viewer that comes from another transport, and has no `since` yet.
    position: Option<StreamPosition>,
    wait: Duration,
}

pub(super) async fn poll(
    State(state): State<Arc<GatewayState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(stream_id): Path<String>,
    request: Request,
) -> Answer {
    get_only(request.method())?;
    let query: RawQuery = read_query(request.uri())?;
    let Parameters { token, resume_from } = Parameters::read(&request)?;
    let poll = PollRequest {
        stream_id: super::api::parse_id(&stream_id)?,
        address: peer,
        token: token?,
        since: query.since.as_deref().map(parse_since).transpose()?,
        position: resume_from,
        wait: parse_wait(query.wait_ms.as_deref())?,
    };
    let slot = request.extensions().get::<ConnectionSlot>();
    let mut answer = answer(&state, poll, slot).await?;
    if slot.is_some_and(|slot| !slot.is_held()) && request.version() < Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

/// A message as a WebSocket carries it.
#[derive(JsonSchema)]
#[schemars(
    description = "A message to the viewer, such as `welcome` or `comments`; docs/protocol.md \
                          describes them."
)]
#[allow(dead_code, reason = "only its schema is used: answers are made of bytes that are shared")]
struct PolledMessage {
    #[schemars(rename = "type")]
    message_type: String,
}

/// The answer to a poll.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used: answers are made of bytes that are shared")]
struct Polled {
    /// The `since` of the next request: at most 128 letters, digits and dots.
    #[schemars(length(max = 128))]
    since: String,
    messages: Vec<PolledMessage>,
}

pub(super) fn describe(operation: &mut Operation<'_>) {
    let wait =
        json!({ "type": "integer", "minimum": 0, "maximum": MAX_WAIT_MS, "default": MAX_WAIT_MS });
    operation
        .named(Tag::Watching, "long_poll", "Waits for messages of a stream")
        .text("A request without `since` begins, and is answered at once.")
        .may_have_query_token()
        .query(
            "since",
            json!({ "type": "string", "pattern": SINCE_PATTERN }),
            "The `since` of the latest answer.",
        )
        .query("wait_ms", wait, "The longest wait for a message, in milliseconds.");
    describe_position(operation);
    operation
        .answer::<Polled>(200, "The messages since then; none after a wait without any.")
        .errors(ADMISSION_ERRORS)
        .errors(&[Overloaded]);
}

fn parse_since(text: &str) -> Result<Since, HttpError> {
    Since::parse(text).ok_or_else(|| bad("`since` must be that of an earlier answer"))
}

fn parse_wait(text: Option<&str>) -> Result<Duration, HttpError> {
    let wait_ms = text.map_or(Some(MAX_WAIT_MS), |text| parse_number(text, MAX_WAIT_MS));
    wait_ms
        .map(Duration::from_millis)
        .ok_or_else(|| bad(&format!("`wait_ms` must be a number from 0 to {MAX_WAIT_MS}")))
}

async fn answer(
    state: &GatewayState,
    request: PollRequest,
    slot: Option<&ConnectionSlot>,
) -> Answer {
    let owner = state.polls.owner(request.stream_id, request.token.as_deref());
    let wait = request.wait;
    if let Some(since) = request.since
        && let Some(session) = state.polls.find(&since, owner)
    {
        let poll = Poll { confirmed: since.answer, wait };
        match answer_in(state, &session, poll, slot).await {
            Ok(answer) => return Ok(answer),
            Err(PollFailure::Displaced) => return Ok(body(&since, b"")),
            Err(PollFailure::TooOld | PollFailure::NotWelcomed) => state.polls.close(&session),
        }
    }
    let resume_from = request.since.map(|since| since.position).or(request.position);
    let session = open(state, request, owner, resume_from).await?;
    answer_in(state, &session, Poll { confirmed: 0, wait }, slot).await.map_err(|_| {
        state.polls.close(&session);
        let text = "the stream is not ready: poll again";
        ErrorBody::new(ErrorCode::Overloaded, text).retry_after_ms(RETRY_AFTER_MS).into()
    })
}

/// Admits a viewer and begins its session.
async fn open(
    state: &GatewayState,
    request: PollRequest,
    owner: Owner,
    resume_from: Option<StreamPosition>,
) -> Result<Arc<PollSession>, HttpError> {
    let began = Instant::now();
    let entrant = Entrant {
        stream_id: request.stream_id,
        token: Ok(request.token),
        address: request.address.ip(),
        transport: TransportKind::Poll,
    };
    let admitted = admit_over_http(state, entrant).await?;
    let (writer, reader) = pipe();
    let session = state.polls.open(owner, reader);
    attach(state, admitted.viewer(ViewerLink::Poll(writer), resume_from)).await;
    state.meter.record_latency(1, began.elapsed());
    Ok(session)
}

async fn answer_in(
    state: &GatewayState,
    session: &PollSession,
    poll: Poll,
    slot: Option<&ConnectionSlot>,
) -> Result<Response, PollFailure> {
    // The viewer has a place of its own, which counts for the connection while it waits.
    let lent = slot.map(ConnectionSlot::lend);
    let answered = session.poll(poll, &state.farewell).await;
    drop(lent);
    let answer = answered?;
    if answer.is_last {
        state.polls.close(session);
    }
    Ok(body(&answer.since, &answer.messages))
}

/// Returns an answer with messages in JSON, separated by commas.
fn body(since: &Since, messages: &[u8]) -> Response {
    let since = since.to_string();
    let body = [b"{\"since\":\"", since.as_bytes(), b"\",\"messages\":[", messages, b"]}"].concat();
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}
