//! Pages of a stream in the order of the log, newest first: the order is in `stream_order`, part by
//! part, and the comments in their own partitions. Pages of the replies to a comment are read in
//! the same way, with `comment_replies`.

use std::collections::VecDeque;

use ahash::AHashMap;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;
use scylla::response::query_result::QueryRowsResult;
use scylla::value::CqlTimeuuid;

use super::bucket::{bucket_of, comment_id, is_storable, timeuuid};
use super::page::{CommentRow, FEWEST_ROWS, LONGEST_PAGE, Row, TimeRange, comment_row};
use super::place::Place;
use super::waves::{Walk, read_in_waves};
use super::{Inner, corrupt, integer, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::CommentKey;
use crate::protocol::{CommentId, SequencedComment, StreamId, UserId};

const PAGE_PARTS: i32 = 64;
/// Comments of one bucket per request.
const IDS_AT_ONCE: usize = 100;
const IN_FLIGHT: usize = 16;
/// Nodes of a version without places may have run this long after the first one of this version.
const ROLLING_UPGRADE_MS: u64 = 24 * 3_600_000;

/// The end of a page, which is not part of it.
enum End {
    Place(Place),
    /// A comment without a place, which comes before all comments with one.
    Unplaced(CommentId),
    /// There is no older comment.
    Oldest,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    log: i32,
    part: i32,
}

/// The comments of a stream, or the replies to one of them, that a page requests.
#[derive(Clone, Copy)]
struct Range {
    reader: Option<UserId>,
    stream_id: StreamId,
    /// The comment that all of them answer.
    parent: Option<CqlTimeuuid>,
    end: Place,
    /// Comments created before this time are not shown.
    oldest_ms: u64,
}

impl Inner {
    /// Reads a page. A reader is also shown the reader's own comments that are hidden from others.
    pub(super) async fn page(
        &self,
        reader: Option<UserId>,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let limit = limit.clamp(1, LONGEST_PAGE);
        let oldest_ms = self.lifetime.oldest_shown_ms(self.now_ms());
        let end = match before {
            None => End::Place(Place::END),
            Some(before) => self.end(stream_id, before, oldest_ms).await?,
        };
        let (mut shown, before) = match end {
            End::Oldest => return Ok(Vec::new()),
            End::Unplaced(before) => (Vec::new(), Some(before)),
            End::Place(end) => {
                let range = Range { reader, stream_id, parent: None, end, oldest_ms };
                (self.page_by_place(range, limit).await?, None)
            }
        };
        if let Some(until_ms) = self.unplaced_until_ms().filter(|_| shown.len() < limit) {
            let newest_ms = until_ms + ROLLING_UPGRADE_MS;
            let range =
                TimeRange { reader, stream_id, before, newest_ms, oldest_ms, unplaced_only: true };
            shown.extend(self.page_by_time(range, limit - shown.len()).await?);
        }
        Ok(shown.into_iter().map(|row| row.comment).collect())
    }

    /// Returns the end of a page before a comment.
    async fn end(
        &self,
        stream_id: StreamId,
        before: CommentId,
        oldest_ms: u64,
    ) -> Result<End, StoreError> {
        if is_storable(before)
            && let Some(row) = self.row(stream_id, before).await?
        {
            return Ok(row.place().map_or(End::Unplaced(before), End::Place));
        }
        let range = TimeRange {
            reader: None,
            stream_id,
            before: Some(before),
            newest_ms: u64::MAX,
            oldest_ms,
            unplaced_only: false,
        };
        let older = self.page_by_time(range, 1).await?;
        Ok(match older.first().map(CommentRow::place) {
            None => End::Oldest,
            Some(None) => End::Unplaced(before),
            // That comment itself is part of the page.
            Some(Some(Place { log, seq })) => End::Place(Place { log, seq: seq + 1 }),
        })
    }

    /// Reads a page of the replies to a comment. Those that are hidden fill no page.
    pub(super) async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        let CommentKey { stream_id, comment_id } = parent;
        if !is_storable(comment_id) {
            return Ok(Vec::new());
        }
        let oldest_ms = self.lifetime.oldest_shown_ms(self.now_ms());
        let end = match before {
            None => Place::END,
            Some(before) => match self.end(stream_id, before, oldest_ms).await? {
                End::Place(end) => end,
                // A version without places knew no replies.
                End::Unplaced(_) | End::Oldest => return Ok(Vec::new()),
            },
        };
        let parent = Some(timeuuid(comment_id));
        let range = Range { reader, stream_id, parent, end, oldest_ms };
        let shown = self.page_by_place(range, limit.clamp(1, LONGEST_PAGE)).await?;
        Ok(shown.into_iter().map(|row| row.comment).collect())
    }

    async fn page_by_place(
        &self,
        range: Range,
        limit: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        let walk = PartWalk::new(self, range);
        read_in_waves(walk, limit, |part, want| self.read_part(range, part, want)).await
    }

    /// Returns the newest `want` visible comments of a part, newest first.
    async fn read_part(
        &self,
        range: Range,
        part: Part,
        want: usize,
    ) -> Result<Vec<CommentRow>, StoreError> {
        let end = if part.log == range.end.log { range.end.seq } else { i64::MAX };
        let mut shown = Vec::new();
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take().filter(|_| shown.len() < want) {
            let missing = (want - shown.len()).clamp(FEWEST_ROWS, LONGEST_PAGE);
            let (rows, more) = self.read_order(range, part, end, missing as i32, state).await?;
            let mut order = Vec::with_capacity(rows.rows_num());
            for row in rows.rows::<(i64, CqlTimeuuid)>().map_err(corrupt)? {
                let (seq, id) = row.map_err(corrupt)?;
                order.push((Place { log: part.log, seq }, id));
            }
            let mut found = self.comments(range.stream_id, order.iter().map(|(_, id)| *id)).await?;
            for (place, id) in order {
                // A comment that was appended twice has the place of the first.
                let Some(row) = found.remove(&place) else { continue };
                let expired = comment_id(id).unix_ms() < range.oldest_ms;
                if row.is_shown_to(range.reader) && !expired {
                    shown.push(row);
                }
            }
            from = more;
        }
        shown.truncate(want);
        Ok(shown)
    }

    /// Reads the places and ids of comments of a part that come before a sequence number.
    async fn read_order(
        &self,
        range: Range,
        part: Part,
        end: i64,
        rows: i32,
        from: PagingState,
    ) -> Result<(QueryRowsResult, Option<PagingState>), StoreError> {
        let stream_id = integer(range.stream_id.0);
        let Part { log, part } = part;
        match range.parent {
            None => {
                let statement = &self.statements.order;
                self.read(statement, (stream_id, log, part, end), rows, from).await
            }
            Some(parent) => {
                let statement = &self.statements.replies;
                self.read(statement, (stream_id, parent, log, part, end), rows, from).await
            }
        }
    }

    /// Returns those of the comments that the store has, each at its own place.
    async fn comments(
        &self,
        stream_id: StreamId,
        ids: impl ExactSizeIterator<Item = CqlTimeuuid>,
    ) -> Result<AHashMap<Place, CommentRow>, StoreError> {
        let count = ids.len();
        let mut buckets: AHashMap<i32, Vec<CqlTimeuuid>> = AHashMap::new();
        for id in ids {
            buckets.entry(bucket_of(comment_id(id))).or_default().push(id);
        }
        let mut requests = Vec::new();
        for (bucket, ids) in buckets {
            requests.extend(ids.chunks(IDS_AT_ONCE).map(|part| (bucket, part.to_vec())));
        }
        let answers = stream::iter(requests).map(|(bucket, ids)| async move {
            let values = (integer(stream_id.0), bucket, ids);
            let read = self.session.execute_unpaged(&self.statements.comments, values).await;
            let rows = read.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
            let mut found = Vec::with_capacity(rows.rows_num());
            for row in rows.rows::<Row>().map_err(corrupt)? {
                found.extend(comment_row(row.map_err(corrupt)?)?);
            }
            Ok::<_, StoreError>(found)
        });
        let mut answers = answers.buffer_unordered(IN_FLIGHT);
        let mut found = AHashMap::with_capacity(count);
        while let Some(rows) = answers.try_next().await? {
            found.extend(rows.into_iter().filter_map(|row| Some((row.place()?, row))));
        }
        Ok(found)
    }
}

/// A walk over the parts in which a stream has comments, newest first. Holds one page of the list.
struct PartWalk<'a> {
    store: &'a Inner,
    range: Range,
    unread: Option<PagingState>,
    found: VecDeque<Part>,
}

impl<'a> PartWalk<'a> {
    fn new(store: &'a Inner, range: Range) -> Self {
        Self { store, range, unread: Some(PagingState::start()), found: VecDeque::new() }
    }

    /// Reads a page of the list of parts.
    async fn read_parts(
        &self,
        from: PagingState,
    ) -> Result<(QueryRowsResult, Option<PagingState>), StoreError> {
        let Range { stream_id, parent, end, .. } = self.range;
        let stream_id = integer(stream_id.0);
        let statements = &self.store.statements;
        match parent {
            None => {
                let values = (stream_id, end.log, end.part());
                self.store.read(&statements.order_parts, values, PAGE_PARTS, from).await
            }
            Some(parent) => {
                let values = (stream_id, parent, end.log, end.part());
                self.store.read(&statements.reply_parts, values, PAGE_PARTS, from).await
            }
        }
    }
}

impl Walk for PartWalk<'_> {
    type Place = Part;

    async fn next(&mut self, count: usize) -> Result<Vec<Part>, StoreError> {
        while self.found.len() < count {
            let Some(from) = self.unread.take() else { break };
            let (rows, more) = self.read_parts(from).await?;
            for row in rows.rows::<(i32, i32)>().map_err(corrupt)? {
                let (log, part) = row.map_err(corrupt)?;
                self.found.push_back(Part { log, part });
            }
            self.unread = more;
        }
        let count = count.min(self.found.len());
        Ok(self.found.drain(..count).collect())
    }
}
