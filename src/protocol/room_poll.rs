//! Polls: a question to the viewers of a stream, and options of which each user may vote for one.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The number of options of a poll.
pub const OPTIONS: RangeInclusive<usize> = 2..=10;
/// The most characters of a question.
pub const MAX_QUESTION_CHARS: usize = 200;
/// The most characters of an option.
pub const MAX_OPTION_CHARS: usize = 80;
/// The shortest and the longest time for which a poll is open, in milliseconds.
pub const SHORTEST_POLL_MS: u64 = 10_000;
pub const LONGEST_POLL_MS: u64 = 86_400_000;

/// A poll. It closes by itself, by the clock of whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RoomPoll {
    /// The number of the audit entry that opened it: later polls have higher ones.
    pub poll_id: u64,
    pub question: Arc<str>,
    /// 2 to 10 different texts.
    pub options: Vec<Arc<str>>,
    /// Milliseconds since the Unix epoch.
    pub opened_at: u64,
    /// Milliseconds since the Unix epoch. Votes before this time count.
    pub closes_at: u64,
}

impl RoomPoll {
    /// Returns whether votes count at a time, in milliseconds since the Unix epoch.
    pub fn is_open(&self, now_ms: u64) -> bool {
        now_ms < self.closes_at
    }
}

/// A poll with its votes, as viewers are told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PollState {
    #[serde(flatten)]
    pub poll: RoomPoll,
    /// True once no more votes count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The votes of each option, in the order of the options.
    pub votes: Vec<u64>,
}

impl PollState {
    /// Returns a poll at a time, in milliseconds since the Unix epoch, with its votes by option.
    /// Options without a vote may be missing at the end.
    pub fn at(poll: RoomPoll, votes: &[u64], now_ms: u64) -> Self {
        let closed = !poll.is_open(now_ms);
        let mut votes = votes.to_vec();
        votes.resize(poll.options.len(), 0);
        Self { poll, closed, votes }
    }
}
