//! Queries of an operator: one comment by its id, the number of comments of a stream.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;

use super::bucket::{bucket_at, bucket_of, first_at, is_storable, timeuuid};
use super::page::{Row, comment_row};
use super::{Inner, corrupt, integer, natural, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::StoredComment;
use crate::protocol::{CommentId, StreamId};

/// Streams searched, or buckets counted, at the same time.
const IN_FLIGHT: usize = 32;
const PAGE_STREAMS: i32 = 1000;
const BUCKETS_AT_ONCE: usize = 256;

impl Inner {
    /// Searches every stream that has comments of the same ten seconds.
    pub(super) async fn find(&self, id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        if !is_storable(id) || id.unix_ms() < self.lifetime.oldest_shown_ms(self.now_ms()) {
            return Ok(None);
        }
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take() {
            let (statement, values) = (&self.statements.bucket_streams, (bucket_of(id),));
            let (rows, more) = self.read(statement, values, PAGE_STREAMS, state).await?;
            let mut streams = Vec::with_capacity(rows.rows_num());
            for row in rows.rows::<(i64,)>().map_err(corrupt)? {
                streams.push(StreamId(natural(row.map_err(corrupt)?.0)?));
            }
            let looked = stream::iter(streams).map(|stream_id| self.find_in(stream_id, id));
            let mut looked = looked.buffer_unordered(IN_FLIGHT);
            while let Some(found) = looked.try_next().await? {
                if found.is_some() {
                    return Ok(found);
                }
            }
            from = more;
        }
        Ok(None)
    }

    pub(super) async fn find_in(
        &self,
        stream_id: StreamId,
        id: CommentId,
    ) -> Result<Option<StoredComment>, StoreError> {
        let values = (integer(stream_id.0), bucket_of(id), timeuuid(id));
        let found = self.session.execute_unpaged(&self.statements.comment, values).await;
        let rows = found.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        let Some(row) = rows.maybe_first_row::<Row>().map_err(corrupt)? else { return Ok(None) };
        let row = comment_row(row)?;
        Ok(row.map(|row| StoredComment {
            comment: row.comment,
            stream_id,
            deleted: row.deleted,
            shadow: row.shadow,
        }))
    }

    /// Counts bucket by bucket. The time grows with the stream; each request takes at most the
    /// timeout.
    pub(super) async fn count(&self, stream_id: StreamId) -> Result<u64, StoreError> {
        let oldest_ms = self.lifetime.oldest_shown_ms(self.now_ms());
        let mut walk = self.walk_buckets(stream_id, i32::MAX, bucket_at(oldest_ms));
        let mut count = 0;
        loop {
            let buckets = walk.next(BUCKETS_AT_ONCE).await?;
            if buckets.is_empty() {
                return Ok(count);
            }
            let counts = stream::iter(buckets);
            let counts = counts.map(|bucket| self.count_bucket(stream_id, bucket, oldest_ms));
            let mut counts = counts.buffer_unordered(IN_FLIGHT);
            while let Some(of_bucket) = counts.try_next().await? {
                count += of_bucket;
            }
        }
    }

    async fn count_bucket(
        &self,
        stream_id: StreamId,
        bucket: i32,
        oldest_ms: u64,
    ) -> Result<u64, StoreError> {
        let values = (integer(stream_id.0), bucket, first_at(oldest_ms));
        let counted = self.session.execute_unpaged(&self.statements.count, values).await;
        let rows = counted.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        natural(rows.single_row::<(i64,)>().map_err(corrupt)?.0)
    }
}
