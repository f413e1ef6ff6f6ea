//! The warm start while retention removes records.

use std::sync::Arc;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::base::config::{IngestConfig, StoreConfig};
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::recent::memory::MemoryRecent;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::events::{CommentModerated, CommentRestored, CommentSubmitted, Decision};
use crate::protocol::stream::ModerationMode;
use crate::protocol::{Comment, CommentId, Role, UserId};

const STREAM: StreamId = StreamId(5);

async fn no_streams() -> Streams {
    Streams::load(Arc::new(InMemoryMetadata::default())).await.unwrap()
}

fn comment_id(n: u64) -> CommentId {
    CommentId::from_unix_ticks(17_000_000_000_000_000 + n, 1, [3; 6])
}

fn submitted(n: u64) -> Event {
    let comment = Arc::new(Comment {
        stream_id: STREAM,
        comment_id: comment_id(n),
        user_id: UserId(1),
        name: "ann".into(),
        message: "hi".into(),
        created_at: 1,
        badges: Default::default(),
        parent_id: None,
    });
    Event::CommentSubmitted(CommentSubmitted {
        comment,
        role: Role::Viewer,
        client_ref: None,
        shadow: false,
        screened: false,
    })
}

fn moderated(n: u64) -> Event {
    Event::CommentModerated(CommentModerated {
        stream_id: STREAM,
        comment_id: comment_id(n),
        user_id: UserId(1),
        decision: Decision::Reject,
        reason: "spam".into(),
        timestamp: 2,
        decided_by: "rules".into(),
        text: None,
        was_hidden: false,
        in_bulk: false,
    })
}

fn restored(n: u64) -> Event {
    Event::CommentRestored(CommentRestored {
        stream_id: STREAM,
        comment_id: comment_id(n),
        user_id: UserId(1),
        reason: None,
        timestamp: 3,
        restored_by: "ann".into(),
        stays_hidden: false,
    })
}

/// The archiver has stored a part of what deleted and restored comments.
#[tokio::test]
async fn restored_comments_are_loaded_at_their_place() {
    let in_memory = InMemoryLog::shaped(1, 1);
    let events = (1..=4).map(submitted).chain([
        moderated(1),
        restored(1),
        moderated(2),
        moderated(3),
        restored(3),
        restored(2),
        moderated(1),
    ]);
    events.for_each(|event| in_memory.put(Topic::CommentEvents, STREAM.0, 1, event.encode()));
    // Up to the first deletion of 3.
    in_memory.set_committed(Topic::CommentEvents, ConsumerGroup::Archiver, 9);
    let store = Arc::<InMemoryComments>::default();
    let stored = [2, 3].map(|n| Tombstone {
        stream_id: STREAM,
        comment_id: comment_id(n),
        reason: "spam".into(),
        deleted_at: TOMBSTONE_AGE.as_millis() as u64 * 100,
        hidden_from: HiddenFrom::Everybody,
    });
    store.write_rows(&[], &stored).await.unwrap();
    let log: SharedLog = Arc::new(in_memory);
    let comments: SharedCommentStore = store;
    let recent: SharedRecentCache = Arc::new(MemoryRecent::new(&StoreConfig::default()));
    let clock: SharedClock = Arc::new(TokioClock::starting_at(TOMBSTONE_AGE * 100));
    let mut refs = Refs::new(&IngestConfig::default());
    let warm_start = WarmStart {
        log: &log,
        recent: &recent,
        comments: &comments,
        refs: &mut refs,
        said: &mut RoomMemory::default(),
        streams: &no_streams().await,
        clock: &clock,
        delays: Delays::new(no_streams().await, clock.clone()),
        undue: Default::default(),
    };
    warm_start.run().await.unwrap();
    let page = recent.after(STREAM, 0, 100).await.unwrap().unwrap();
    let seqs: Vec<_> = page.events.iter().map(RecentEvent::seq).collect();
    assert_eq!(seqs, [2, 3, 4, 5, 11], "1 is deleted, 2 and 3 are back");
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
        said: &mut RoomMemory::default(),
        streams: &no_streams().await,
        clock: &clock,
        delays: Delays::new(no_streams().await, clock.clone()),
        undue: Default::default(),
    };
    // The log still began at 1 when its bounds were read.
    assert_eq!(warm_start.load_partition(0, 1..11).await.unwrap(), 5);
    assert!(recent.after(STREAM, 3, 100).await.unwrap().is_none(), "4 and 5 are not there");
    let page = recent.after(STREAM, 5, 100).await.unwrap().unwrap();
    assert_eq!((page.events.len(), page.covered_to), (5, 10));
    assert_eq!(recent.head(STREAM).await.unwrap(), Some(10));
}

/// The broadcast stage publishes them, and all that follows them, when their time has come.
#[tokio::test(start_paused = true)]
async fn comments_that_wait_are_not_loaded() {
    const OTHER: StreamId = StreamId(6);
    let metadata = InMemoryMetadata::default();
    let mut delayed = stream(STREAM.0, ModerationMode::Async);
    delayed.room.delay_ms = Some(5_000);
    metadata.put_stream(delayed);
    let streams = Streams::load(Arc::new(metadata)).await.unwrap();
    let clock: SharedClock = Arc::new(TokioClock::starting_at(TOMBSTONE_AGE * 100));
    let now_ms = clock.now_ms();
    let in_memory = InMemoryLog::shaped(1, 1);
    let put = |stream_id: StreamId, n, age_ms| {
        let Event::CommentSubmitted(mut event) = submitted(n) else { panic!("a comment") };
        let comment =
            Comment { stream_id, created_at: now_ms - age_ms, ..(*event.comment).clone() };
        event.comment = Arc::new(comment);
        let payload = Event::CommentSubmitted(event).encode();
        in_memory.put(Topic::CommentEvents, stream_id.0, 1, payload);
    };
    put(STREAM, 1, 6_000);
    put(STREAM, 2, 3_000);
    put(STREAM, 3, 6_000);
    put(OTHER, 4, 0);
    in_memory.put(Topic::CommentEvents, STREAM.0, 1, moderated(1).encode());
    let log: SharedLog = Arc::new(in_memory);
    let comments: SharedCommentStore = Arc::<InMemoryComments>::default();
    let recent: SharedRecentCache = Arc::new(MemoryRecent::new(&StoreConfig::default()));
    let mut refs = Refs::new(&IngestConfig::default());
    let warm_start = WarmStart {
        log: &log,
        recent: &recent,
        comments: &comments,
        refs: &mut refs,
        said: &mut RoomMemory::default(),
        streams: &streams,
        clock: &clock,
        delays: Delays::new(streams.clone(), clock.clone()),
        undue: Default::default(),
    };
    warm_start.run().await.unwrap();
    assert_eq!(recent.head(STREAM).await.unwrap(), Some(1), "the next batch begins with 2");
    assert_eq!(recent.head(OTHER).await.unwrap(), Some(5), "it has no delay");
    let page = recent.after(STREAM, 0, 100).await.unwrap().unwrap();
    assert_eq!((page.events, page.covered_to), (Vec::new(), 1), "1 was deleted meanwhile");
}
