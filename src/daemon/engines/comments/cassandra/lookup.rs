//! The query of an operator: one comment by its id.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;

use super::bucket::{bucket_of, is_storable, timeuuid};
use super::page::{CommentRow, Row, comment_row};
use super::{Inner, corrupt, integer, natural, unavailable};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::comments::{CommentKey, StoredComment};
use crate::protocol::{CommentId, StreamId, UserId};

/// Streams searched at the same time.
const IN_FLIGHT: usize = 32;
const PAGE_STREAMS: i32 = 1000;
const PAGE_AUTHORS: i32 = 1000;

impl Inner {
    /// Searches every stream that has comments of the same ten seconds.
    pub(super) async fn find(&self, id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        if !is_storable(id) || id.unix_ms() < self.lifetime.oldest_shown_ms(self.now_ms()) {
            return Ok(None);
        }
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take() {
            let statement = &self.statements.bucket_streams;
            let values = (bucket_of(id),);
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

    pub(super) async fn hidden_authors(
        &self,
        stream_id: StreamId,
    ) -> Result<Vec<UserId>, StoreError> {
        let mut authors = Vec::new();
        let mut from = Some(PagingState::start());
        while let Some(state) = from.take() {
            let statement = &self.statements.hidden_authors;
            let values = (integer(stream_id.0),);
            let (rows, more) = self.read(statement, values, PAGE_AUTHORS, state).await?;
            for row in rows.rows::<(i64,)>().map_err(corrupt)? {
                authors.push(UserId(natural(row.map_err(corrupt)?.0)?));
            }
            from = more;
        }
        Ok(authors)
    }

    pub(super) async fn find_in(
        &self,
        stream_id: StreamId,
        id: CommentId,
    ) -> Result<Option<StoredComment>, StoreError> {
        let row = self.row(stream_id, id).await?;
        Ok(row.map(|row| StoredComment {
            comment: row.comment,
            stream_id,
            deleted: row.deleted || row.hidden,
            only_hidden: row.hidden && !row.deleted,
            shadow: row.shadow,
        }))
    }

    /// Returns the row of a comment, if the comment has arrived.
    pub(super) async fn row(
        &self,
        stream_id: StreamId,
        id: CommentId,
    ) -> Result<Option<CommentRow>, StoreError> {
        self.read_row(&self.statements.comment, CommentKey { stream_id, comment_id: id }).await
    }

    /// Reads a comment by a statement that names it.
    pub(super) async fn read_row(
        &self,
        statement: &PreparedStatement,
        CommentKey { stream_id, comment_id: id }: CommentKey,
    ) -> Result<Option<CommentRow>, StoreError> {
        let values = (integer(stream_id.0), bucket_of(id), timeuuid(id));
        let found = self.session.execute_unpaged(statement, values).await;
        let rows = found.map_err(unavailable)?.into_rows_result().map_err(corrupt)?;
        match rows.maybe_first_row::<Row>().map_err(corrupt)? {
            Some(row) => comment_row(row),
            None => Ok(None),
        }
    }
}
