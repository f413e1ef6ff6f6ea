//! The comment above the chat of a stream, as the hub tells it to viewers.

use std::sync::Arc;

use tokio::time::timeout;

use super::{Hub, TOTALS_TIMEOUT};
use crate::daemon::engines::recent::DeletionState;
use crate::daemon::stages::delivery::frame::Lane;
use crate::protocol::message::ServerMessage;
use crate::protocol::{CommentId, PinnedComment, StreamId};

/// The pinned comment of a stream.
#[derive(Debug, Default)]
pub(super) struct Pin {
    /// The one that viewers were told.
    pub(super) told: Option<Arc<PinnedComment>>,
    /// A comment that was deleted while it was pinned. It is not shown again before the metadata
    /// store has something else, though it may be restored meanwhile.
    gone: Option<Arc<PinnedComment>>,
}

impl Pin {
    /// Takes what the metadata store has, and returns what viewers are to be told, if that is
    /// something else than they were.
    fn update(&mut self, stored: Option<Arc<PinnedComment>>) -> Option<Option<Arc<PinnedComment>>> {
        // Another one is pinned since, or none, or the same one again.
        self.gone.take_if(|gone| stored.as_ref() != Some(&*gone));
        let shown = stored.filter(|_| self.gone.is_none());
        if self.told == shown {
            return None;
        }
        self.told.clone_from(&shown);
        Some(shown)
    }

    /// Takes down a comment that was deleted or hidden. `stored` is its pin as the metadata store
    /// has it, which may be a later one than viewers were told. Returns whether they had been
    /// told of a pin of that comment.
    fn take_down(&mut self, comment_id: CommentId, stored: Option<Arc<PinnedComment>>) -> bool {
        if stored.is_some() {
            self.gone = stored;
        }
        self.told.take_if(|told| told.comment_id == comment_id).is_some()
    }
}

impl Hub {
    /// Returns the pinned comment of a stream that gets its first viewer here. A deletion may have
    /// come before, and the metadata store may not know of it yet.
    pub(super) async fn pin(&self, stream_id: StreamId) -> Pin {
        let Some(pinned) = self.stored_pin(stream_id) else { return Pin::default() };
        let ids = [pinned.comment_id];
        let states = self.parts.recent.deletion_states(stream_id, &ids);
        // Without an answer, the one of the metadata store counts.
        let state = match timeout(TOTALS_TIMEOUT, states).await {
            Ok(Ok(states)) => states.first().copied(),
            Ok(Err(_)) | Err(_) => None,
        };
        match state {
            Some(DeletionState::Deleted | DeletionState::HiddenFromOthers) => {
                self.parts.streams.report_hidden_pin(stream_id, pinned.clone());
                Pin { told: None, gone: Some(pinned) }
            }
            Some(DeletionState::NotDeleted | DeletionState::Restored) | None => {
                Pin { told: Some(pinned), gone: None }
            }
        }
    }

    fn stored_pin(&self, stream_id: StreamId) -> Option<Arc<PinnedComment>> {
        self.parts.streams.get(stream_id)?.pinned.clone()
    }

    /// Tells viewers of streams where another comment is pinned, or none any longer. Never skipped.
    pub(super) fn tell_pinned(&mut self) {
        let mut changed = Vec::new();
        for (stream_id, feed) in &mut self.feeds {
            let stored = self.parts.streams.get(*stream_id).and_then(|it| it.pinned.clone());
            changed.extend(feed.pin.update(stored).map(|comment| (*stream_id, comment)));
        }
        for (stream_id, comment) in changed {
            self.send(stream_id, Lane::Control, ServerMessage::Pinned { comment });
        }
    }

    /// Takes a comment that was deleted or hidden from above the chat, and has it unpinned.
    pub(super) fn take_down(&mut self, stream_id: StreamId, comment_id: CommentId) {
        let stored = self.stored_pin(stream_id).filter(|stored| stored.comment_id == comment_id);
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let was_told = feed.pin.take_down(comment_id, stored.clone());
        if let Some(pinned) = stored {
            self.parts.streams.report_hidden_pin(stream_id, pinned);
        }
        if was_told {
            self.send(stream_id, Lane::Control, ServerMessage::Pinned { comment: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;

    fn pinned(number: u64, pinned_at: u64) -> Option<Arc<PinnedComment>> {
        Some(Arc::new(PinnedComment {
            comment_id: CommentId::from_unix_ticks(number, 1, [3; 6]),
            user_id: UserId(1),
            name: "ann".into(),
            message: "hi".into(),
            created_at: 1,
            badges: Default::default(),
            pinned_at,
        }))
    }

    #[test]
    fn a_comment_that_is_gone_does_not_return() {
        let mut pin = Pin::default();
        assert_eq!(pin.update(pinned(1, 2)), Some(pinned(1, 2)));
        assert_eq!(pin.update(pinned(1, 2)), None, "told once");
        pin.gone = pin.told.take();
        assert_eq!(pin.update(pinned(1, 2)), None, "the store does not know yet");
        assert_eq!(pin.update(pinned(1, 3)), Some(pinned(1, 3)), "restored and pinned again");
        pin.gone = pin.told.take();
        assert_eq!(pin.update(None), None);
        assert_eq!(pin.update(pinned(1, 3)), Some(pinned(1, 3)), "its unpinning was taken back");
        assert_eq!(pin.update(pinned(2, 4)), Some(pinned(2, 4)));
        assert_eq!(pin.update(None), Some(None));
    }

    #[test]
    fn a_comment_pinned_again_untold_is_taken_down() {
        let comment_id = pinned(1, 2).unwrap().comment_id;
        let mut pin = Pin::default();
        pin.update(pinned(1, 2));
        assert!(pin.take_down(comment_id, pinned(1, 3)));
        assert_eq!(pin.update(pinned(1, 3)), None, "the second pin is not shown");
        assert!(!pin.take_down(comment_id, pinned(1, 3)), "told once");
        pin.update(pinned(2, 4));
        assert!(!pin.take_down(comment_id, pinned(1, 5)));
        assert_eq!(pin.update(pinned(1, 5)), Some(None), "in place of another one");
        assert_eq!(pin.update(pinned(1, 6)), Some(pinned(1, 6)), "restored and pinned again");
    }
}
