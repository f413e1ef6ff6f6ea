//! Pinned comments, polls and kept messages in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;

use super::{PostgresMetadata, messages, room_polls, streams};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::postgres::{statement, transaction};
use crate::daemon::engines::metadata::{
    KeptIds, NewAudit, NewMessage, NewPoll, PollVote, PollVotes, RoomLife, SWEEP_AFTER_MS,
};
use crate::protocol::stream::Stream;
use crate::protocol::{KeptMessage, PinnedComment, RoomPoll, StreamId, UserId};

#[async_trait]
impl RoomLife for PostgresMetadata {
    async fn set_pinned(
        &self,
        stream_id: StreamId,
        pinned: Option<Arc<PinnedComment>>,
        only: Option<Arc<PinnedComment>>,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| streams::set_pinned(
                connection, stream_id, pinned, only, audit
            )))
            .await
    }

    async fn open_poll(
        &self,
        stream_id: StreamId,
        new: NewPoll,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| room_polls::open(
                connection, stream_id, new, audit
            )))
            .await
    }

    async fn close_poll(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| room_polls::close(
                connection, stream_id, audit
            )))
            .await
    }

    async fn count_votes(
        &self,
        poll_id: u64,
        votes: &[PollVote],
    ) -> Result<Vec<Option<u8>>, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| room_polls::count(
                connection, poll_id, votes
            )))
            .await
    }

    async fn poll_votes(&self, polls: &[u64]) -> Result<Vec<PollVotes>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| room_polls::votes_of(connection, polls)))
            .await
    }

    async fn polls(&self, stream_id: StreamId, limit: usize) -> Result<Vec<RoomPoll>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| room_polls::latest(
                connection, stream_id, limit
            )))
            .await
    }

    async fn keep_message(
        &self,
        user_id: UserId,
        new: NewMessage,
        audit: Option<NewAudit>,
    ) -> Result<KeptIds, StoreError> {
        self.pool
            .bounded(transaction!(self.pool, |connection| messages::keep(
                connection,
                user_id,
                &new,
                audit.as_ref()
            )))
            .await
    }

    async fn kept_messages(
        &self,
        user_id: UserId,
        now_ms: u64,
    ) -> Result<Vec<KeptMessage>, StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| messages::kept(
                connection, user_id, now_ms
            )))
            .await
    }

    async fn acknowledge_messages(&self, user_id: UserId, up_to: u64) -> Result<(), StoreError> {
        self.pool
            .bounded(statement!(self.pool, |connection| messages::acknowledge(
                connection, user_id, up_to
            )))
            .await
    }

    async fn sweep(&self, now_ms: u64, limit: usize) -> Result<bool, StoreError> {
        let closed_ms = now_ms.saturating_sub(SWEEP_AFTER_MS);
        let more_votes = self
            .pool
            .bounded(transaction!(self.pool, |connection| room_polls::sweep(
                connection, closed_ms, limit
            )))
            .await?;
        let more_messages = self
            .pool
            .bounded(statement!(self.pool, |connection| messages::sweep(connection, now_ms, limit)))
            .await?;
        Ok(more_votes || more_messages)
    }
}
