//! The users that say most on a stream, for the whole cluster.
//!
//! The node that broadcasts a stream counts its users and texts. It reports them only while some
//! node asks, because reports of all streams would be large: a node that asks sends a command, and
//! reads the answer in the next report.

use std::time::Duration;

use axum::extract::State;
use tokio::time::{Instant, sleep};

use super::error::Answer;
use super::request::PathParam;
use super::{AdminParts, AdminState};
use crate::daemon::edge::http::Json;
use crate::protocol::StreamId;
use crate::protocol::admin::Talkers;

/// Reports come once per second, and a report that is late is not waited for.
const REPORT_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Time between two looks at the reports.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub(super) async fn talkers(
    State(state): State<AdminState>,
    PathParam(stream_id): PathParam<StreamId>,
) -> Answer<Json<Talkers>> {
    state.parts.control.require_stream(stream_id).await?;
    Ok(Json(state.parts.talkers(stream_id).await))
}

impl AdminParts {
    /// Returns the talkers of a stream. The first answer about a stream of another node takes about
    /// a second; while it is asked for again and again, the figures are there already.
    async fn talkers(&self, stream_id: StreamId) -> Talkers {
        // For the case that this node broadcasts the stream: its own report is made below.
        self.board.telemetry().talkers().request(stream_id, Instant::now());
        let mut view = self.cluster().await;
        let mut others = view.broadcasters(stream_id);
        others.remove(&self.about.node);
        let silent = self.control.request_talkers(others.clone(), stream_id).await;
        others.retain(|node| !silent.contains(node));
        let until = Instant::now() + REPORT_TIMEOUT;
        while others.iter().any(|node| !view.reports_talkers(node, stream_id)) {
            if Instant::now() >= until {
                break;
            }
            sleep(LOOK_INTERVAL).await;
            view = self.cluster().await;
            // A stream that has moved is not reported by its last node.
            others.retain(|node| view.broadcasters(stream_id).contains(node));
        }
        let mut unreachable = view.unreachable.clone();
        let missing = others.into_iter().filter(|node| !view.reports_talkers(node, stream_id));
        for node in silent.into_iter().chain(missing) {
            if !unreachable.contains(&node) {
                unreachable.push(node);
            }
        }
        Talkers { unreachable, ..view.talkers(stream_id) }
    }
}
