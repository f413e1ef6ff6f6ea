//! Comments that another node may have accepted already get the id they have there.

use std::sync::Arc;

use super::batch::{Awaited, Building, PendingReply};
use crate::daemon::engines::reservations::{Proposal, SharedReservations};
use crate::protocol::{Comment, CommentId};

/// Reserves the refs of a batch in one call, and changes the ids of comments that were reserved
/// before. Ingest waits for it, because appends must keep the order of submissions.
pub(super) async fn reserve_ids(reservations: &SharedReservations, building: &mut Building) {
    let proposals: Vec<_> = building.pending.iter().filter_map(proposal).collect();
    if proposals.is_empty() {
        return;
    }
    let mut ids = reservations.reserve(proposals).await.into_iter();
    for waiting in &mut building.pending {
        if proposal(waiting).is_none() {
            continue;
        }
        let (Some(id), Awaited::Appended { index, comment, .. }) = (ids.next(), &mut waiting.state)
        else {
            continue;
        };
        if comment.comment_id != id {
            *comment = with_id(comment, id);
            building.drafts[*index].comment = comment.clone();
        }
    }
}

fn proposal(waiting: &PendingReply) -> Option<Proposal> {
    let (Awaited::Appended { comment, .. }, Some(key)) = (&waiting.state, &waiting.key) else {
        return None;
    };
    let (user_id, stream_id, client_ref) = key.clone();
    Some(Proposal { user_id, stream_id, client_ref, comment_id: comment.comment_id })
}

/// Returns the comment under another id, with the time of that id.
fn with_id(comment: &Comment, comment_id: CommentId) -> Arc<Comment> {
    Arc::new(Comment { comment_id, created_at: comment_id.unix_ms(), ..comment.clone() })
}
