//! Pinned comments that were seen to be deleted or hidden, on their way to be unpinned.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::protocol::{PinnedComment, StreamId};

/// Bounded: at most one pin per stream, the latest that was reported.
#[derive(Debug, Default)]
pub(super) struct HiddenPins {
    by_stream: Mutex<BTreeMap<StreamId, Arc<PinnedComment>>>,
    reported: Notify,
}

impl HiddenPins {
    pub(super) fn report(&self, stream_id: StreamId, pinned: Arc<PinnedComment>) {
        let mut by_stream = self.by_stream.lock();
        let latest = by_stream.entry(stream_id).or_insert_with(|| pinned.clone());
        if pinned.pinned_at >= latest.pinned_at {
            *latest = pinned;
        }
        drop(by_stream);
        self.reported.notify_one();
    }

    /// Waits until there are some, and takes them. Cancelling it loses nothing.
    pub(super) async fn take(&self) -> BTreeMap<StreamId, Arc<PinnedComment>> {
        loop {
            let taken = std::mem::take(&mut *self.by_stream.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.reported.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CommentId, UserId};

    fn pinned(pinned_at: u64) -> Arc<PinnedComment> {
        Arc::new(PinnedComment {
            comment_id: CommentId::from_unix_ticks(1, 1, [3; 6]),
            user_id: UserId(1),
            name: "ann".into(),
            message: "hi".into(),
            created_at: 1,
            badges: Default::default(),
            pinned_at,
        })
    }

    #[tokio::test]
    async fn an_old_pin_replaces_no_later_one() {
        let pins = HiddenPins::default();
        for (stream, pinned_at) in [(1, 5), (1, 4), (2, 1), (2, 2)] {
            pins.report(StreamId(stream), pinned(pinned_at));
        }
        let taken = pins.take().await;
        let latest = [(StreamId(1), pinned(5)), (StreamId(2), pinned(2))];
        assert_eq!(taken, BTreeMap::from(latest));
        pins.report(StreamId(1), pinned(4));
        let next = BTreeMap::from([(StreamId(1), pinned(4))]);
        assert_eq!(pins.take().await, next, "what was taken is forgotten");
    }
}
