//! Pages of history. Requests for the same page at the same time, as from viewers that reconnect
//! together, share one read of the store and one encoding. Authors of comments that are hidden from
//! others have pages of their own.
//!
//! Always holds: a comment that a message delay holds back is only shown to its author and to staff
//! until it is broadcast. Everything that was broadcast is shown, whatever the delay is now. In a
//! room without a delay everything is shown, also while the broadcast is behind.
//!
//! A page may be as old as one read of the store takes. The archiver, which writes comments and
//! deletions to the store, is further behind than that. Nothing is cached after the answer.

use std::sync::Arc;

use bytes::Bytes;
use tracing::debug;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::single_flight::SingleFlight;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::recent::SharedRecentCache;
use crate::protocol::admin::HistoryPage;
use crate::protocol::room::LONGEST_DELAY_MS;
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId, UserId, json};

pub(super) const MAX_LIMIT: usize = 1000;

#[derive(Debug, Clone, Copy)]
pub(super) struct PageRequest {
    pub(super) stream_id: StreamId,
    pub(super) before: Option<CommentId>,
    /// 1 to [`MAX_LIMIT`].
    pub(super) limit: usize,
    /// The caller, if it sent a token.
    pub(super) reader: Option<UserId>,
    /// Whether the caller sees comments before they are broadcast.
    pub(super) is_staff: bool,
}

/// The part of a request that decides about the read of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PageKey {
    stream_id: StreamId,
    before: Option<CommentId>,
    limit: usize,
    /// An author of comments that are hidden from others.
    hidden_author: Option<UserId>,
}

/// Reads pages from the comment store, each once for all concurrent requests.
#[derive(Debug)]
pub(crate) struct CommentPages {
    sources: PageSources,
    loads: SingleFlight<PageKey, Result<LoadedPage, StoreError>>,
    /// Authors of comments that are hidden from others, by stream.
    hidden_authors: SingleFlight<StreamId, Result<Arc<[UserId]>, StoreError>>,
}

/// The places from which pages are read.
#[derive(Debug, Clone)]
pub(crate) struct PageSources {
    pub(crate) comments: SharedCommentStore,
    /// Tells how far a stream was broadcast.
    pub(crate) recent: SharedRecentCache,
    pub(crate) streams: Streams,
    pub(crate) clock: SharedClock,
}

/// A page that was read, for all that asked for it.
#[derive(Debug, Clone)]
struct LoadedPage {
    /// With the comments that are held back.
    whole: Arc<HistoryPage>,
    /// `None` if no delay can hold back a comment of this page.
    end: Option<BroadcastEnd>,
    /// Without them, as JSON.
    shown: Bytes,
}

/// The end of the broadcast of a stream when a page was read.
#[derive(Debug, Clone, Copy)]
struct BroadcastEnd {
    /// The last position that was broadcast, if it is known.
    head: Option<Seq>,
    /// The message delay of the room.
    delay_ms: u64,
    now_ms: u64,
}

impl BroadcastEnd {
    /// Returns whether a message delay may hold a comment back. One beyond the end that no delay
    /// could hold any longer is shown: it is from an older log, whose positions count no longer, or
    /// the broadcast is behind for another reason. While the end is not known, the delay of now
    /// decides.
    fn holds_back(&self, comment: &SequencedComment) -> bool {
        let held_ms = match self.head {
            Some(head) if comment.seq <= head => return false,
            Some(_) => LONGEST_DELAY_MS,
            None => self.delay_ms,
        };
        comment.created_at.saturating_add(held_ms) > self.now_ms
    }
}

fn is_held_back(end: Option<BroadcastEnd>, comment: &SequencedComment) -> bool {
    end.is_some_and(|end| end.holds_back(comment))
}

impl CommentPages {
    pub(crate) fn new(sources: PageSources) -> Self {
        Self { sources, loads: SingleFlight::default(), hidden_authors: SingleFlight::default() }
    }

    /// Returns a [`HistoryPage`] as JSON.
    ///
    /// # Errors
    /// The store's error, the same for all concurrent requests.
    pub(super) async fn page(&self, request: PageRequest) -> Result<Bytes, StoreError> {
        let PageRequest { stream_id, before, limit, reader, is_staff } = request;
        let hidden_author = match reader {
            Some(reader) if self.is_hidden_author(reader, stream_id).await? => Some(reader),
            _ => None,
        };
        let key = PageKey { stream_id, before, limit, hidden_author };
        let sources = self.sources.clone();
        let page = self.loads.join(key, || sources.load(key)).await?;
        page.shown_to(reader, is_staff)
    }

    /// Returns whether the pages of a stream may show a reader more than they show to everybody.
    async fn is_hidden_author(
        &self,
        reader: UserId,
        stream_id: StreamId,
    ) -> Result<bool, StoreError> {
        let comments = self.sources.comments.clone();
        let load = || async move { comments.hidden_authors(stream_id).await.map(Arc::from) };
        let authors = self.hidden_authors.join(stream_id, load).await?;
        Ok(authors.contains(&reader))
    }
}

impl PageSources {
    async fn load(self, key: PageKey) -> Result<LoadedPage, StoreError> {
        let PageKey { stream_id, before, limit, hidden_author } = key;
        // One comment more than requested shows whether there is a next page. The store returns at
        // most 1000, so a full page of that size may be followed by an empty one.
        let wanted = (limit + 1).min(MAX_LIMIT);
        let mut comments = match hidden_author {
            None => self.comments.page(stream_id, before, wanted).await?,
            Some(author) => self.comments.page_for(author, stream_id, before, wanted).await?,
        };
        let more = comments.len() == wanted;
        comments.truncate(limit);
        let next_before = comments.last().filter(|_| more).map(|comment| comment.comment_id);
        let whole = HistoryPage { comments, next_before };
        // Read last: what was broadcast meanwhile is shown.
        let end = if self.may_hold_back(stream_id, &whole) {
            Some(self.broadcast_end(stream_id).await)
        } else {
            None
        };
        let shown = encode(&whole, |comment| !is_held_back(end, comment))?;
        Ok(LoadedPage { whole: Arc::new(whole), end, shown })
    }

    /// Returns whether a delay may hold back a comment of a page. Most pages need no look at the
    /// end of the broadcast.
    fn may_hold_back(&self, stream_id: StreamId, page: &HistoryPage) -> bool {
        let now_ms = self.clock.now_ms();
        let is_recent = |comment: &SequencedComment| {
            comment.created_at.saturating_add(LONGEST_DELAY_MS) > now_ms
        };
        page.comments.iter().any(is_recent) && self.streams.may_hold_back(stream_id)
    }

    async fn broadcast_end(&self, stream_id: StreamId) -> BroadcastEnd {
        let head = self.recent.head(stream_id).await.unwrap_or_else(|error| {
            debug!(%stream_id, %error, "end of the broadcast unknown; the delay decides");
            None
        });
        let delay_ms = self.streams.get(stream_id).and_then(|stream| stream.room.delay_ms);
        BroadcastEnd { head, delay_ms: delay_ms.unwrap_or(0), now_ms: self.clock.now_ms() }
    }
}

impl LoadedPage {
    /// Returns the page as JSON for a caller. Few see more than everybody, and only while comments
    /// are held back.
    fn shown_to(&self, reader: Option<UserId>, is_staff: bool) -> Result<Bytes, StoreError> {
        let sees_early = |comment: &SequencedComment| is_staff || reader == Some(comment.user_id);
        let is_held_back = |comment: &SequencedComment| is_held_back(self.end, comment);
        let sees = |comment: &SequencedComment| !is_held_back(comment) || sees_early(comment);
        let sees_more = |comment: &SequencedComment| is_held_back(comment) && sees_early(comment);
        if self.whole.comments.iter().any(sees_more) {
            return encode(&self.whole, sees);
        }
        Ok(self.shown.clone())
    }
}

/// Writes the comments of a page that are wanted.
fn encode(
    page: &HistoryPage,
    is_wanted: impl Fn(&SequencedComment) -> bool,
) -> Result<Bytes, StoreError> {
    let comments = page.comments.iter().filter(|comment| is_wanted(comment)).cloned().collect();
    let page = HistoryPage { comments, next_before: page.next_before };
    let json = json::to_vec(&page).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(json.into())
}

#[cfg(test)]
mod tests;
