//! Does what a form asked for, and says what came of it.

use super::form::Action;
use crate::client::admin::{AdminClient, AdminError};
use crate::client::wording::{self, missing_nodes};
use crate::protocol::admin::Outcome;

/// What is being done, while it is.
pub(super) fn announce(action: &Action) -> String {
    match action {
        Action::Ban(request) => format!("banning {}", request.user.0),
        Action::Timeout(request) => format!("timing out {}", request.user.0),
        Action::Kick(request) => format!("kicking {}", request.user.0),
        Action::Unban(request) => format!("unbanning {}", request.user.0),
        Action::Throttle(request) => format!("throttling stream {}", request.stream_id),
    }
}

/// Sends the request; the outcome as a sentence.
pub(super) async fn perform(client: &AdminClient, action: &Action) -> Result<String, AdminError> {
    let outcome: Outcome = match action {
        Action::Ban(request) => client.post("/v1/ban", request).await,
        Action::Timeout(request) => client.post("/v1/timeout", request).await,
        Action::Kick(request) => client.post("/v1/kick", request).await,
        Action::Unban(request) => client.post("/v1/unban", request).await,
        Action::Throttle(request) => client.post("/v1/throttle", request).await,
    }?;
    let done = match action {
        Action::Ban(request) => wording::banned(&request.user, request.duration_ms, &outcome),
        Action::Timeout(request) => {
            wording::timed_out(&request.user, request.duration_ms, &outcome)
        }
        Action::Kick(request) => wording::kicked(&request.user, &outcome),
        Action::Unban(request) => wording::unbanned(&request.user, &outcome),
        Action::Throttle(request) => {
            wording::throttled(request.stream_id, request.sample_rate, &outcome)
        }
    };
    Ok(match missing_nodes(&outcome.unreachable) {
        Some(missing) => format!("{done} But {missing}."),
        None => done,
    })
}
