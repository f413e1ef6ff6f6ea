//! Comments that another node may have accepted already get the id they have there.

use std::sync::Arc;

use super::batch::{Batch, OutcomeSource, PendingReply};
use super::refs::RefKey;
use super::rooms::Rooms;
use crate::daemon::engines::reservations::{Proposal, Reserved, SharedReservations};
use crate::protocol::{Comment, CommentId};

/// Reserves the refs of a batch in one call, and changes the ids of comments that were reserved
/// before, here and in the memory of their rooms. Ingest waits for it, because appends must keep
/// the order of submissions. Returns the refs that another node may hold nevertheless.
pub(super) async fn reserve_ids(
    reservations: &SharedReservations,
    batch: &mut Batch,
    rooms: &mut Rooms,
) -> Vec<RefKey> {
    let proposals: Vec<_> = batch.pending.iter().filter_map(proposal).collect();
    if proposals.is_empty() {
        return Vec::new();
    }
    let mut uncertain = Vec::new();
    let mut reserved = reservations.reserve(proposals).await.into_iter();
    for waiting in &mut batch.pending {
        if proposal(waiting).is_none() {
            continue;
        }
        let (Some(reserved), OutcomeSource::Appended { index, comment, share, is_retry }) =
            (reserved.next(), &mut waiting.outcome)
        else {
            continue;
        };
        let Reserved { comment_id, certain } = reserved;
        if !certain {
            uncertain.extend(waiting.key.clone());
        }
        if comment.comment_id != comment_id {
            *is_retry = true;
            rooms.rename(share, comment, comment_id);
            *comment = with_id(comment, comment_id);
            batch.drafts[*index].comment = comment.clone();
        }
    }
    uncertain
}

/// The `ref` of a comment that may be held, which all nodes reserve under one id.
#[derive(Debug, Clone)]
pub(super) struct RefReservation {
    pub(super) reservations: SharedReservations,
    pub(super) key: RefKey,
}

impl RefReservation {
    /// Returns the comment under the id with which another node may hold it already. The review
    /// queue keeps an id once.
    pub(super) async fn under_first_id(&self, comment: Arc<Comment>) -> Arc<Comment> {
        let (user_id, stream_id, client_ref) = self.key.clone();
        let comment_id = comment.comment_id;
        let proposal = Proposal { user_id, stream_id, client_ref, comment_id };
        match self.reservations.reserve(vec![proposal]).await.first() {
            Some(first) if first.comment_id != comment_id => with_id(&comment, first.comment_id),
            _ => comment,
        }
    }
}

fn proposal(waiting: &PendingReply) -> Option<Proposal> {
    let (OutcomeSource::Appended { comment, .. }, Some(key)) = (&waiting.outcome, &waiting.key)
    else {
        return None;
    };
    let (user_id, stream_id, client_ref) = key.clone();
    Some(Proposal { user_id, stream_id, client_ref, comment_id: comment.comment_id })
}

/// Returns the comment under another id, with the time of that id.
fn with_id(comment: &Comment, comment_id: CommentId) -> Arc<Comment> {
    Arc::new(Comment { comment_id, created_at: comment_id.unix_ms(), ..comment.clone() })
}
