//! Polls and their votes, as the stores keep them.

use std::sync::Arc;

use super::NewAudit;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::Columns;
use crate::protocol::stream::Stream;
use crate::protocol::{RoomPoll, UserId};

/// A poll to be opened. Its texts are in their normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPoll {
    pub question: Arc<str>,
    pub options: Vec<Arc<str>>,
    pub duration_ms: u64,
}

impl NewPoll {
    /// Returns the poll that an audit entry with this number opens on a stream.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if one is open at the time of the entry.
    pub(super) fn open(
        self,
        stream: &Stream,
        poll_id: u64,
        audit: &NewAudit,
    ) -> Result<RoomPoll, StoreError> {
        if stream.poll.as_ref().is_some_and(|poll| poll.is_open(audit.at)) {
            return Err(StoreError::Exists("open poll"));
        }
        let Self { question, options, duration_ms } = self;
        let opened_at = audit.at;
        let closes_at = opened_at.saturating_add(duration_ms);
        Ok(RoomPoll { poll_id, question, options, opened_at, closes_at })
    }
}

/// Returns the poll of a stream as it is when an audit entry closes it.
///
/// # Errors
/// [`StoreError::NotFound`] if none is open at the time of the entry.
pub(super) fn closed(stream: &Stream, audit: &NewAudit) -> Result<RoomPoll, StoreError> {
    let open = stream.poll.as_ref().filter(|poll| poll.is_open(audit.at));
    let open = open.ok_or(StoreError::NotFound("open poll"))?;
    Ok(RoomPoll { closes_at: audit.at, ..RoomPoll::clone(open) })
}

/// The vote of a user for an option, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollVote {
    pub user_id: UserId,
    pub option: u8,
    /// When the user voted, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The votes of a poll.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PollVotes {
    pub poll_id: u64,
    /// Options without a vote may be missing at the end.
    pub by_option: Vec<u64>,
}

/// Adds votes up by option, from pairs of an option and its votes.
pub(super) fn add_up(rows: impl IntoIterator<Item = (usize, u64)>) -> Vec<u64> {
    let mut votes = Vec::new();
    for (option, count) in rows {
        if votes.len() <= option {
            votes.resize(option + 1, 0);
        }
        votes[option] += count;
    }
    votes
}

/// Returns the option of a stored vote.
pub(super) fn choice(row: &impl Columns) -> Result<u8, StoreError> {
    let choice = row.natural("choice")?;
    u8::try_from(choice).map_err(|_| StoreError::Corrupt(format!("a vote for the option {choice}")))
}
