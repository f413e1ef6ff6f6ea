//! The pinned comments of streams, as they are answered.

use futures_util::StreamExt as _;
use tokio::time::timeout;
use tracing::debug;

use super::{CommentPages, PageSources};
use crate::daemon::engines::recent::DeletionState;
use crate::protocol::stream::Stream;
use crate::protocol::{CommentId, StreamId};

/// Streams that are looked at together.
const AT_ONCE: usize = 16;

impl CommentPages {
    /// Takes pinned comments from streams that were deleted or hidden, and are not unpinned yet.
    /// All streams together take at most [`PageSources::pins_timeout`]. Those that were not looked
    /// at by then keep what the metadata store has: while the recent cache is slow, a deleted
    /// comment may be listed as pinned for a few seconds more.
    pub(crate) async fn take_hidden_pins(&self, streams: &mut [Stream]) {
        let sources = &self.sources;
        let pins = streams.iter_mut().filter(|stream| stream.pinned.is_some());
        let looks =
            futures_util::stream::iter(pins).for_each_concurrent(AT_ONCE, |stream| async move {
                let Some(pinned) = &stream.pinned else { return };
                if sources.is_hidden(stream.stream_id, pinned.comment_id).await {
                    stream.pinned = None;
                }
            });
        if timeout(sources.pins_timeout, looks).await.is_err() {
            debug!("the recent cache is slow; not all pinned comments were looked at");
        }
    }
}

impl PageSources {
    /// Without an answer, what the metadata store has counts.
    async fn is_hidden(&self, stream_id: StreamId, comment_id: CommentId) -> bool {
        match self.recent.deletion_states(stream_id, &[comment_id]).await {
            Ok(states) => matches!(
                states.first(),
                Some(DeletionState::Deleted | DeletionState::HiddenFromOthers)
            ),
            Err(error) => {
                debug!(%stream_id, %error, "the latest deletions are not known");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::engines::comments::in_memory::InMemoryComments;
    use crate::daemon::engines::directory::Streams;
    use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
    use crate::daemon::engines::recent::RecentCache as _;
    use crate::daemon::testing::recent::TestRecent;
    use crate::protocol::stream::ModerationMode;
    use crate::protocol::{PinnedComment, UserId};

    fn with_pin(number: u64) -> Stream {
        let pinned = PinnedComment {
            comment_id: CommentId::from_unix_ticks(number, 1, [3; 6]),
            user_id: UserId(1),
            name: "ann".into(),
            message: "hi".into(),
            created_at: 1,
            badges: Default::default(),
            pinned_at: 2,
        };
        Stream { pinned: Some(pinned.into()), ..stream(number, ModerationMode::Async) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_cache_delays_a_long_list_once() {
        let recent = Arc::new(TestRecent::default());
        let mut streams: Vec<_> = (1..=1000).map(with_pin).collect();
        for stream in &streams {
            let id = stream.pinned.as_ref().unwrap().comment_id;
            recent.add_tombstone(stream.stream_id, id, 1).await.unwrap();
        }
        let pages = CommentPages::new(PageSources {
            comments: Arc::new(InMemoryComments::default()),
            recent: recent.clone(),
            streams: Streams::load(Arc::new(InMemoryMetadata::default())).await.unwrap(),
            clock: Arc::new(TokioClock::starting_at(Duration::ZERO)),
            pins_timeout: Duration::from_secs(1),
        });
        recent.set_deletion_wait(Duration::from_millis(400));
        let started = Instant::now();
        pages.take_hidden_pins(&mut streams).await;
        assert_eq!(started.elapsed(), Duration::from_secs(1));
        let without = streams.iter().filter(|stream| stream.pinned.is_none()).count();
        assert_eq!(without, 2 * AT_ONCE, "what was answered in time counts");
    }
}
