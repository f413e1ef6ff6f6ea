//! Live answers: lines of JSON until the reader disconnects or the daemon stops.
//!
//! A line is made only when the connection has room for it, so nothing is queued for a slow reader:
//! a snapshot is taken later, and a tail skips items and reports how many.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::error::Answer;
use super::events::MAX_EVENTS;
use super::request::{Params, PathParam, within};
use super::tail::Tail;
use super::throttle::ThrottleWatch;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::edge::http::{HttpError, Json};
use crate::protocol::admin::{Cluster, EventItem};
use crate::protocol::filter::rows::At;
use crate::protocol::filter::{Columns as _, Filter};
use crate::protocol::printable::printable;
use crate::protocol::{ErrorCode, StreamId, json};

const MIN_INTERVAL_MS: u64 = 50;
const MAX_INTERVAL_MS: u64 = 60_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopParams {
    #[serde(default = "default_interval_ms")]
    interval_ms: u64,
}

fn default_interval_ms() -> u64 {
    1_000
}

/// Sends a snapshot at once, and one per interval. All readers of a node share a snapshot that is
/// younger than most of a second, or of their interval if that is shorter: one that is not exact
/// still has a new one at each tick.
pub(super) async fn top(
    State(state): State<AdminState>,
    Params(TopParams { interval_ms }): Params<TopParams>,
) -> Answer {
    let interval_ms = within("interval_ms", interval_ms, MIN_INTERVAL_MS, MAX_INTERVAL_MS)?;
    let ticks = ticker_from_now(Duration::from_millis(interval_ms));
    let shared_for = Duration::from_millis(interval_ms.min(1_000)) * 4 / 5;
    let lines = stream::unfold((state, ticks), move |(state, mut ticks)| async move {
        let next = async {
            ticks.tick().await;
            let read = async { Bytes::from(line(&state.parts.top().await)) };
            state.top.latest(shared_for, |_| true, read).await
        };
        let text = state.stop.run_until_cancelled(next).await?;
        Some((Ok::<_, Infallible>(text.as_ref().clone()), (state, ticks)))
    });
    Ok(respond(Body::from_stream(lines)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsParams {
    #[serde(default, rename = "where")]
    filter: String,
    /// Only events after this one.
    #[serde(default)]
    after: u64,
    #[serde(default = "default_events")]
    limit: usize,
    /// Continue with those to come.
    #[serde(default)]
    follow: bool,
}

fn default_events() -> usize {
    100
}

/// Answers the newest events, oldest first, or sends them and all that follow as lines.
pub(super) async fn events(
    State(state): State<AdminState>,
    Params(params): Params<EventsParams>,
) -> Answer {
    let EventsParams { filter, after, limit, follow } = params;
    let limit = within("limit", limit, 0, MAX_EVENTS)?;
    let filter = Filter::parse(&filter, At::<EventItem>::COLUMNS).map_err(|error| {
        let text = printable(&format!("`where` at {}: {error}", error.at.start));
        HttpError::new(ErrorCode::BadRequest, text)
    })?;
    let mut changes = state.parts.live.events.lock().subscribe();
    let newest = *changes.borrow_and_update();
    let items = state.parts.events_after(after, limit, &filter);
    if !follow {
        return Ok(Json(Cluster { items, unreachable: Vec::new() }).into_response());
    }
    let after = items.last().map_or(newest, |last| last.id.max(newest)).max(after);
    let first: Vec<u8> = items.iter().flat_map(line).collect();
    let reader = Follower { state, changes, filter, after };
    let rest = stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), reader))
    });
    let first = stream::once(async move { Ok::<_, Infallible>(Bytes::from(first)) });
    Ok(respond(Body::from_stream(first.chain(rest))))
}

/// A reader of events to come.
struct Follower {
    state: AdminState,
    changes: tokio::sync::watch::Receiver<u64>,
    filter: Filter,
    after: u64,
}

impl Follower {
    /// Returns the next lines, or `None` when the daemon stops.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let changed = self.state.stop.run_until_cancelled(self.changes.changed()).await?;
            changed.ok()?;
            let newest = *self.changes.borrow_and_update();
            let items = self.state.parts.events_after(self.after, MAX_EVENTS, &self.filter);
            self.after = newest.max(items.last().map_or(0, |last| last.id));
            if !items.is_empty() {
                return Some(items.iter().flat_map(line).collect());
            }
        }
    }
}

/// Sends the events of a stream from now on, before sampling.
pub(super) async fn tail(
    State(state): State<AdminState>,
    PathParam(stream_id): PathParam<StreamId>,
) -> Answer {
    state.parts.control.require_stream(stream_id).await?;
    let log = state.parts.control.parts().log.clone();
    let tail = Tail::from_end(log, stream_id).await?;
    let throttle = ThrottleWatch::new(stream_id);
    // The answer ends with the log, not with the throttle.
    let ended = state.stop.child_token();
    let source = (state.clone(), tail, ended.clone().drop_guard());
    let events = stream::unfold(source, |(state, mut tail, ended)| async move {
        let items = state.stop.run_until_cancelled(tail.next()).await??;
        Some((items, (state, tail, ended)))
    });
    let source = (state, throttle, ended);
    let changes = stream::unfold(source, |(state, mut throttle, ended)| async move {
        let change = ended.run_until_cancelled(throttle.next(&state)).await?;
        Some((vec![change], (state, throttle, ended)))
    });
    let lines = stream::select(events, changes).map(|items| {
        let text: Vec<u8> = items.iter().flat_map(line).collect();
        Ok::<_, Infallible>(Bytes::from(text))
    });
    Ok(respond(Body::from_stream(lines)))
}

fn line(item: &impl Serialize) -> Vec<u8> {
    // Serializing numbers, texts and maps with text keys cannot fail.
    let mut text = json::to_vec(item).unwrap_or_default();
    text.push(b'\n');
    text
}

fn respond(body: Body) -> Response {
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
