//! Pages of history. Requests for the same page at the same time, as from viewers that reconnect
//! together, share one read of the store and one encoding. Authors of comments that are hidden from
//! others have pages of their own.
//!
//! Always holds: a comment that a message delay holds back is only shown to its author and to staff
//! until it is broadcast. Everything that was broadcast is shown, whatever the delay is now. In a
//! room without a delay everything is shown, also while the broadcast is behind.
//!
//! A page comes from the recent cache while that has it, and from the comment store otherwise.
//! Deletions that the archiver has not written yet are known from the recent cache in both cases.
//! Nothing is cached here after the answer; [`caching`] says how long others may keep it.

mod caching;
mod pinned;
mod recent_pages;
mod replies;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::debug;

pub(super) use self::caching::Freshness;
use self::caching::entity_tag;
use self::recent_pages::{FromRecent, Wanted};
use self::replies::{LoadedReplies, RepliesKey, ThreadKey};
pub(super) use self::replies::{Replies, RepliesRequest};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::single_flight::SingleFlight;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::recent::{DeletionState, SharedRecentCache};
use crate::protocol::admin::HistoryPage;
use crate::protocol::room::LONGEST_DELAY_MS;
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId, UserId, json};

pub(super) const MAX_LIMIT: usize = 1000;

/// Pages before a comment that is older than this are in the comment store, and the recent cache is
/// not searched for them.
const RECENT: Duration = Duration::from_secs(600);

/// The store is looked at so often, with a pause between, until it has the comment that a page
/// comes before: for two seconds. The archiver is normally faster.
const ARCHIVE_LOOKS: u32 = 21;
const ARCHIVE_PAUSE: Duration = Duration::from_millis(100);

/// The place before which a page ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PageEnd {
    /// The end of the stream.
    Newest,
    Before(CommentId),
    /// The first comment that was made at or after this time, in milliseconds since the Unix epoch.
    Since(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PageRequest {
    pub(super) stream_id: StreamId,
    pub(super) end: PageEnd,
    /// 1 to [`MAX_LIMIT`].
    pub(super) limit: usize,
    /// The caller, if it sent a token.
    pub(super) reader: Option<UserId>,
    /// Whether the caller sees comments before they are broadcast.
    pub(super) is_staff: bool,
    /// Whether everybody may read the stream.
    pub(super) is_public: bool,
    /// Whether the stream has ended, and everything of it is stored by now.
    pub(super) is_over: bool,
}

/// A page, and what caches are told of it.
#[derive(Debug, Clone)]
pub(super) struct PageAnswer {
    /// A [`HistoryPage`] as JSON.
    pub(super) body: Bytes,
    pub(super) entity_tag: Arc<str>,
    pub(super) freshness: Freshness,
}

/// The part of a request that decides about the read of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PageKey {
    stream_id: StreamId,
    end: PageEnd,
    limit: usize,
    /// An author of comments that are hidden from others.
    hidden_author: Option<UserId>,
}

/// Reads pages from the comment store, each once for all concurrent requests.
#[derive(Debug)]
pub(crate) struct CommentPages {
    sources: PageSources,
    loads: SingleFlight<PageKey, Result<LoadedPage, StoreError>>,
    replies: SingleFlight<RepliesKey, Result<LoadedReplies, StoreError>>,
    reply_counts: SingleFlight<ThreadKey, Result<usize, StoreError>>,
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
    /// The time in which all pinned comments of a list are looked at: `redis.timeout`, as for one
    /// question to a recent cache in Redis.
    pub(crate) pins_timeout: Duration,
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
    entity_tag: Arc<str>,
    read: ReadPage,
}

/// Facts about the comments of a page.
#[derive(Debug, Clone, Copy)]
struct ReadPage {
    is_full: bool,
    /// Everything that was deleted is known.
    is_certain: bool,
    /// The comment that the page comes before is in the store or in the cache, so no older one is
    /// missing.
    is_archived: bool,
}

/// A page that was found.
struct Found {
    page: HistoryPage,
    is_certain: bool,
    is_archived: bool,
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
        Self {
            sources,
            loads: SingleFlight::default(),
            replies: SingleFlight::default(),
            reply_counts: SingleFlight::default(),
            hidden_authors: SingleFlight::default(),
        }
    }

    /// Returns a page for a caller.
    ///
    /// # Errors
    /// The store's error, the same for all concurrent requests.
    pub(super) async fn page(&self, request: PageRequest) -> Result<PageAnswer, StoreError> {
        let PageRequest { stream_id, end, limit, reader, is_staff, .. } = request;
        let hidden_author = self.hidden_author(reader, stream_id).await?;
        let key = PageKey { stream_id, end, limit, hidden_author };
        let sources = self.sources.clone();
        let page = self.loads.join(key, || sources.load(key)).await?;
        let body = page.shown_to(reader, is_staff)?;
        let freshness = page.freshness(&request);
        let entity_tag = match freshness {
            Freshness::Own => entity_tag(&body).into(),
            _ => page.entity_tag.clone(),
        };
        Ok(PageAnswer { body, entity_tag, freshness })
    }

    /// Returns the reader if the pages of a stream may show it more than they show to everybody.
    async fn hidden_author(
        &self,
        reader: Option<UserId>,
        stream_id: StreamId,
    ) -> Result<Option<UserId>, StoreError> {
        let Some(reader) = reader else { return Ok(None) };
        let comments = self.sources.comments.clone();
        let load = || async move { comments.hidden_authors(stream_id).await.map(Arc::from) };
        let authors = self.hidden_authors.join(stream_id, load).await?;
        Ok(authors.contains(&reader).then_some(reader))
    }
}

impl PageSources {
    async fn load(self, key: PageKey) -> Result<LoadedPage, StoreError> {
        let PageKey { stream_id, limit, .. } = key;
        let Found { page: whole, is_certain, is_archived } = self.find(key).await?;
        let is_full = whole.comments.len() == limit;
        // Read last: what was broadcast meanwhile is shown.
        let end = self.end_if_held_back(stream_id, &whole.comments).await;
        let shown = encode(&whole, |comment| !is_held_back(end, comment))?;
        Ok(LoadedPage {
            whole: Arc::new(whole),
            end,
            entity_tag: entity_tag(&shown).into(),
            shown,
            read: ReadPage { is_full, is_certain, is_archived },
        })
    }

    /// Looks for a page in the recent cache, else in the comment store. While comments may be held
    /// back, and for authors of hidden comments, only the store has what a page shows.
    async fn find(&self, key: PageKey) -> Result<Found, StoreError> {
        let PageKey { stream_id, end, limit, hidden_author } = key;
        let before = match end {
            PageEnd::Newest => None,
            PageEnd::Before(before) => Some(before),
            PageEnd::Since(since_ms) => return self.stored_until(key, since_ms).await,
        };
        let oldest_ms = self.clock.now_ms().saturating_sub(RECENT.as_millis() as u64);
        let is_recent = before.is_none_or(|before| before.unix_ms() >= oldest_ms);
        let may_ask = hidden_author.is_none() && is_recent;
        if !may_ask || self.streams.may_hold_back(stream_id) {
            return self.stored(key, before, None).await;
        }
        match recent_pages::find(&self.recent, Wanted { stream_id, before, limit }).await {
            FromRecent::Page(comments) => {
                let page = page_of(comments, limit);
                Ok(Found { page, is_certain: true, is_archived: true })
            }
            FromRecent::EndsAt(seq) => self.stored(key, before, Some(seq)).await,
            FromRecent::Nothing => self.stored(key, before, None).await,
        }
    }

    /// Reads a page of the store. `at` is the place of the comment that it comes before, if the
    /// recent cache knows it.
    ///
    /// # Errors
    /// Those of the store, and `Unavailable` if the archive does not reach `at` soon: comments
    /// before it would be missing.
    async fn stored(
        &self,
        key: PageKey,
        before: Option<CommentId>,
        at: Option<Seq>,
    ) -> Result<Found, StoreError> {
        let mut is_archived = false;
        for attempt in 1..=ARCHIVE_LOOKS {
            let Some(before) = before else { break };
            is_archived = self.has_archived(key.stream_id, before, at).await?;
            if is_archived || at.is_none() {
                break;
            }
            if attempt == ARCHIVE_LOOKS {
                return Err(StoreError::Unavailable("the archive is behind".to_owned()));
            }
            tokio::time::sleep(ARCHIVE_PAUSE).await;
        }
        let (page, is_certain) = self.read(key, before).await?;
        Ok(Found { page, is_certain, is_archived })
    }

    /// Reads a page of the store that ends at a moment. The store is written in the order of the
    /// log, so that it has everything before a comment that it has.
    async fn stored_until(&self, key: PageKey, since_ms: u64) -> Result<Found, StoreError> {
        let first = self.comments.first_since(key.stream_id, since_ms).await?;
        let (page, is_certain) = self.read(key, first).await?;
        Ok(Found { page, is_certain, is_archived: first.is_some() })
    }

    /// Reads a page of the store. Returns it, and whether everything that was deleted is known.
    async fn read(
        &self,
        key: PageKey,
        before: Option<CommentId>,
    ) -> Result<(HistoryPage, bool), StoreError> {
        let PageKey { stream_id, limit, hidden_author, .. } = key;
        let wanted = wanted(limit);
        let comments = match hidden_author {
            None => self.comments.page(stream_id, before, wanted).await?,
            Some(author) => self.comments.page_for(author, stream_id, before, wanted).await?,
        };
        let mut page = page_of(comments, limit);
        let is_certain = self.remove_deleted(stream_id, hidden_author, &mut page.comments).await;
        Ok((page, is_certain))
    }

    /// Returns whether the store has a comment as new as this one. A known place decides, and then
    /// the id does not count: a comment that was held for review has an old id at a new place.
    async fn has_archived(
        &self,
        stream_id: StreamId,
        before: CommentId,
        at: Option<Seq>,
    ) -> Result<bool, StoreError> {
        let newest = self.comments.page(stream_id, None, 1).await?;
        Ok(newest.first().is_some_and(|newest| match at {
            Some(at) => newest.seq >= at,
            None => newest.comment_id.sort_key() >= before.sort_key(),
        }))
    }

    /// Removes comments that were deleted or hidden, but not in the store yet; a page is shorter
    /// then. Returns false if the latest deletions are not known.
    async fn remove_deleted(
        &self,
        stream_id: StreamId,
        hidden_author: Option<UserId>,
        comments: &mut Vec<SequencedComment>,
    ) -> bool {
        let ids: Vec<_> = comments.iter().map(|comment| comment.comment_id).collect();
        let states = match self.recent.deletion_states(stream_id, &ids).await {
            Ok(states) => states,
            Err(error) => {
                debug!(%stream_id, %error, "the latest deletions are not known");
                return false;
            }
        };
        let mut states = states.into_iter();
        comments.retain(|comment| match states.next() {
            Some(DeletionState::Deleted) => false,
            Some(DeletionState::HiddenFromOthers) => hidden_author == Some(comment.user_id),
            _ => true,
        });
        true
    }

    /// Returns the end of the broadcast if a delay may hold back one of these comments. Most pages
    /// need no look at it.
    async fn end_if_held_back(
        &self,
        stream_id: StreamId,
        comments: &[SequencedComment],
    ) -> Option<BroadcastEnd> {
        let now_ms = self.clock.now_ms();
        let is_recent = |comment: &SequencedComment| {
            comment.created_at.saturating_add(LONGEST_DELAY_MS) > now_ms
        };
        if comments.iter().any(is_recent) && self.streams.may_hold_back(stream_id) {
            return Some(self.broadcast_end(stream_id).await);
        }
        None
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
    fn freshness(&self, request: &PageRequest) -> Freshness {
        let ReadPage { is_full, is_certain, is_archived } = self.read;
        if request.reader.is_some() || !request.is_public {
            return Freshness::Own;
        }
        let is_past = request.end != PageEnd::Newest
            && is_full
            && is_certain
            && !self.has_held_back()
            && (is_archived || request.is_over);
        if is_past { Freshness::Past } else { Freshness::Changing }
    }

    /// Returns whether a comment of the page is shown to some only.
    fn has_held_back(&self) -> bool {
        self.whole.comments.iter().any(|comment| is_held_back(self.end, comment))
    }

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

/// Returns how many comments are read for a page: one more than requested shows whether there is a
/// next page. The store returns at most 1000, so a full page of that size may be followed by an
/// empty one.
fn wanted(limit: usize) -> usize {
    (limit + 1).min(MAX_LIMIT)
}

/// Returns a page of what was read for it.
fn page_of(mut comments: Vec<SequencedComment>, limit: usize) -> HistoryPage {
    let more = comments.len() >= wanted(limit);
    comments.truncate(limit);
    let next_before = comments.last().filter(|_| more).map(|comment| comment.comment_id);
    HistoryPage { comments, next_before }
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
