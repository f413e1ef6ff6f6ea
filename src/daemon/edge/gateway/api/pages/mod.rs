//! Pages of history: read and encoded once for all who ask for the same at the same time, as viewers
//! do that come back together.
//!
//! A page shows the store as it was when the first of them asked, by as much as the store takes to
//! answer; the archiver, which brings comments and deletions there, is behind by more. Nothing is kept
//! once the answer is there.

use bytes::Bytes;

use crate::daemon::base::single_flight::Flights;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::protocol::admin::HistoryPage;
use crate::protocol::{CommentId, StreamId};

pub(super) const MAX_LIMIT: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) stream_id: StreamId,
    pub(super) before: Option<CommentId>,
    /// 1 to [`MAX_LIMIT`].
    pub(super) limit: usize,
}

/// The comment store, asked once for all.
#[derive(Debug)]
pub(crate) struct CommentPages {
    comments: SharedCommentStore,
    flights: Flights<Question, Result<Bytes, StoreError>>,
}

impl CommentPages {
    pub(crate) fn new(comments: SharedCommentStore) -> Self {
        Self { comments, flights: Flights::default() }
    }

    /// A [`HistoryPage`] as JSON.
    ///
    /// # Errors
    /// The store's, the same for all who asked.
    pub(super) async fn page(&self, question: Question) -> Result<Bytes, StoreError> {
        let comments = self.comments.clone();
        self.flights.join(question, || load(comments, question)).await
    }
}

async fn load(comments: SharedCommentStore, question: Question) -> Result<Bytes, StoreError> {
    let Question { stream_id, before, limit } = question;
    // One more than asked for tells whether there is a next page; the store gives 1000 at most, so
    // a full page of that size may be followed by an empty one.
    let wanted = (limit + 1).min(MAX_LIMIT);
    let mut comments = comments.page(stream_id, before, wanted).await?;
    let more = comments.len() == wanted;
    comments.truncate(limit);
    let next_before = comments.last().filter(|_| more).map(|comment| comment.comment_id);
    let page = HistoryPage { comments, next_before };
    let json = serde_json::to_vec(&page).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(json.into())
}

#[cfg(test)]
mod tests;
