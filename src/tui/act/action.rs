//! Requests that change something, and their outcomes as sentences.

use super::batch_text;
use crate::client::admin::{AdminClient, AdminError};
use crate::client::outcome_text::{self, missing_nodes};
use crate::protocol::admin::{
    AckRequest, AcknowledgeRequest, AnnounceRequest, BatchRequest, ClaimRequest, ClearRoomRequest,
    DeleteOfUserRequest, DeleteRequest, DirectRequest, DrainRequest, ForgetViewRequest, Outcome,
    RestoreRequest, ReviewItem, ReviewRequest, SanctionRequest, SaveViewRequest, ShadowRequest,
    ThrottleRequest, UnbanRequest, UndoRequest, UserRequest,
};
use crate::protocol::quantity::{counted, show_duration, show_share};
use crate::protocol::room::{RoomPatch, TermsPatch};
use crate::protocol::{NodeId, StreamId, on_stream};

/// A change to request through the admin socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Ban(SanctionRequest),
    Timeout(SanctionRequest),
    Kick(UserRequest),
    Unban(UnbanRequest),
    /// Shows the new comments of a user to the user only.
    Shadow(ShadowRequest),
    /// Ends all of that.
    Unshadow(UserRequest),
    /// Changes the rules of a stream's room.
    Room {
        stream_id: StreamId,
        patch: RoomPatch,
    },
    /// Changes the blocked terms of a room. The terms are in normal form.
    RoomTerms {
        stream_id: StreamId,
        patch: TermsPatch,
    },
    /// Deletes the latest comments of a room.
    ClearRoom {
        stream_id: StreamId,
        request: ClearRoomRequest,
    },
    Throttle(ThrottleRequest),
    Announce(AnnounceRequest),
    /// Sends a message to one user.
    Direct(DirectRequest),
    Delete(DeleteRequest),
    DeleteOfUser(DeleteOfUserRequest),
    /// Takes back the deletion of a comment, whoever made it.
    Restore(RestoreRequest),
    Approve(ReviewRequest),
    Reject(ReviewRequest),
    /// Claims a comment to review, or ends the claim.
    Claim(ClaimRequest),
    Drain(DrainRequest),
    /// Acknowledges an alert for everybody.
    Acknowledge(AckRequest),
    /// Ends the warnings of losses of a kind.
    AcknowledgeLoss(AcknowledgeRequest),
    /// Takes back what an audit entry records.
    Undo(UndoRequest),
    /// Several of the others as one act, with one undo.
    Batch(BatchRequest),
    /// Keeps the view on the screen for all operators.
    SaveView(SaveViewRequest),
    ForgetView(ForgetViewRequest),
}

impl Action {
    /// Returns the number of changes it makes.
    pub(crate) fn parts(&self) -> usize {
        match self {
            Self::Batch(request) => request.changes.len(),
            _ => 1,
        }
    }
}

/// An action that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) sentence: String,
    /// 0 for a claim, which has no entry in the audit log.
    pub(crate) audit_id: u64,
}

/// Names an action: `ban zed_k`.
pub(crate) fn describe(action: &Action) -> String {
    match action {
        Action::Ban(request) => format!("ban {}{}", request.user.0, on_stream(request.stream_id)),
        Action::Timeout(request) => {
            format!("time out {}{}", request.user.0, on_stream(request.stream_id))
        }
        Action::Kick(request) => format!("kick {}", request.user.0),
        Action::Unban(request) => {
            format!("unban {}{}", request.user.0, on_stream(request.stream_id))
        }
        Action::Shadow(request) => {
            let place = on_stream(request.stream_id);
            let time = request.duration_ms.map(|ms| format!(" for {}", show_duration(ms)));
            let user = &request.user.0;
            format!("shadow-ban {user}{place}{}", time.unwrap_or_default())
        }
        Action::Unshadow(request) => format!("end the shadow bans of {}", request.user.0),
        Action::Room { stream_id, patch } => {
            format!("stream {stream_id}: {}", patch.texts().join(", "))
        }
        Action::RoomTerms { stream_id, patch } => {
            let change = |verb: &str, count: usize| {
                (count > 0).then(|| format!("{verb} {}", counted(count as u64, "term")))
            };
            let changes = [change("block", patch.add.len()), change("allow", patch.remove.len())];
            let changes: Vec<_> = changes.into_iter().flatten().collect();
            format!("stream {stream_id}: {}", changes.join(", "))
        }
        Action::ClearRoom { stream_id, request } => {
            let last = show_duration(request.last_ms);
            format!("remove what was said on stream {stream_id} in the last {last}")
        }
        Action::Throttle(request) => match request.sample_rate {
            Some(share) => {
                let share = show_share(share);
                let time = request.for_ms.map(|ms| format!(" for {}", show_duration(ms)));
                let time = time.unwrap_or_default();
                format!("show {share} of stream {}{time}", request.stream_id)
            }
            None => format!("let the throttle set the share of stream {}", request.stream_id),
        },
        Action::Announce(request) => format!("announce to stream {}", request.stream_id),
        Action::Direct(request) => format!("send a message to {}", request.user.0),
        Action::Delete(request) => format!("remove comment {}", request.comment_id),
        Action::DeleteOfUser(request) => {
            let last = show_duration(request.last_ms);
            format!("remove what {} wrote in the last {last}", request.user.0)
        }
        Action::Restore(request) => format!("restore comment {}", request.comment_id),
        Action::Approve(request) => format!("approve comment {}", request.comment_id),
        Action::Reject(request) => format!("reject comment {}", request.comment_id),
        Action::Claim(request) if request.release => {
            format!("release comment {}", request.comment_id)
        }
        Action::Claim(request) => format!("claim comment {}", request.comment_id),
        Action::Drain(DrainRequest { node, undo }) => {
            let node = node.as_ref().map_or("this node", NodeId::as_str);
            if *undo { format!("accept viewers on {node} again") } else { format!("drain {node}") }
        }
        Action::Acknowledge(request) => format!("acknowledge {}", request.id),
        Action::AcknowledgeLoss(request) => format!("acknowledge {}", request.problem),
        Action::Undo(request) => format!("take back audit entry {}", request.audit_id),
        Action::Batch(request) => {
            let words = batch_text::words(request);
            format!("{} {}", words.verb, counted(request.changes.len() as u64, words.noun))
        }
        Action::SaveView(request) => format!("save @{}", request.name),
        Action::ForgetView(request) => format!("forget @{}", request.name),
    }
}

/// Describes actions that are running.
pub(crate) fn progress_text(actions: &[Action]) -> String {
    match actions {
        [one] => format!("{} …", describe(one)),
        [first, ..] => format!("{} and {} more …", describe(first), actions.len() - 1),
        [] => String::new(),
    }
}

/// Sends the request of an action.
pub(crate) async fn run(client: &AdminClient, action: &Action) -> Result<Done, AdminError> {
    let outcome: Outcome = match action {
        Action::Claim(request) => {
            let item: ReviewItem = client.post("/v1/mod/claim", request).await?;
            return Ok(Done { sentence: outcome_text::claimed(&item), audit_id: 0 });
        }
        Action::Ban(request) => client.post("/v1/ban", request).await,
        Action::Timeout(request) => client.post("/v1/timeout", request).await,
        Action::Kick(request) => client.post("/v1/kick", request).await,
        Action::Unban(request) => client.post("/v1/unban", request).await,
        Action::Shadow(request) => client.post("/v1/shadow", request).await,
        Action::Unshadow(request) => client.post("/v1/unshadow", request).await,
        Action::Room { stream_id, patch } => {
            client.post(&format!("/v1/streams/{stream_id}/room"), patch).await
        }
        Action::RoomTerms { stream_id, patch } => {
            client.post(&format!("/v1/streams/{stream_id}/room/terms"), patch).await
        }
        Action::ClearRoom { stream_id, request } => {
            client.post(&format!("/v1/streams/{stream_id}/room/clear"), request).await
        }
        Action::Throttle(request) => client.post("/v1/throttle", request).await,
        Action::Announce(request) => client.post("/v1/announce", request).await,
        Action::Direct(request) => client.post("/v1/dm", request).await,
        Action::Delete(request) => client.post("/v1/delete", request).await,
        Action::DeleteOfUser(request) => client.post("/v1/delete_of_user", request).await,
        Action::Restore(request) => client.post("/v1/mod/restore", request).await,
        Action::Approve(request) => client.post("/v1/mod/approve", request).await,
        Action::Reject(request) => client.post("/v1/mod/reject", request).await,
        Action::Drain(request) => client.post("/v1/drain", request).await,
        Action::Acknowledge(request) => client.post("/v1/alerts/ack", request).await,
        Action::AcknowledgeLoss(request) => client.post("/v1/acknowledge", request).await,
        Action::Undo(request) => client.post("/v1/undo", request).await,
        Action::Batch(request) => client.post("/v1/batch", request).await,
        Action::SaveView(request) => client.post("/v1/views", request).await,
        Action::ForgetView(request) => client.post("/v1/views/forget", request).await,
    }?;
    let done = match action {
        Action::Ban(request) => outcome_text::banned(request, &outcome),
        Action::Timeout(request) => outcome_text::timed_out(request, &outcome),
        Action::Kick(request) => outcome_text::kicked(&request.user, &outcome),
        Action::Unban(request) => outcome_text::unbanned(request, &outcome),
        Action::Shadow(request) => outcome_text::shadowed(request, &outcome),
        Action::Unshadow(request) => outcome_text::unshadowed(&request.user, &outcome),
        Action::Room { stream_id, patch } => {
            outcome_text::room_changed(*stream_id, patch, &outcome)
        }
        Action::RoomTerms { stream_id, patch } => {
            outcome_text::terms_changed(*stream_id, patch, &outcome)
        }
        Action::ClearRoom { stream_id, .. } => outcome_text::room_cleared(*stream_id, &outcome),
        Action::Throttle(request) => outcome_text::throttled(request, &outcome),
        Action::Announce(request) => outcome_text::announced(request.stream_id, &outcome),
        Action::Direct(request) => outcome_text::messaged(&request.user, &outcome),
        Action::Delete(request) => outcome_text::deleted(request.comment_id, &outcome),
        Action::DeleteOfUser(_) => outcome_text::deleted_of_user(&outcome),
        Action::Restore(request) => outcome_text::restored(request.comment_id, &outcome),
        Action::Approve(request) => {
            outcome_text::reviewed("Approved", request.comment_id, &outcome)
        }
        Action::Reject(request) => outcome_text::reviewed("Rejected", request.comment_id, &outcome),
        // Its own answer was returned above.
        Action::Claim(_) => describe(action),
        Action::Drain(request) => outcome_text::drained(request.undo, &outcome),
        Action::Acknowledge(request) => outcome_text::alert_acknowledged(&request.id, &outcome),
        Action::AcknowledgeLoss(request) => outcome_text::acknowledged(&request.problem, &outcome),
        Action::Undo(request) => outcome_text::undone(request.audit_id, &outcome),
        Action::Batch(request) => batch_text::done_text(request, &outcome),
        Action::SaveView(request) => outcome_text::view_saved(&request.name, &outcome),
        Action::ForgetView(request) => outcome_text::view_forgotten(&request.name, &outcome),
    };
    let sentence = match missing_nodes(&outcome.unreachable) {
        Some(missing) => format!("{done} But {missing}."),
        None => done,
    };
    Ok(Done { sentence, audit_id: outcome.audit_id })
}
