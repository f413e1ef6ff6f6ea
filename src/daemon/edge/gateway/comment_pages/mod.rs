//! Pages of history. Requests for the same page at the same time, as from viewers that reconnect
//! together, share one read of the store and one encoding. Authors of comments that are hidden from
//! others have pages of their own.
//!
//! A page may be as old as one read of the store takes. The archiver, which writes comments and
//! deletions to the store, is further behind than that. Nothing is cached after the answer.

use std::sync::Arc;

use bytes::Bytes;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::single_flight::SingleFlight;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::protocol::admin::HistoryPage;
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId, json};

pub(super) const MAX_LIMIT: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PageRequest {
    pub(super) stream_id: StreamId,
    pub(super) before: Option<CommentId>,
    /// 1 to [`MAX_LIMIT`].
    pub(super) limit: usize,
    /// The caller, if it sent a token.
    pub(super) reader: Option<UserId>,
    /// The message delay of the room in milliseconds, unless the caller is staff.
    pub(super) delay_ms: Option<u64>,
}

/// Reads pages from the comment store, each once for all concurrent requests.
#[derive(Debug)]
pub(crate) struct CommentPages {
    comments: SharedCommentStore,
    clock: SharedClock,
    loads: SingleFlight<PageRequest, Result<Bytes, StoreError>>,
    /// Authors of comments that are hidden from others, by stream.
    hidden_authors: SingleFlight<StreamId, Result<Arc<[UserId]>, StoreError>>,
}

impl CommentPages {
    pub(crate) fn new(comments: SharedCommentStore, clock: SharedClock) -> Self {
        let loads = SingleFlight::default();
        Self { comments, clock, loads, hidden_authors: SingleFlight::default() }
    }

    /// Returns a [`HistoryPage`] as JSON.
    ///
    /// # Errors
    /// The store's error, the same for all concurrent requests.
    pub(super) async fn page(&self, request: PageRequest) -> Result<Bytes, StoreError> {
        let reader = match request.reader {
            // Its own comments are there before their time.
            Some(reader) if request.delay_ms.is_some() => Some(reader),
            Some(reader) if self.is_hidden_author(reader, request.stream_id).await? => Some(reader),
            _ => None,
        };
        let request = PageRequest { reader, ..request };
        let comments = self.comments.clone();
        let now_ms = self.clock.now_ms();
        self.loads.join(request, || load(comments, request, now_ms)).await
    }

    /// Returns whether the pages of a stream may show a reader more than they show to everybody.
    async fn is_hidden_author(
        &self,
        reader: UserId,
        stream_id: StreamId,
    ) -> Result<bool, StoreError> {
        let comments = self.comments.clone();
        let load = || async move { comments.hidden_authors(stream_id).await.map(Arc::from) };
        let authors = self.hidden_authors.join(stream_id, load).await?;
        Ok(authors.contains(&reader))
    }
}

async fn load(
    comments: SharedCommentStore,
    request: PageRequest,
    now_ms: u64,
) -> Result<Bytes, StoreError> {
    let PageRequest { stream_id, before, limit, reader, delay_ms } = request;
    // One comment more than requested shows whether there is a next page. The store returns at most
    // 1000, so a full page of that size may be followed by an empty one.
    let wanted = (limit + 1).min(MAX_LIMIT);
    let mut comments = match reader {
        None => comments.page(stream_id, before, wanted).await?,
        Some(reader) => comments.page_for(reader, stream_id, before, wanted).await?,
    };
    let more = comments.len() == wanted;
    comments.truncate(limit);
    let next_before = comments.last().filter(|_| more).map(|comment| comment.comment_id);
    if let Some(delay_ms) = delay_ms {
        let is_due = |comment: &SequencedComment| comment.created_at + delay_ms <= now_ms;
        comments.retain(|comment| is_due(comment) || reader == Some(comment.user_id));
    }
    let page = HistoryPage { comments, next_before };
    let json = json::to_vec(&page).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(json.into())
}

#[cfg(test)]
mod tests;
