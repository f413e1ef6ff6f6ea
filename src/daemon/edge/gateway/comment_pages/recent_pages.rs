//! The newest pages of a history from the recent cache, which the broadcast has just filled: the
//! comment store is not asked for them, and they are complete up to the newest comment.

use ahash::AHashSet;
use tracing::debug;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::recent::{RecentEvent, SharedRecentCache};
use crate::protocol::{CommentId, Seq, SequencedComment, StreamId};

/// Events of one read of the cache.
const EVENTS_AT_ONCE: usize = 2_048;
/// Comments that are looked through for a page.
const MAX_COMMENTS: usize = 4_096;
/// Places of the log that are looked at first, for each comment of a page. They grow: other streams
/// have places in between.
const FIRST_SPAN: u64 = 2;
const GROWTH: u64 = 8;
const MAX_SPAN: u64 = 1 << 16;
/// Comments by whose ids it is decided that a search has gone beyond an id. One is not enough: a
/// comment that was held for review has an old id at a new place.
const BEYOND: usize = 16;
/// Reads of the cache for one page, at most. Several are needed only near its oldest event, whose
/// place it does not tell.
const MAX_LOOKS: u32 = 12;

/// An answer of the recent cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromRecent {
    /// One comment more than a page has, newest first: so there is an older page.
    Page(Vec<SequencedComment>),
    /// The page does not begin or end in the cache, but the comment that it comes before is there,
    /// at this place.
    EndsAt(Seq),
    Nothing,
}

/// A page that is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) stream_id: StreamId,
    pub(super) before: Option<CommentId>,
    pub(super) limit: usize,
}

/// Looks for a page. A cache that is away, or may have lost deletions, has nothing.
pub(super) async fn find(recent: &SharedRecentCache, wanted: Wanted) -> FromRecent {
    look(recent, wanted).await.unwrap_or_else(|error| {
        let stream_id = wanted.stream_id;
        debug!(%stream_id, %error, "recent cache unavailable; reading the comment store");
        FromRecent::Nothing
    })
}

async fn look(recent: &SharedRecentCache, wanted: Wanted) -> Result<FromRecent, StoreError> {
    let Wanted { stream_id, before, limit } = wanted;
    let Some(head) = recent.head(stream_id).await? else { return Ok(FromRecent::Nothing) };
    let mut found = FromRecent::Nothing;
    let mut spans = Spans::starting_at((limit as u64 + 1) * FIRST_SPAN);
    for _ in 0..MAX_LOOKS {
        let start = head.saturating_sub(spans.span);
        let comments = comments_in(recent, stream_id, start..head).await?;
        if let Some(comments) = &comments {
            let end = match before {
                None => Some(comments.len()),
                Some(before) => comments.iter().rposition(|comment| comment.comment_id == before),
            };
            match end {
                Some(end) if end > limit => {
                    let page = comments[end - limit - 1..end].iter().rev().cloned();
                    return Ok(FromRecent::Page(page.collect()));
                }
                Some(end) if end < comments.len() => found = FromRecent::EndsAt(comments[end].seq),
                None if before.is_some_and(|before| is_beyond(comments, before)) => break,
                _ => {}
            }
        }
        if comments.is_some() && start == 0 || !spans.look_on(comments.is_some()) {
            break;
        }
    }
    Ok(found)
}

/// Returns whether comments begin so long before an id that those before them cannot have it.
fn is_beyond(comments: &[SequencedComment], id: CommentId) -> bool {
    let is_older = |comment: &SequencedComment| comment.comment_id.sort_key() < id.sort_key();
    comments.get(..BEYOND).is_some_and(|oldest| oldest.iter().all(is_older))
}

/// The numbers of places that are looked at, one after another: more and more of them until the
/// cache does not reach back that far, then between.
#[derive(Debug)]
struct Spans {
    span: u64,
    /// The largest that the cache had.
    reached: u64,
    /// The smallest that it had not.
    too_far: Option<u64>,
}

impl Spans {
    fn starting_at(span: u64) -> Self {
        Self { span, reached: 0, too_far: None }
    }

    /// Takes the next span, by whether the cache had the present one. Returns false if there is
    /// none.
    fn look_on(&mut self, had: bool) -> bool {
        if had {
            self.reached = self.span;
        } else {
            self.too_far = Some(self.span);
        }
        self.span = match self.too_far {
            Some(too_far) => self.reached + (too_far - self.reached) / 2,
            None => (self.span * GROWTH).min(MAX_SPAN),
        };
        self.span > self.reached
    }
}

/// Returns the comments after the start of a range, in order and each once; `None` if the cache
/// does not reach back that far, or they are too many.
async fn comments_in(
    recent: &SharedRecentCache,
    stream_id: StreamId,
    range: std::ops::Range<Seq>,
) -> Result<Option<Vec<SequencedComment>>, StoreError> {
    let mut comments: Vec<SequencedComment> = Vec::new();
    let mut seen = AHashSet::new();
    let mut at = range.start;
    while at < range.end && comments.len() <= MAX_COMMENTS {
        let page = match recent.after(stream_id, at, EVENTS_AT_ONCE).await? {
            Some(page) if page.covered_to > at => page,
            _ => return Ok(None),
        };
        at = page.covered_to;
        for event in page.events {
            match event {
                RecentEvent::Comment(comment) if seen.insert(comment.comment_id) => {
                    comments.push(comment);
                }
                _ => {}
            }
        }
    }
    Ok((comments.len() <= MAX_COMMENTS).then_some(comments))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::engines::recent::RecentCache as _;
    use crate::daemon::engines::recent::conformance::{comment, comment_id, comments};
    use crate::daemon::testing::recent::TestRecent;

    const STREAM: StreamId = StreamId(7);

    const NONE: [Seq; 0] = [];

    async fn seqs(recent: &Arc<TestRecent>, before: Option<Seq>, limit: usize) -> Vec<Seq> {
        let recent: SharedRecentCache = recent.clone();
        let wanted = Wanted { stream_id: STREAM, before: before.map(comment_id), limit };
        match find(&recent, wanted).await {
            FromRecent::Page(page) => page.iter().map(|comment| comment.seq).collect(),
            FromRecent::EndsAt(seq) => vec![seq, 0],
            FromRecent::Nothing => Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_newest_pages_come_from_the_cache() {
        let recent = Arc::new(TestRecent::default());
        assert_eq!(seqs(&recent, None, 2).await, NONE, "an unknown stream");
        recent.append(STREAM, 1_001, 1_100, comments(1_001..=1_100)).await.unwrap();
        // Most places are of other streams.
        recent.append(STREAM, 1_101, 3_000, vec![comment(2_000), comment(2_900)]).await.unwrap();
        assert_eq!(seqs(&recent, None, 2).await, [2_900, 2_000, 1_100]);
        assert_eq!(seqs(&recent, Some(2_000), 2).await, [1_100, 1_099, 1_098]);
        assert_eq!(seqs(&recent, Some(1_040), 2).await, [1_039, 1_038, 1_037]);
        assert!(seqs(&recent, Some(1_002), 2).await.len() < 3, "the store has the next");
        assert_eq!(seqs(&recent, Some(900), 2).await, NONE, "it is older");
        recent.add_tombstone(STREAM, comment_id(2_000), 3_001).await.unwrap();
        assert_eq!(seqs(&recent, None, 2).await, [2_900, 1_100, 1_099], "deleted at once");
        recent.set_incomplete(true);
        assert_eq!(seqs(&recent, None, 2).await, NONE, "deletions are not known");
    }

    #[tokio::test]
    async fn an_unknown_id_is_not_searched_for_everywhere() {
        let recent = Arc::new(TestRecent::default());
        // The comment 3000 was never broadcast.
        let known = (1_001..=5_000).filter(|seq| *seq != 3_000).map(comment).collect();
        recent.append(STREAM, 1_001, 5_000, known).await.unwrap();
        assert_eq!(seqs(&recent, Some(4_990), 2).await, [4_989, 4_988, 4_987]);
        let before = recent.page_reads();
        assert_eq!(seqs(&recent, Some(3_000), 2).await, NONE);
        // 6, 48, 384 and 3072 places, the last of them in two reads.
        assert_eq!(recent.page_reads() - before, 5);
    }
}
