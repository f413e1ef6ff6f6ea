//! Live answers: a line of JSON for each thing to tell, until the reader goes or the daemon stops.
//!
//! A line is made only when the connection has room for it, so nothing queues for a reader that does
//! not keep up: a snapshot is simply taken later, a tail skips and says so.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use super::Desk;
use super::answer::Failure;
use super::request::{Params, PathParam, within};
use super::tail::Tail;
use crate::protocol::StreamId;

const MIN_INTERVAL_MS: u64 = 50;
const MAX_INTERVAL_MS: u64 = 60_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interval {
    #[serde(default = "second_ms")]
    interval_ms: u64,
}

fn second_ms() -> u64 {
    1_000
}

/// A snapshot at once, and one each interval.
pub(super) async fn top(
    State(desk): State<Desk>,
    Params(Interval { interval_ms }): Params<Interval>,
) -> Result<Response, Failure> {
    let interval_ms = within("interval_ms", interval_ms, MIN_INTERVAL_MS, MAX_INTERVAL_MS)?;
    let mut ticks = tokio::time::interval(Duration::from_millis(interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let lines = stream::unfold((desk, ticks), |(desk, mut ticks)| async move {
        let next = async {
            ticks.tick().await;
            desk.parts.top().await
        };
        let snapshot = desk.stop.run_until_cancelled(next).await?;
        Some((Ok::<_, Infallible>(Bytes::from(line(&snapshot))), (desk, ticks)))
    });
    Ok(respond(Body::from_stream(lines)))
}

/// What happens on a stream from now on, before sampling.
pub(super) async fn tail(
    State(desk): State<Desk>,
    PathParam(stream_id): PathParam<StreamId>,
) -> Result<Response, Failure> {
    desk.parts.control.require_stream(stream_id).await?;
    let log = desk.parts.control.parts().log.clone();
    let tail = Tail::from_end(log, stream_id).await?;
    let lines = stream::unfold((desk, tail), |(desk, mut tail)| async move {
        let items = desk.stop.run_until_cancelled(tail.next()).await??;
        let text: Vec<u8> = items.iter().flat_map(line).collect();
        Some((Ok::<_, Infallible>(Bytes::from(text)), (desk, tail)))
    });
    Ok(respond(Body::from_stream(lines)))
}

fn line(item: &impl Serialize) -> Vec<u8> {
    // Numbers, texts and maps keyed by text always have a JSON form.
    let mut text = serde_json::to_vec(item).unwrap_or_default();
    text.push(b'\n');
    text
}

fn respond(body: Body) -> Response {
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
