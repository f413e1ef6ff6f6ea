//! A poll in MessagePack.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::{PollState, RoomPoll};

/// `[poll_id, question, options, opened_at, closes_at, closed, votes]`. New fields are added at the
/// end and have a default.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompactPoll {
    poll_id: u64,
    question: Arc<str>,
    options: Vec<Arc<str>>,
    opened_at: u64,
    closes_at: u64,
    closed: bool,
    votes: Vec<u64>,
}

impl From<&PollState> for CompactPoll {
    fn from(state: &PollState) -> Self {
        let RoomPoll { poll_id, question, options, opened_at, closes_at } = state.poll.clone();
        let closed = state.closed;
        let votes = state.votes.clone();
        Self { poll_id, question, options, opened_at, closes_at, closed, votes }
    }
}

impl From<CompactPoll> for Arc<PollState> {
    fn from(compact: CompactPoll) -> Self {
        let CompactPoll { poll_id, question, options, opened_at, closes_at, closed, votes } =
            compact;
        let poll = RoomPoll { poll_id, question, options, opened_at, closes_at };
        Self::new(PollState { poll, closed, votes })
    }
}
