//! Runs the action of a submitted form and describes its outcome.

use super::form::Action;
use crate::client::admin::{AdminClient, AdminError};
use crate::client::outcome_text::{self, missing_nodes};
use crate::protocol::admin::Outcome;

/// Describes an action that is running.
pub(super) fn progress_text(action: &Action) -> String {
    match action {
        Action::Ban(request) => format!("banning {}", request.user.0),
        Action::Timeout(request) => format!("timing out {}", request.user.0),
        Action::Kick(request) => format!("kicking {}", request.user.0),
        Action::Unban(request) => format!("unbanning {}", request.user.0),
        Action::Throttle(request) => format!("throttling stream {}", request.stream_id),
    }
}

/// Sends the request of an action and returns its outcome as a sentence.
pub(super) async fn run(client: &AdminClient, action: &Action) -> Result<String, AdminError> {
    let outcome: Outcome = match action {
        Action::Ban(request) => client.post("/v1/ban", request).await,
        Action::Timeout(request) => client.post("/v1/timeout", request).await,
        Action::Kick(request) => client.post("/v1/kick", request).await,
        Action::Unban(request) => client.post("/v1/unban", request).await,
        Action::Throttle(request) => client.post("/v1/throttle", request).await,
    }?;
    let done = match action {
        Action::Ban(request) => outcome_text::banned(&request.user, request.duration_ms, &outcome),
        Action::Timeout(request) => {
            outcome_text::timed_out(&request.user, request.duration_ms, &outcome)
        }
        Action::Kick(request) => outcome_text::kicked(&request.user, &outcome),
        Action::Unban(request) => outcome_text::unbanned(&request.user, &outcome),
        Action::Throttle(request) => {
            outcome_text::throttled(request.stream_id, request.sample_rate, &outcome)
        }
    };
    Ok(match missing_nodes(&outcome.unreachable) {
        Some(missing) => format!("{done} But {missing}."),
        None => done,
    })
}
