//! Pinned comments, polls and kept messages in SQLite.

use std::sync::Arc;

use async_trait::async_trait;

use super::{SqliteMetadata, messages, room_polls, streams};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{
    KeptIds, NewAudit, NewMessage, NewPoll, PollVote, PollVotes, RoomLife, SWEEP_AFTER_MS,
};
use crate::protocol::stream::Stream;
use crate::protocol::{KeptMessage, PinnedComment, RoomPoll, StreamId, UserId};

#[async_trait]
impl RoomLife for SqliteMetadata {
    async fn set_pinned(
        &self,
        stream_id: StreamId,
        pinned: Option<Arc<PinnedComment>>,
        only: Option<Arc<PinnedComment>>,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        streams::set_pinned(&self.file, stream_id, pinned, only, audit).await
    }

    async fn open_poll(
        &self,
        stream_id: StreamId,
        new: NewPoll,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        room_polls::open(&self.file, stream_id, new, audit).await
    }

    async fn close_poll(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        room_polls::close(&self.file, stream_id, audit).await
    }

    async fn count_votes(
        &self,
        poll_id: u64,
        votes: &[PollVote],
    ) -> Result<Vec<Option<u8>>, StoreError> {
        room_polls::count(&self.file, poll_id, votes).await
    }

    async fn poll_votes(&self, polls: &[u64]) -> Result<Vec<PollVotes>, StoreError> {
        room_polls::votes_of(&self.file, polls).await
    }

    async fn polls(&self, stream_id: StreamId, limit: usize) -> Result<Vec<RoomPoll>, StoreError> {
        room_polls::latest(&self.file, stream_id, limit).await
    }

    async fn keep_message(
        &self,
        user_id: UserId,
        new: NewMessage,
        audit: Option<NewAudit>,
    ) -> Result<KeptIds, StoreError> {
        messages::keep(&self.file, user_id, &new, audit.as_ref()).await
    }

    async fn kept_messages(
        &self,
        user_id: UserId,
        now_ms: u64,
    ) -> Result<Vec<KeptMessage>, StoreError> {
        messages::kept(&self.file, user_id, now_ms).await
    }

    async fn acknowledge_messages(&self, user_id: UserId, up_to: u64) -> Result<(), StoreError> {
        messages::acknowledge(&self.file, user_id, up_to).await
    }

    async fn sweep(&self, now_ms: u64, limit: usize) -> Result<bool, StoreError> {
        let closed_ms = now_ms.saturating_sub(SWEEP_AFTER_MS);
        let more_votes = room_polls::sweep(&self.file, closed_ms, limit).await?;
        let more_messages = messages::sweep(&self.file, now_ms, limit).await?;
        Ok(more_votes || more_messages)
    }
}
