//! Comments that another node may have taken in already get the id they have there.

use std::sync::Arc;

use super::submit::{Awaited, Awaiting, Building};
use crate::daemon::engines::reservations::{Proposal, SharedReservations};
use crate::protocol::{Comment, CommentId};

/// Reserves the refs of a batch in one go, and renames what was reserved before. It waits here, not
/// beside other batches: appends must keep the order of submissions.
pub(super) async fn settle_ids(reservations: &SharedReservations, building: &mut Building) {
    let proposals: Vec<_> = building.awaiting.iter().filter_map(proposal).collect();
    if proposals.is_empty() {
        return;
    }
    let mut ids = reservations.reserve(proposals).await.into_iter();
    for waiting in &mut building.awaiting {
        if proposal(waiting).is_none() {
            continue;
        }
        let (Some(id), Awaited::Appended { index, comment, .. }) = (ids.next(), &mut waiting.what)
        else {
            continue;
        };
        if comment.comment_id != id {
            *comment = renamed(comment, id);
            building.drafts[*index].comment = comment.clone();
        }
    }
}

fn proposal(waiting: &Awaiting) -> Option<Proposal> {
    let (Awaited::Appended { comment, .. }, Some(key)) = (&waiting.what, &waiting.key) else {
        return None;
    };
    let (user_id, stream_id, client_ref) = key.clone();
    Some(Proposal { user_id, stream_id, client_ref, comment_id: comment.comment_id })
}

/// The time of a comment is that of its id.
fn renamed(comment: &Comment, comment_id: CommentId) -> Arc<Comment> {
    Arc::new(Comment { comment_id, created_at: comment_id.unix_ms(), ..comment.clone() })
}
