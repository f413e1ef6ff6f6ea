//! `GET /api/streams/{id}/events`: a viewer that is sent server-sent events.
//!
//! Over HTTP/1.1 the socket leaves HTTP, as that of a WebSocket does, and the answer ends with the
//! connection. Over HTTP/2, where a connection carries other requests too, a bounded pipe leads
//! from delivery to the body of the answer. In both cases delivery writes the same bytes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use rand::RngExt as _;
use serde_json::json;

use super::entry::{Entrant, admit_over_http, attach, get_only};
use super::farewell::Farewell;
use super::openapi::{ADMISSION_ERRORS, Operation, Tag};
use super::parameters::{Parameters, describe_position};
use super::positions::EVENT_ID_PATTERN;
use super::state::GatewayState;
use crate::daemon::base::handoff::ViewerLink;
use crate::daemon::base::pipe::{PipeReader, pipe};
use crate::daemon::edge::http::{Answer, ConnectionSlot, ConnectionUse, LentSlot, Takeover};
use crate::protocol::StreamId;
use crate::protocol::admin::TransportKind;

const EVENT_STREAM: &str = "text/event-stream";
const NO_STORE: &str = "no-store";
/// Asks proxies of the kind of nginx to pass on each event at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn open(
    State(state): State<Arc<GatewayState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(stream_id): Path<String>,
    mut request: Request,
) -> Answer {
    let began = Instant::now();
    get_only(request.method())?;
    let stream_id: StreamId = super::api::parse_id(&stream_id)?;
    let Parameters { token, resume_from } = Parameters::read_event_stream(&request)?;
    let transport = TransportKind::Sse;
    let entrant = Entrant { stream_id, token, address: peer.ip(), transport };
    let admitted = admit_over_http(&state, entrant).await?;
    if let Some(takeover) = request.extensions_mut().remove::<Takeover>() {
        let taken = takeover.take(move |transport| {
            let tracker = state.handshakes.clone();
            tracker.spawn(async move {
                let link = ViewerLink::EventSocket { transport, head: head().into() };
                attach(&state, admitted.viewer(link, resume_from)).await;
                state.meter.record_latency(1, began.elapsed());
            });
        });
        match taken.await {}
    }
    let (writer, reader) = pipe();
    attach(&state, admitted.viewer(ViewerLink::EventPipe(writer), resume_from)).await;
    state.meter.record_latency(1, began.elapsed());
    let extensions = request.extensions_mut();
    let events = Events {
        reader,
        waiting: VecDeque::from([retry().into()]),
        farewell: state.farewell.clone(),
        is_over: false,
        _slot: extensions.remove::<ConnectionSlot>().map(|slot| slot.lend()),
        _use: extensions.remove::<ConnectionUse>(),
    };
    Ok(answer(events))
}

pub(super) fn describe(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Watching, "open_events", "Sends the messages of a stream as server-sent events")
        .text("The answer does not end by itself. Each event has a message as its data, and those")
        .text("that move the position have it as their id. `Last-Event-ID` wins over the query.")
        .may_have_query_token();
    describe_position(operation);
    operation
        .header(
            "Last-Event-ID",
            json!({ "type": "string", "pattern": EVENT_ID_PATTERN }),
            "The id of the last event that was received: `EPOCH:SEQ`.",
        )
        .answer_as(200, EVENT_STREAM, json!({}), "The events, until the connection ends.")
        .errors(ADMISSION_ERRORS);
}

/// Returns the first line, which tells a browser after how many milliseconds to reconnect. Each
/// client is told another time, so that not all return at once.
fn retry() -> String {
    format!("retry: {}\n\n", rand::rng().random_range(1000..=3000))
}

/// Returns the head of an answer over HTTP/1.1, whose body ends with the connection, and the first
/// line of the body.
fn head() -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {EVENT_STREAM}\r\ncache-control: {NO_STORE}\r\n\
         x-accel-buffering: no\r\naccess-control-allow-origin: *\r\nconnection: close\r\n\r\n{}",
        retry()
    )
}

/// The body of an answer over HTTP/2.
struct Events {
    reader: PipeReader,
    waiting: VecDeque<Bytes>,
    farewell: Farewell,
    /// The gateway stops: nothing follows what waits.
    is_over: bool,
    /// The viewer has a place of its own, which counts for the connection too.
    _slot: Option<LentSlot>,
    _use: Option<ConnectionUse>,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            if self.is_over || self.reader.is_finished() {
                return None;
            }
            tokio::select! {
                () = self.reader.readable() => self.waiting = self.reader.take(),
                () = self.farewell.due() => {
                    self.is_over = true;
                    self.waiting = self.reader.take();
                    self.waiting.push_back(self.farewell.event());
                }
            }
        }
    }
}

fn answer(events: Events) -> Response {
    let body = stream::unfold(events, async |mut events| {
        let bytes = events.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), events))
    });
    let headers =
        [(CONTENT_TYPE, EVENT_STREAM), (CACHE_CONTROL, NO_STORE), (ACCEL_BUFFERING, "no")];
    (headers, Body::from_stream(body)).into_response()
}
