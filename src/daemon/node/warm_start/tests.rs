//! The warm start while retention removes records.

use std::sync::Arc;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::config::{IngestConfig, StoreConfig};
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::recent::memory::MemoryRecent;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::events::CommentSubmitted;
use crate::protocol::{Comment, CommentId, Role, UserId};

const STREAM: StreamId = StreamId(5);

fn submitted(n: u64) -> Event {
    let comment = Arc::new(Comment {
        stream_id: STREAM,
        comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + n, 1, [3; 6]),
        user_id: UserId(1),
        name: "ann".into(),
        message: "hi".into(),
        created_at: 1,
    });
    Event::CommentSubmitted(CommentSubmitted {
        comment,
        role: Role::Viewer,
        client_ref: None,
        shadow: false,
        screened: false,
    })
}

#[tokio::test]
async fn records_removed_meanwhile_are_not_claimed() {
    let in_memory = InMemoryLog::shaped(1, 6);
    for n in 6..=10 {
        in_memory.put(Topic::CommentEvents, STREAM.0, 1, submitted(n).encode());
    }
    let log: SharedLog = Arc::new(in_memory);
    let comments: SharedCommentStore = Arc::<InMemoryComments>::default();
    let recent: SharedRecentCache = Arc::new(MemoryRecent::new(&StoreConfig::default()));
    let clock: SharedClock = Arc::new(TokioClock::starting_at(TOMBSTONE_AGE * 100));
    let mut refs = Refs::new(&IngestConfig::default());
    let mut warm_start = WarmStart {
        log: &log,
        recent: &recent,
        comments: &comments,
        refs: &mut refs,
        clock: &clock,
    };
    // The log still began at 1 when its bounds were read.
    assert_eq!(warm_start.load_partition(0, 1..11).await.unwrap(), 5);
    assert!(recent.after(STREAM, 3, 100).await.unwrap().is_none(), "4 and 5 are not there");
    let page = recent.after(STREAM, 5, 100).await.unwrap().unwrap();
    assert_eq!((page.events.len(), page.covered_to), (5, 10));
    assert_eq!(recent.head(STREAM).await.unwrap(), Some(10));
}
