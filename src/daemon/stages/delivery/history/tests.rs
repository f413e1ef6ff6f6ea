//! What is handed out while the recent cache is away.

use async_trait::async_trait;

use super::*;
use crate::daemon::engines::eventlog::in_memory::InMemoryLog;
use crate::daemon::engines::eventlog::{EventLog as _, NewRecord};
use crate::daemon::engines::recent::RecentCache;
use crate::protocol::events::{CommentModerated, CommentSubmitted, Decision};
use crate::protocol::{Comment, Role, UserId};

const STREAM: StreamId = StreamId(5);

/// A cache that never answers.
#[derive(Debug)]
struct Away;

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("away".to_owned()))
}

#[async_trait]
impl RecentCache for Away {
    async fn append(
        &self,
        _: StreamId,
        _: Seq,
        _: Seq,
        _: Vec<RecentEvent>,
    ) -> Result<(), StoreError> {
        away()
    }

    async fn after(&self, _: StreamId, _: Seq, _: usize) -> Result<Option<RecentPage>, StoreError> {
        away()
    }

    async fn head(&self, _: StreamId) -> Result<Option<Seq>, StoreError> {
        away()
    }

    async fn bury(&self, _: StreamId, _: CommentId) -> Result<(), StoreError> {
        away()
    }

    async fn buried(&self, _: StreamId, _: &[CommentId]) -> Result<Vec<bool>, StoreError> {
        away()
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        away()
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        away()
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        away()
    }
}

fn id(n: u64) -> CommentId {
    CommentId::from_unix_ticks(17_000_000_000_000_000 + n, 1, [3; 6])
}

fn record(event: &Event) -> NewRecord {
    NewRecord { key: STREAM.0, timestamp_ms: 1, payload: event.encode().into() }
}

fn submitted(n: u64) -> NewRecord {
    let comment = Arc::new(Comment {
        stream_id: STREAM,
        comment_id: id(n),
        user_id: UserId(1),
        name: "ann".into(),
        message: "hi".into(),
        created_at: 1,
    });
    let (role, client_ref) = (Role::Viewer, None);
    let event = CommentSubmitted { comment, role, client_ref, shadow: false, screened: false };
    record(&Event::CommentSubmitted(event))
}

fn deleted(n: u64) -> NewRecord {
    record(&Event::CommentModerated(CommentModerated {
        stream_id: STREAM,
        comment_id: id(n),
        user_id: UserId(1),
        decision: Decision::Reject,
        reason: "spam".into(),
        timestamp: 2,
        decided_by: "rules".into(),
    }))
}

#[tokio::test]
async fn without_the_cache_deleted_comments_are_still_not_handed_out() {
    let log = InMemoryLog::new();
    let comments = (1..=10).map(submitted).chain([deleted(3)]);
    log.append(Topic::CommentEvents, comments.collect()).await.unwrap();
    // Far behind the first page.
    let more = (11..=11 + PAGE_EVENTS as u64 * 3).map(submitted).chain([deleted(7), deleted(20)]);
    log.append(Topic::CommentEvents, more.collect()).await.unwrap();
    let history = History::new(Arc::new(Away), Arc::new(log));
    let Past::Kept(page) = history.after(STREAM, 0, u64::MAX).await.unwrap() else {
        panic!("the log has all of it")
    };
    let ids: Vec<_> = page.events.iter().filter_map(comment_id).collect();
    assert!(ids.contains(&id(1)) && ids.contains(&id(11)));
    for gone in [3, 7, 20] {
        assert!(!ids.contains(&id(gone)), "{gone} was deleted");
    }
    assert_eq!(page.covered_to, PAGE_EVENTS as Seq, "one page at a time");
}
