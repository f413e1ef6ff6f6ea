//! Comments and decisions for tests.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::context::{ModerationContext, ModerationContextParts};
use super::hold_queue::{HoldQueue, HoldWriterParts, hold_queue};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::ReputationConfig;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::eventlog::Topic;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::events::{CommentModerated, Event};
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
        badges: Default::default(),
        parent_id: None,
    }
}

/// A context with the default settings.
pub(super) fn context(metadata: SharedMetadataStore, clock: SharedClock) -> Arc<ModerationContext> {
    Arc::new(ModerationContext::new(ModerationContextParts {
        metadata,
        metadata_breaker: Arc::new(Breaker::new("metadata")),
        clock,
        config: ReputationConfig::default(),
    }))
}

/// A queue for held comments, and a task that stores them.
pub(super) fn holds(metadata: SharedMetadataStore) -> HoldQueue {
    let metadata_breaker = Arc::new(Breaker::new("metadata"));
    let (holds, writer) =
        hold_queue(HoldWriterParts { metadata, metadata_breaker, max_waiting: 1_000 });
    tokio::spawn(writer.run(CancellationToken::new()));
    holds
}

/// The decisions in a topic, with their keys.
pub(super) fn moderated(log: &InMemoryLog, topic: Topic) -> Vec<(u64, CommentModerated)> {
    let decision = |(key, event)| match event {
        Event::CommentModerated(event) => Some((key, event)),
        Event::CommentSubmitted(_) | Event::CommentRestored(_) => None,
    };
    log.events(topic).into_iter().filter_map(decision).collect()
}
