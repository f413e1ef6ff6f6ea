//! Comments that viewers may have been shown in an earlier epoch of the log.
//!
//! The coordinator of a new epoch reads a partition after that of the earlier one has left it, so
//! when a batch arrives here, the recent cache has everything that was broadcast before.

use std::time::Duration;

use tracing::{debug, info};

use super::Hub;
use crate::daemon::engines::recent::EarlierPlaces;
use crate::daemon::stages::delivery::audience::EARLIER_KEPT_FOR;
use crate::protocol::comment::SequencedComment;
use crate::protocol::{CommentId, Seq, StreamId, StreamPosition};

/// Nodes open a new log within this time of each other. Comments created later were in no earlier
/// epoch.
const OPENED_WITHIN: Duration = Duration::from_secs(5);

/// Places of older comments are not kept, and none are so long after the log was opened.
const KEPT_MS: u64 = EARLIER_KEPT_FOR.as_millis() as u64;

/// The places of the comments of a stream in the earlier epoch.
#[derive(Debug, Default)]
pub(super) enum EarlierEpoch {
    /// Nearly always: no comment asked for it.
    #[default]
    NotRead,
    Read(Option<EarlierPlaces>),
}

impl Hub {
    /// Returns the comments that are so old that they may have been in an earlier epoch, as long as
    /// such ones are still repeated.
    pub(super) fn older_than_log<'a>(
        &self,
        comments: impl Iterator<Item = &'a SequencedComment>,
    ) -> Vec<(Seq, CommentId)> {
        if !self.uses_earlier() {
            return Vec::new();
        }
        let opened_ms = self.opened_ms.saturating_add(OPENED_WITHIN.as_millis() as u64);
        let old = comments.filter(|comment| comment.created_at < opened_ms);
        old.map(|comment| (comment.seq, comment.comment_id)).collect()
    }

    /// Returns whether comments of an earlier epoch may still be repeated into this one.
    fn uses_earlier(&self) -> bool {
        self.parts.clock.now_ms().saturating_sub(self.opened_ms) < KEPT_MS
    }

    /// Drops the places of all streams once nothing uses them any more.
    pub(super) fn forget_earlier(&mut self) {
        if self.forgot_earlier || self.uses_earlier() {
            return;
        }
        self.forgot_earlier = true;
        self.feeds.values_mut().for_each(|feed| feed.earlier = EarlierEpoch::NotRead);
    }

    /// Returns the places that these comments had in the earlier epoch, of those that were
    /// broadcast in it. The cache is asked once per stream.
    pub(super) async fn shown_before(
        &mut self,
        stream_id: StreamId,
        comments: Vec<(Seq, CommentId)>,
    ) -> Vec<(Seq, StreamPosition)> {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return Vec::new() };
        if comments.is_empty() {
            return Vec::new();
        }
        if matches!(feed.earlier, EarlierEpoch::NotRead) {
            match self.parts.recent.earlier(stream_id).await {
                Ok(mut found) => {
                    let oldest_ms = self.parts.clock.now_ms().saturating_sub(KEPT_MS);
                    if let Some(found) = &mut found {
                        found.places.retain(|comment_id, _| comment_id.unix_ms() >= oldest_ms);
                        found.places.shrink_to_fit();
                    }
                    feed.earlier = EarlierEpoch::Read(found);
                }
                Err(error) => {
                    debug!(%stream_id, %error, "comments of the earlier epoch unknown");
                    return Vec::new();
                }
            }
        }
        let EarlierEpoch::Read(Some(EarlierPlaces { epoch, places })) = &feed.earlier else {
            return Vec::new();
        };
        let place = |(seq, comment_id)| {
            let before = *places.get(&comment_id)?;
            Some((seq, StreamPosition { epoch: *epoch, seq: before }))
        };
        let found: Vec<_> = comments.into_iter().filter_map(place).collect();
        if !found.is_empty() {
            let comments = found.len();
            info!(%stream_id, comments, "comments were broadcast in the earlier epoch already");
        }
        found
    }
}
