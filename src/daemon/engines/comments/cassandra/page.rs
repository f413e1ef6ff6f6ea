//! Pages of a stream, newest first, read bucket by bucket.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;
use scylla::value::{CqlTimestamp, CqlTimeuuid};

use super::bucket::{bucket_at, bucket_of, comment_id, first_at, last_of_tick};
use super::{Inner, corrupt, integer, natural};
use crate::daemon::engines::StoreError;
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

const LONGEST_PAGE: usize = 1000;
/// Rows per request, including deleted and shadowed ones.
const FEWEST_ROWS: usize = 32;
/// Buckets read at the same time: one at first, then twice as many each time. The first is enough
/// for a busy stream; a quiet one has a comment or two per bucket.
pub(super) const LARGEST_WAVE: usize = 16;

/// A row of `comments`, in the order of the statements' columns. All but the id may be missing, if
/// only the deletion of a comment has arrived.
pub(super) type Row = (
    CqlTimeuuid,
    Option<i64>,
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<CqlTimestamp>,
    Option<i64>,
    Option<bool>,
    Option<bool>,
);

/// A row with a comment.
pub(super) struct CommentRow {
    pub(super) comment: SequencedComment,
    pub(super) shadow: bool,
    pub(super) deleted: bool,
}

/// None if it is a deletion alone.
pub(super) fn comment_row(row: Row) -> Result<Option<CommentRow>, StoreError> {
    let (id, user_id, name, message, created_at, seq, shadow, is_deleted) = row;
    let (Some(user_id), Some(name), Some(message), Some(created_at), Some(seq)) =
        (user_id, name, message, created_at, seq)
    else {
        return Ok(None);
    };
    let comment = SequencedComment {
        comment_id: comment_id(id),
        user_id: UserId(natural(user_id)?),
        name,
        message,
        created_at: natural(created_at.0)?,
        seq: natural(seq)?,
    };
    let (shadow, deleted) = (shadow.unwrap_or(false), is_deleted.unwrap_or(false));
    Ok(Some(CommentRow { comment, shadow, deleted }))
}

/// The comments of a stream that a page requests.
#[derive(Clone, Copy)]
struct Range {
    stream_id: StreamId,
    before: Option<CommentId>,
    /// Comments created before this time are not shown.
    oldest_ms: u64,
}

impl Inner {
    pub(super) async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let limit = limit.clamp(1, LONGEST_PAGE);
        let oldest_ms = self.lifetime.oldest_shown_ms(self.now_ms());
        let range = Range { stream_id, before, oldest_ms };
        let newest = before.map_or(i32::MAX, bucket_of);
        let mut walk = self.walk_buckets(stream_id, newest, bucket_at(oldest_ms));
        let mut shown = Vec::new();
        let mut wave = 1;
        while shown.len() < limit {
            let buckets = walk.next(wave).await?;
            if buckets.is_empty() {
                break;
            }
            let want = limit - shown.len();
            let read = stream::iter(buckets).map(|bucket| self.read_bucket(range, bucket, want));
            let mut read = read.buffered(LARGEST_WAVE);
            while let Some(comments) = read.try_next().await? {
                shown.extend(comments);
            }
            wave = (wave * 2).min(LARGEST_WAVE);
        }
        shown.truncate(limit);
        Ok(shown)
    }

    /// Returns the newest `want` visible comments of a bucket, newest first.
    ///
    /// The server orders ids of the same 100 ns tick differently from the contract, because it
    /// compares the rest of an id as signed bytes. So whole ticks are requested, and ids within a
    /// tick are compared here.
    async fn read_bucket(
        &self,
        range: Range,
        bucket: i32,
        want: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let newest = match range.before {
            Some(before) => last_of_tick(before),
            None => last_of_tick(CommentId::from_sort_key([0xFF; 16])),
        };
        let values = (integer(range.stream_id.0), bucket, newest, first_at(range.oldest_ms));
        let mut shown: Vec<SequencedComment> = Vec::new();
        let mut from = Some(PagingState::start());
        'pages: while let Some(state) = from.take() {
            let missing = want.saturating_sub(shown.len()).clamp(FEWEST_ROWS, LONGEST_PAGE) + 1;
            let statement = &self.statements.page;
            let (rows, more) = self.read(statement, values, missing as i32, state).await?;
            for row in rows.rows::<Row>().map_err(corrupt)? {
                let Some(row) = comment_row(row.map_err(corrupt)?)? else { continue };
                if row.shadow || row.deleted || !range.has(row.comment.comment_id) {
                    continue;
                }
                let same_tick =
                    |last: &SequencedComment| tick(last.comment_id) == tick(row.comment.comment_id);
                if shown.len() >= want && !shown.last().is_some_and(same_tick) {
                    break 'pages;
                }
                shown.push(row.comment);
            }
            from = more;
        }
        shown.sort_by_key(|comment| std::cmp::Reverse(comment.comment_id.sort_key()));
        shown.truncate(want);
        Ok(shown)
    }
}

impl Range {
    fn has(&self, comment_id: CommentId) -> bool {
        self.before.is_none_or(|before| comment_id.sort_key() < before.sort_key())
    }
}

fn tick(comment_id: CommentId) -> u64 {
    comment_id.unix_ticks()
}
