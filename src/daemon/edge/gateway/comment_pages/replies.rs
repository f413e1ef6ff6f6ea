//! Pages of the replies to a comment. They come from the comment store, without those that were
//! deleted since it was written.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{BroadcastEnd, CommentPages, PageSources, is_held_back, page_of, wanted};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::{CommentKey, MAX_COUNTED_REPLIES};
use crate::protocol::admin::HistoryPage;
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

/// Of this many newest replies is known whether a caller sees them, where that may change their
/// number.
pub(super) const NEWEST_REPLIES: usize = 100;

/// A page of the replies to a comment, as it is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(description = "Replies to a comment, and how many there are.")]
pub(crate) struct Replies {
    /// All that the caller sees, or the least number of them.
    count: usize,
    /// False if there may be more: counting stops at 1,000.
    count_is_exact: bool,
    comments: Vec<SequencedComment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<CommentId>,
}

/// The replies to a comment that a caller asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RepliesRequest {
    pub(crate) stream_id: StreamId,
    pub(crate) parent_id: CommentId,
    pub(crate) before: Option<CommentId>,
    /// 1 to [`MAX_LIMIT`](super::MAX_LIMIT).
    pub(crate) limit: usize,
    /// The caller, if it sent a token.
    pub(crate) reader: Option<UserId>,
    /// Whether the caller sees replies before they are broadcast.
    pub(crate) is_staff: bool,
}

/// The replies to a comment, for one kind of readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ThreadKey {
    parent: CommentKey,
    /// An author of comments that are hidden from others.
    hidden_author: Option<UserId>,
}

/// The part of a request that decides about the read of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RepliesKey {
    thread: ThreadKey,
    before: Option<CommentId>,
    limit: usize,
}

/// Replies that were read, for all that asked for them.
#[derive(Debug, Clone)]
pub(super) struct LoadedReplies {
    /// Newest first, with those that are held back.
    whole: Arc<HistoryPage>,
    /// Those that were deleted since the store was written.
    removed: usize,
    /// `None` if no delay can hold back any of them.
    end: Option<BroadcastEnd>,
}

impl CommentPages {
    /// Returns a page of the replies to a comment, and their number. Replies that were just deleted
    /// or are held back do not count, as far as they are among those that were read.
    ///
    /// # Errors
    /// The store's error, the same for all concurrent requests.
    pub(crate) async fn replies(&self, request: RepliesRequest) -> Result<Replies, StoreError> {
        let RepliesRequest { stream_id, parent_id, before, limit, reader, is_staff } = request;
        let hidden_author = self.hidden_author(reader, stream_id).await?;
        let parent = CommentKey { stream_id, comment_id: parent_id };
        let thread = ThreadKey { parent, hidden_author };
        let sources = || self.sources.clone();
        let load = |key: RepliesKey| self.replies.join(key, || sources().load_replies(key));
        let page = load(RepliesKey { thread, before, limit });
        let comments = self.sources.comments.clone();
        let count = self.reply_counts.join(thread, || async move {
            comments.reply_count(thread.hidden_author, thread.parent).await
        });
        let (page, count) = tokio::try_join!(page, count)?;
        let has_newest = before.is_none() && limit >= NEWEST_REPLIES;
        let newest = if !has_newest && self.sources.streams.may_hold_back(stream_id) {
            Some(load(RepliesKey { thread, before: None, limit: NEWEST_REPLIES }).await?)
        } else {
            before.is_none().then(|| page.clone())
        };
        let sees = |end, comment: &SequencedComment| {
            is_staff || reader == Some(comment.user_id) || !is_held_back(end, comment)
        };
        let not_shown = newest.map_or(0, |newest| {
            let unseen = newest.whole.comments.iter().filter(|it| !sees(newest.end, it));
            newest.removed + unseen.count()
        });
        let HistoryPage { comments, next_before } = &*page.whole;
        let comments: Vec<_> = comments.iter().filter(|it| sees(page.end, it)).cloned().collect();
        Ok(Replies {
            count: count.saturating_sub(not_shown).max(comments.len()),
            count_is_exact: count < MAX_COUNTED_REPLIES,
            comments,
            next_before: *next_before,
        })
    }
}

impl PageSources {
    async fn load_replies(self, key: RepliesKey) -> Result<LoadedReplies, StoreError> {
        let RepliesKey { thread: ThreadKey { parent, hidden_author }, before, limit } = key;
        let read = self.comments.replies(hidden_author, parent, before, wanted(limit)).await?;
        let mut page = page_of(read, limit);
        let found = page.comments.len();
        self.remove_deleted(parent.stream_id, hidden_author, &mut page.comments).await;
        let removed = found - page.comments.len();
        let end = self.end_if_held_back(parent.stream_id, &page.comments).await;
        Ok(LoadedReplies { whole: Arc::new(page), removed, end })
    }
}
