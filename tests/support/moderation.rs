//! Moderation as tests see it: the review queue, checks before publication, deletions.

use std::time::Duration;

use live_comments::protocol::ServerMessage;
use live_comments::protocol::admin::{Cluster, Outcome, ReviewItem};
use live_comments::protocol::comment::Deletion;
use serde_json::json;
use tokio::time::timeout;

use super::{Daemon, PATIENCE};

/// Returns the review queue, which may lack what was queued within the last second.
pub async fn queue(daemon: &Daemon) -> Vec<ReviewItem> {
    let queue: Cluster<ReviewItem> = daemon.admin().get("/v1/mod/queue?limit=200").await.unwrap();
    queue.items
}

/// Waits until this many comments are in the review queue.
pub async fn queue_of(daemon: &Daemon, length: usize) -> Vec<ReviewItem> {
    let filled = async {
        loop {
            let items = queue(daemon).await;
            if items.len() >= length {
                return items;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let items = timeout(PATIENCE, filled).await.expect("a review");
    assert_eq!(items.len(), length, "{items:?}");
    items
}

/// Lets stream 1 check comments before they are shown, with a deadline that a busy machine keeps.
pub async fn check_before_showing(daemon: &Daemon) {
    let patient = json!({"checks": {"deadline_ms": 10_000}});
    let _: Outcome = daemon.admin().post("/v1/streams/1/room", &patient).await.unwrap();
    let sync = json!({"moderation": "sync"});
    let _: Outcome = daemon.admin().post("/v1/streams/1", &sync).await.unwrap();
}

/// Returns the deletion that a message tells of.
pub fn deletion(message: &ServerMessage) -> Option<Deletion> {
    match message {
        ServerMessage::CommentDeleted(deletion) => Some(deletion.clone()),
        _ => None,
    }
}
