//! Comments for tests.

use crate::protocol::{Comment, CommentId, StreamId, UserId};

/// A comment made at second 1 of time; ids differ with user and text.
pub(crate) fn comment(stream: u64, user: u64, message: &str) -> Comment {
    let salt: u64 = message.bytes().fold(user, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
    Comment {
        stream_id: StreamId(stream),
        comment_id: CommentId::from_unix_ticks(10_000_000 + salt, 1, [1; 6]),
        user_id: UserId(user),
        name: format!("user{user}").into(),
        message: message.into(),
        created_at: 1000,
    }
}
