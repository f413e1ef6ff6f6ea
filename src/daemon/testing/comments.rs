//! Sample comments. Tests that look at other fields override them:
//! `Comment { user_id: UserId(7), ..sample_comment(1) }`.

use std::sync::Arc;

use crate::daemon::engines::eventlog::NewRecord;
use crate::protocol::events::{CommentSubmitted, Event, Removal, Told};
use crate::protocol::{Comment, CommentId, Role, StreamId, UserId};

/// The stream of all sample comments.
pub(crate) const SAMPLE_STREAM: StreamId = StreamId(5);

/// Returns an id that grows with `number`.
pub(crate) fn sample_comment_id(number: u64) -> CommentId {
    CommentId::from_unix_ticks(17_500_000_000_000_000 + number * 1000, 1, [3; 6])
}

pub(crate) fn sample_comment(number: u64) -> Comment {
    let comment_id = sample_comment_id(number);
    Comment {
        stream_id: SAMPLE_STREAM,
        comment_id,
        user_id: UserId(1),
        name: "ann".into(),
        message: "hi".into(),
        created_at: comment_id.unix_ms(),
        badges: Default::default(),
        parent_id: None,
    }
}

/// Returns the deletion of [`sample_comment`] `number`, which everybody is sent.
pub(crate) fn sample_deletion(number: u64) -> Removal {
    let comment_id = sample_comment_id(number);
    Removal { comment_id, reason: "moderator".into(), timestamp: 1, told: Told::Everybody }
}

/// Returns a comment as ingest appends it to the log when its sender is an ordinary viewer.
pub(crate) fn submitted(comment: Comment) -> CommentSubmitted {
    CommentSubmitted {
        comment: Arc::new(comment),
        role: Role::Viewer,
        client_ref: None,
        shadow: false,
        screened: false,
    }
}

/// Returns the log record of an event, under its stream's key.
pub(crate) fn event_record(stream_id: StreamId, event: &Event) -> NewRecord {
    NewRecord { key: stream_id.0, timestamp_ms: 1, payload: event.encode().into() }
}

/// Returns the log record of a comment, as ingest appends it.
pub(crate) fn comment_record(comment: Comment) -> NewRecord {
    event_record(comment.stream_id, &Event::CommentSubmitted(submitted(comment)))
}
