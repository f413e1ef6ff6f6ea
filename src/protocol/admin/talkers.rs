//! The users that say most on a stream, and the texts that many users say.
//!
//! The figures are estimates of a bounded size. A count is never below the true one, and is above
//! it by at most `error`.

use serde::{Deserialize, Serialize};

use super::Cluster;
use crate::protocol::{NodeId, StreamId, UserId};

/// `GET /v1/streams/{id}/talkers`: the last minutes of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Talkers {
    pub stream_id: StreamId,
    /// The time that is counted, in milliseconds: five to ten minutes on a stream that is older. 0
    /// if the stream is not counted: nobody has commented lately, or its node counts busier ones.
    pub window_ms: u64,
    /// Comments in that time.
    pub said: u64,
    /// The users that said most come first. A user with more than one comment in 64 is among them.
    pub talkers: Vec<Talker>,
    /// Texts of at least two users, that of most users first.
    pub texts: Vec<SameText>,
    /// Nodes whose part is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
}

/// A user of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Talker {
    pub user_id: UserId,
    /// The latest name; what does not fit into 25 bytes is replaced by `…`.
    pub name: String,
    /// Comments, at most `error` too many.
    pub said: u64,
    pub error: u64,
    /// Comments that were refused because of a rate limit, a ban, a timeout or their text. At
    /// least this number.
    pub refused: u64,
    /// Comments that were deleted. At least this number.
    pub removed: u64,
    /// The `id` of the latest text; 0 for a user whose comments were all refused.
    pub text: u32,
}

/// A text that several users say. Texts that differ in case, spaces, punctuation or repeated
/// letters are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SameText {
    /// The same for the same text on all nodes.
    pub id: u32,
    /// As it was said first; what does not fit into 35 bytes is replaced by `…`.
    pub text: String,
    /// The number of users; above 64 an estimate, mostly within a fifth of the true one.
    pub users: u64,
    /// Comments, at most `error` too many.
    pub said: u64,
    pub error: u64,
    /// Of the users, those that say it only since the latest five minutes began.
    pub new: u64,
}

/// The largest number of users of a text that is no estimate.
pub const MOST_COUNTED_USERS: u64 = 64;

impl SameText {
    /// Returns whether the number of users is an estimate.
    pub fn users_are_estimated(&self) -> bool {
        self.users > MOST_COUNTED_USERS
    }
}

/// A user of whom a node refused comments in the last minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedUser {
    pub stream_id: StreamId,
    pub user_id: UserId,
    pub name: String,
    /// At least this number.
    pub refused: u64,
}

impl Talkers {
    /// Returns the answer for a stream of which nothing is known.
    pub fn none_of(stream_id: StreamId) -> Self {
        Self {
            stream_id,
            window_ms: 0,
            said: 0,
            talkers: Vec::new(),
            texts: Vec::new(),
            unreachable: Vec::new(),
        }
    }

    /// Adds what a node refused. Its users are listed even if no comment of theirs was accepted.
    pub fn add_refused(&mut self, refused: &RefusedUser) {
        let known = self.talkers.iter_mut().find(|talker| talker.user_id == refused.user_id);
        match known {
            Some(talker) => talker.refused += refused.refused,
            None => self.talkers.push(Talker {
                user_id: refused.user_id,
                name: refused.name.clone(),
                said: 0,
                error: 0,
                refused: refused.refused,
                removed: 0,
                text: 0,
            }),
        }
    }

    /// Returns whether the comments of the stream are counted.
    pub fn are_counted(&self) -> bool {
        self.window_ms > 0
    }

    /// Sorts the users by what is certain: on a stream of ever new users all counts are high, and
    /// mean nothing.
    pub fn sort_users(&mut self) {
        let rank = |row: &Talker| (row.said.saturating_sub(row.error), row.said, row.refused);
        self.talkers.sort_by_key(|row| (std::cmp::Reverse(rank(row)), row.user_id));
    }
}

impl From<Talkers> for Cluster<Talker> {
    fn from(answer: Talkers) -> Self {
        Self { items: answer.talkers, unreachable: answer.unreachable }
    }
}

impl From<Talkers> for Cluster<SameText> {
    fn from(answer: Talkers) -> Self {
        Self { items: answer.texts, unreachable: answer.unreachable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_all_nodes_are_added_by_user() {
        let mut answer = Talkers::none_of(StreamId(7));
        let refused = |user_id, refused| RefusedUser {
            stream_id: StreamId(7),
            user_id: UserId(user_id),
            name: "zed_k".to_owned(),
            refused,
        };
        for row in [refused(2, 1), refused(1, 5), refused(1, 7)] {
            answer.add_refused(&row);
        }
        answer.sort_users();
        let rows: Vec<_> =
            answer.talkers.iter().map(|row| (row.user_id.0, row.said, row.refused)).collect();
        assert_eq!(rows, [(1, 0, 12), (2, 0, 1)]);
    }
}
