//! The part of the metadata about what happens in a room beside its comments: the pinned comment,
//! polls, and direct messages that are kept.

use std::sync::Arc;

use async_trait::async_trait;

use super::{NewAudit, NewPoll, PollVote, PollVotes};
use crate::daemon::engines::StoreError;
use crate::protocol::stream::Stream;
use crate::protocol::{KeptMessage, PinnedComment, RoomPoll, StreamId, UserId};

/// A direct message to be kept for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// A name to show.
    pub from: String,
    /// The sender, if it is another user, and no operator or moderator.
    pub from_user: Option<UserId>,
    pub message: String,
    /// Milliseconds since the Unix epoch.
    pub sent_at: u64,
}

/// The numbers of a message that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptIds {
    pub message_id: u64,
    /// That of the audit entry, if it has one.
    pub audit_id: Option<u64>,
}

/// This part of the contract.
#[async_trait]
pub trait RoomLife: Send + Sync + std::fmt::Debug + 'static {
    /// Pins a comment above the chat of a stream, or none, and returns the entry's number. With
    /// `only`, nothing changes unless this very pin is stored: the same comment that was pinned
    /// again since is another one. The entry is stored with the pinned comment
    /// [before](super::BEFORE), null for none. [`StoreError::NotFound`] for an unknown stream, and
    /// if `only` is not pinned.
    async fn set_pinned(
        &self,
        stream_id: StreamId,
        pinned: Option<Arc<PinnedComment>>,
        only: Option<Arc<PinnedComment>>,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Opens a poll on a stream at the audit entry's time, and returns the entry's number, which is
    /// the id of the poll. [`StoreError::NotFound`] for an unknown stream, [`StoreError::Exists`]
    /// while one is open. Who voted is forgotten by [`Self::sweep`], the results are kept.
    async fn open_poll(
        &self,
        stream_id: StreamId,
        new: NewPoll,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Closes the open poll of a stream at the audit entry's time, and returns the entry's number.
    /// [`StoreError::NotFound`] for an unknown stream, and if none is open.
    async fn close_poll(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError>;
    /// Counts votes, at most one per user. Returns for each the option that counts for its user:
    /// that of its first vote, also for a repetition after the poll has closed. `None` if nothing
    /// counts for the user: the poll is unknown, was closed when the user voted, or the user was
    /// forgotten by [`Self::sweep`]. No new vote counts once it has forgotten the first voter of a
    /// poll. Callers have checked the options.
    async fn count_votes(
        &self,
        poll_id: u64,
        votes: &[PollVote],
    ) -> Result<Vec<Option<u8>>, StoreError>;
    /// Returns the votes of these polls by option, in any order, without those that have none.
    async fn poll_votes(&self, polls: &[u64]) -> Result<Vec<PollVotes>, StoreError>;
    /// Returns the latest polls of a stream, newest first.
    async fn polls(&self, stream_id: StreamId, limit: usize) -> Result<Vec<RoomPoll>, StoreError>;
    /// Keeps a message for a user, with the audit entry if there is one. The id is given by the
    /// store: it is above those of all messages to the user that [`Self::kept_messages`] ever
    /// returned. For each user the newest
    /// [`MAX_KEPT_MESSAGES`](crate::protocol::kept_message::MAX_KEPT_MESSAGES) of operators and
    /// moderators are kept and as many of other users, of which at most
    /// [`MAX_KEPT_OF_SENDER`](crate::protocol::kept_message::MAX_KEPT_OF_SENDER) are of one sender.
    async fn keep_message(
        &self,
        user_id: UserId,
        new: NewMessage,
        audit: Option<NewAudit>,
    ) -> Result<KeptIds, StoreError>;
    /// Returns the messages that are kept for a user at `now_ms`, oldest first, each for
    /// [`KEPT_FOR_MS`](crate::protocol::kept_message::KEPT_FOR_MS).
    async fn kept_messages(
        &self,
        user_id: UserId,
        now_ms: u64,
    ) -> Result<Vec<KeptMessage>, StoreError>;
    /// Forgets the messages of a user up to this id, and none that is kept later, also if the id is
    /// above the last one. Writes nothing if there are none.
    async fn acknowledge_messages(&self, user_id: UserId, up_to: u64) -> Result<(), StoreError>;
    /// Removes what is kept no longer, at most `limit` rows of each kind: messages that have run
    /// out at `now_ms`, and who voted in polls that closed
    /// [`SWEEP_AFTER_MS`](super::SWEEP_AFTER_MS) before. Returns whether there may be more. Writes
    /// nothing if there is nothing to remove.
    async fn sweep(&self, now_ms: u64, limit: usize) -> Result<bool, StoreError>;
}

/// Pins a comment or none, as [`RoomLife::set_pinned`] does. Returns the entry with the
/// comment before.
pub(super) fn pin(
    stream: &mut Stream,
    pinned: Option<Arc<PinnedComment>>,
    only: Option<&PinnedComment>,
    audit: NewAudit,
) -> Result<NewAudit, StoreError> {
    let before = std::mem::replace(&mut stream.pinned, pinned);
    if only.is_some() && before.as_deref() != only {
        return Err(StoreError::NotFound("pin of that comment and time"));
    }
    Ok(audit.with_before(&before))
}
