//! Pages by time, bucket by bucket: the order of comments that a version without places stored, and
//! the way to find the place of a cursor that names no comment.

use std::sync::Arc;

use scylla::response::PagingState;
use scylla::value::{CqlTimestamp, CqlTimeuuid};

use super::bucket::{bucket_at, bucket_of, comment_id, first_at, last_of_tick};
use super::place::Place;
use super::waves::read_in_waves;
use super::{Inner, corrupt, integer, natural};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::SINCE_COMMENTS;
use crate::protocol::{Badges, CommentId, SequencedComment, StreamId, UserId};

pub(super) const LONGEST_PAGE: usize = 1000;
/// Rows per request, including deleted and shadowed ones.
pub(super) const FEWEST_ROWS: usize = 32;

/// A row of `comments`, in the order of the statements' columns. All but the id may be missing, if
/// only the deletion or the restoration of a comment has arrived.
pub(super) type Row = (
    CqlTimeuuid,
    Option<i64>,
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<CqlTimestamp>,
    Option<i64>,
    Option<bool>,
    Option<i32>,
    Option<bool>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i8>,
    Option<CqlTimeuuid>,
);

/// A row with a comment.
pub(super) struct CommentRow {
    pub(super) comment: SequencedComment,
    /// Hidden from others from the beginning.
    pub(super) shadow: bool,
    /// For everybody.
    pub(super) deleted: bool,
    /// Hidden from others after it was shown.
    pub(super) hidden: bool,
    /// The number of its log; `None` if a version without places stored it.
    pub(super) log: Option<i32>,
}

impl CommentRow {
    pub(super) fn place(&self) -> Option<Place> {
        Some(Place { log: self.log?, seq: integer(self.comment.seq) })
    }

    /// Returns whether the comment is on the pages of this reader, or on those for everybody.
    pub(super) fn is_shown_to(&self, reader: Option<UserId>) -> bool {
        let hidden_from_others = self.shadow || self.hidden;
        !self.deleted && (!hidden_from_others || reader == Some(self.comment.user_id))
    }
}

/// Returns whether a comment with these marks is deleted. Versions without restorations stored no
/// place of a deletion.
pub(super) fn is_hidden(
    is_deleted: Option<bool>,
    deleted_place: Option<i64>,
    restored_place: Option<i64>,
) -> bool {
    is_deleted.unwrap_or(false)
        && restored_place
            .is_none_or(|restored| deleted_place.is_some_and(|deleted| deleted > restored))
}

/// Returns whether a comment with these marks is hidden from others than its author.
pub(super) fn is_hidden_from_others(
    hidden_place: Option<i64>,
    restored_place: Option<i64>,
) -> bool {
    hidden_place.is_some_and(|hidden| restored_place.is_none_or(|restored| hidden > restored))
}

/// None if it is a mark alone.
pub(super) fn comment_row(row: Row) -> Result<Option<CommentRow>, StoreError> {
    let (
        id,
        user_id,
        name,
        message,
        created_at,
        seq,
        shadow,
        log,
        is_deleted,
        deleted,
        restored,
        hidden,
        badges,
        parent,
    ) = row;
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
        // Versions without badges stored none.
        badges: Badges::from_bits(badges.unwrap_or(0).cast_unsigned()),
        parent_id: parent.map(comment_id),
    };
    let shadow = shadow.unwrap_or(false);
    let deleted = is_hidden(is_deleted, deleted, restored);
    let hidden = is_hidden_from_others(hidden, restored);
    Ok(Some(CommentRow { comment, shadow, deleted, hidden, log }))
}

/// The comments of a stream that a page by time requests.
#[derive(Clone, Copy)]
pub(super) struct TimeRange {
    /// The reader, who is also shown the reader's own comments that are hidden from others.
    pub(super) reader: Option<UserId>,
    pub(super) stream_id: StreamId,
    /// Comments with older ids are meant.
    pub(super) before: Option<CommentId>,
    /// No comment was created after this time.
    pub(super) newest_ms: u64,
    /// Comments created before this time are not shown.
    pub(super) oldest_ms: u64,
    /// True if comments with a place are left out.
    pub(super) unplaced_only: bool,
}

impl Inner {
    /// Returns the newest `limit` visible comments of the range by their ids.
    pub(super) async fn page_by_time(
        &self,
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        let newest = range.before.map_or(i32::MAX, bucket_of).min(bucket_at(range.newest_ms));
        let walk = self.walk_buckets(range.stream_id, newest, bucket_at(range.oldest_ms));
        read_in_waves(walk, limit, |bucket, want| self.read_bucket(range, bucket, want)).await
    }

    /// Returns the comment with the first place in the log among the next ids since a time.
    pub(super) async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError> {
        let since_ms = since_ms.max(self.lifetime.oldest_shown_ms(self.now_ms()));
        let walk = self.walk_buckets_since(stream_id, bucket_at(since_ms));
        let first = first_at(since_ms);
        let next = read_in_waves(walk, SINCE_COMMENTS, |bucket, want| {
            self.read_bucket_since(stream_id, bucket, first, want)
        });
        // One without a place comes before all that have one.
        let first = next.await?.into_iter().min_by_key(|row| {
            (row.place(), row.place().is_none().then(|| row.comment.comment_id.sort_key()))
        });
        Ok(first.map(|row| row.comment.comment_id))
    }

    /// Returns the oldest `want` comments of a bucket since an id, shown or not.
    async fn read_bucket_since(
        &self,
        stream_id: StreamId,
        bucket: i32,
        first: CqlTimeuuid,
        want: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        let values = (integer(stream_id.0), bucket, first);
        let mut found: Vec<CommentRow> = Vec::new();
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take().filter(|_| found.len() < want) {
            let missing = (want - found.len()).clamp(FEWEST_ROWS, LONGEST_PAGE);
            let statement = &self.statements.comments_since;
            let (rows, more) = self.read(statement, values, missing as i32, state).await?;
            for row in rows.rows::<Row>().map_err(corrupt)? {
                found.extend(comment_row(row.map_err(corrupt)?)?);
            }
            from = more;
        }
        found.truncate(want);
        Ok(found)
    }

    /// Returns the newest `want` visible comments of a bucket, newest first.
    ///
    /// The server orders ids of the same 100 ns tick differently from the contract, because it
    /// compares the rest of an id as signed bytes. So whole ticks are requested, and ids within a
    /// tick are compared here.
    async fn read_bucket(
        &self,
        range: TimeRange,
        bucket: i32,
        want: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        let newest = match range.before {
            Some(before) => last_of_tick(before),
            None => last_of_tick(CommentId::from_sort_key([0xFF; 16])),
        };
        let values = (integer(range.stream_id.0), bucket, newest, first_at(range.oldest_ms));
        let mut shown: Vec<CommentRow> = Vec::new();
        let mut from = Some(PagingState::start());
        'pages: while let Some(state) = from.take() {
            let missing = want.saturating_sub(shown.len()).clamp(FEWEST_ROWS, LONGEST_PAGE) + 1;
            let statement = &self.statements.page;
            let (rows, more) = self.read(statement, values, missing as i32, state).await?;
            for row in rows.rows::<Row>().map_err(corrupt)? {
                let Some(row) = comment_row(row.map_err(corrupt)?)? else { continue };
                if !row.is_shown_to(range.reader) || !range.has(&row) {
                    continue;
                }
                let tick = row.comment.comment_id.unix_ticks();
                let same_tick = |last: &CommentRow| last.comment.comment_id.unix_ticks() == tick;
                if shown.len() >= want && !shown.last().is_some_and(same_tick) {
                    break 'pages;
                }
                shown.push(row);
            }
            from = more;
        }
        shown.sort_by_key(|row| std::cmp::Reverse(row.comment.comment_id.sort_key()));
        shown.truncate(want);
        Ok(shown)
    }
}

impl TimeRange {
    fn has(&self, row: &CommentRow) -> bool {
        let id = row.comment.comment_id;
        !(self.unplaced_only && row.log.is_some())
            && self.before.is_none_or(|before| id.sort_key() < before.sort_key())
    }
}
