//! Tests with a store that counts its reads and answers when it is released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::comments::{
    ArchiveBatch, ArchivedComment, CommentKey, CommentStore, StorePositions, StoredComment,
    Tombstone,
};
use crate::daemon::engines::eventlog::Position;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::recent::RecentCache as _;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::room::RoomSettings;
use crate::protocol::stream::{ModerationMode, Stream};
use crate::protocol::{Comment, Epoch};

const STREAM: StreamId = StreamId(1);

#[derive(Debug)]
struct CountingStore {
    store: InMemoryComments,
    reads: AtomicUsize,
    answers: Semaphore,
    is_down: AtomicBool,
}

#[async_trait]
impl CommentStore for CountingStore {
    async fn write(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        self.store.write(batch).await
    }

    async fn positions(
        &self,
        epoch: Epoch,
        known: &BTreeMap<u32, CommentKey>,
    ) -> Result<StorePositions, StoreError> {
        self.store.positions(epoch, known).await
    }

    async fn other_positions(&self, epoch: Epoch) -> Result<Vec<(Epoch, Position)>, StoreError> {
        self.store.other_positions(epoch).await
    }

    async fn page(
        &self,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".to_owned()));
        }
        self.store.page(stream_id, before, limit).await
    }

    async fn page_for(
        &self,
        reader: UserId,
        stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        self.store.page_for(reader, stream_id, before, limit).await
    }

    async fn hidden_authors(&self, stream_id: StreamId) -> Result<Vec<UserId>, StoreError> {
        self.store.hidden_authors(stream_id).await
    }

    async fn get(&self, comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        self.store.get(comment_id).await
    }

    async fn tombstones_since(
        &self,
        since_ms: u64,
        limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        self.store.tombstones_since(since_ms, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

fn comment(n: u64) -> ArchivedComment {
    ArchivedComment {
        comment: Arc::new(Comment {
            stream_id: STREAM,
            comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + n, 1, [3; 6]),
            user_id: UserId(1),
            name: "ann".into(),
            message: "hi".into(),
            created_at: 1,
            badges: Default::default(),
        }),
        seq: n,
        shadow: false,
    }
}

/// Pages over a store with three comments.
async fn pages() -> (Arc<CommentPages>, Arc<CountingStore>) {
    pages_of(None, None).await
}

/// Such pages, ten seconds after the comments were made, of a room with this message delay that was
/// broadcast up to this position.
async fn pages_of(
    delay_ms: Option<u64>,
    head: Option<Seq>,
) -> (Arc<CommentPages>, Arc<CountingStore>) {
    let metadata = Arc::new(InMemoryMetadata::default());
    metadata.put_stream(with_delay(delay_ms));
    let recent = Arc::new(TestRecent::default());
    if let Some(head) = head {
        recent.append(STREAM, 1, head, Vec::new()).await.unwrap();
    }
    pages_over(Streams::load(metadata).await.unwrap(), recent).await
}

fn with_delay(delay_ms: Option<u64>) -> Stream {
    let room = RoomSettings { delay_ms, ..RoomSettings::default() };
    Stream { room, ..stream(STREAM.0, ModerationMode::Async) }
}

/// Pages ten seconds after the comments were made.
async fn pages_over(
    streams: Streams,
    recent: Arc<TestRecent>,
) -> (Arc<CommentPages>, Arc<CountingStore>) {
    let store = InMemoryComments::default();
    store.write_rows(&(1..=3).map(comment).collect::<Vec<_>>(), &[]).await.unwrap();
    let counting = Arc::new(CountingStore {
        store,
        reads: AtomicUsize::new(0),
        answers: Semaphore::new(0),
        is_down: AtomicBool::new(false),
    });
    let sources = PageSources {
        comments: counting.clone(),
        recent,
        streams,
        clock: Arc::new(TokioClock::starting_at(Duration::from_secs(10))),
    };
    (Arc::new(CommentPages::new(sources)), counting)
}

fn newest(limit: usize) -> PageRequest {
    PageRequest { stream_id: STREAM, before: None, limit, reader: None, is_staff: false }
}

#[tokio::test]
async fn a_read_is_shared_although_the_first_caller_leaves() {
    let (pages, store) = pages().await;
    let mut first = Box::pin(pages.page(newest(2)));
    assert!(first.as_mut().now_or_never().is_none());
    let storm: Vec<_> = (0..1000)
        .map(|_| {
            let pages = pages.clone();
            tokio::spawn(async move { pages.page(newest(2)).await })
        })
        .collect();
    let other = tokio::spawn({
        let pages = pages.clone();
        async move { pages.page(newest(1)).await }
    });
    while store.reads.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    drop(first);
    store.answers.add_permits(2);
    let answers: Vec<_> =
        join_all(storm).await.into_iter().map(|page| page.unwrap().unwrap()).collect();
    let page: HistoryPage = serde_json::from_slice(&answers[0]).unwrap();
    assert_eq!(page.comments.iter().map(|comment| comment.seq).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(page.next_before, Some(page.comments[1].comment_id));
    assert!(answers.iter().all(|bytes| bytes.as_ptr() == answers[0].as_ptr()), "the same bytes");
    let other: HistoryPage = serde_json::from_slice(&other.await.unwrap().unwrap()).unwrap();
    assert_eq!(other.comments.len(), 1);
    assert_eq!(store.reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_failed_read_is_shared_and_not_cached() {
    let (pages, store) = pages().await;
    store.is_down.store(true, Ordering::SeqCst);
    let mut one = Box::pin(pages.page(newest(2)));
    let mut two = Box::pin(pages.page(newest(2)));
    assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
    store.answers.add_permits(1);
    assert!(one.await.is_err() && two.await.is_err());
    assert_eq!(store.reads.load(Ordering::SeqCst), 1);
    store.is_down.store(false, Ordering::SeqCst);
    store.answers.add_permits(1);
    assert!(pages.page(newest(2)).await.is_ok(), "nothing is cached");
}

#[tokio::test]
async fn only_a_hidden_author_has_own_pages() {
    let (pages, store) = pages().await;
    let mut shadowed = comment(4);
    shadowed.shadow = true;
    Arc::make_mut(&mut shadowed.comment).user_id = UserId(2);
    store.store.write_rows(&[shadowed], &[]).await.unwrap();
    let read = async |reader| {
        store.answers.add_permits(1);
        let request = PageRequest { reader, ..newest(2) };
        let bytes = pages.page(request).await.unwrap();
        let page: HistoryPage = serde_json::from_slice(&bytes).unwrap();
        page.comments.iter().map(|comment| comment.seq).collect::<Vec<_>>()
    };
    assert_eq!(read(Some(UserId(2))).await, [4, 3]);
    assert_eq!(read(Some(UserId(1))).await, [3, 2]);
    assert_eq!(read(None).await, [3, 2]);
    let everybody = PageRequest { reader: Some(UserId(1)), ..newest(1) };
    let mut shared = Box::pin(pages.page(everybody));
    assert!(shared.as_mut().now_or_never().is_none());
    let before = store.reads.load(Ordering::SeqCst);
    let mut other = Box::pin(pages.page(newest(1)));
    assert!(other.as_mut().now_or_never().is_none());
    assert_eq!(store.reads.load(Ordering::SeqCst), before, "it joins the read for everybody");
}

async fn shown(pages: &CommentPages, reader: Option<u64>, is_staff: bool) -> usize {
    let request = PageRequest { reader: reader.map(UserId), is_staff, ..newest(10) };
    let bytes = pages.page(request).await.unwrap();
    serde_json::from_slice::<HistoryPage>(&bytes).unwrap().comments.len()
}

#[tokio::test]
async fn history_ends_where_the_broadcast_ends() {
    for (delay_ms, head, expected, what) in [
        (None, None, 3, "no delay"),
        (Some(5_000), None, 3, "all are due by the clock"),
        (Some(20_000), None, 0, "none is due by the clock"),
        (Some(20_000), Some(2), 2, "the delay was raised after two were broadcast"),
        (None, Some(1), 1, "the delay was switched off while two are held"),
        (None, Some(3), 3, "all were broadcast"),
    ] {
        let (pages, store) = pages_of(delay_ms, head).await;
        store.answers.add_permits(8);
        assert_eq!(shown(&pages, None, false).await, expected, "{what}");
        assert_eq!(shown(&pages, Some(2), false).await, expected, "{what}");
        assert_eq!(shown(&pages, Some(1), false).await, 3, "{what}: the author");
        assert_eq!(shown(&pages, Some(7), true).await, 3, "{what}: staff");
    }
}

/// The node has run for longer than comments are ever held back.
#[tokio::test(start_paused = true)]
async fn a_stale_end_hides_nothing_without_a_delay() {
    for (before, now, expected, what) in [
        (None, None, 3, "the coordinator is down"),
        (Some(20_000), None, 1, "the delay was switched off while two are held"),
        (Some(20_000), Some(5_000), 1, "the delay was lowered while two are held"),
        (None, Some(5_000), 1, "two may be held since the delay is on"),
    ] {
        let metadata = Arc::new(InMemoryMetadata::default());
        metadata.put_stream(with_delay(before));
        let streams = Streams::load(metadata.clone()).await.unwrap();
        tokio::time::advance(Duration::from_millis(LONGEST_DELAY_MS)).await;
        metadata.put_stream(with_delay(now));
        streams.reload_stream(STREAM).await.unwrap();
        streams.reload().await.unwrap();
        let recent = Arc::new(TestRecent::default());
        recent.append(STREAM, 1, 1, Vec::new()).await.unwrap();
        let (pages, store) = pages_over(streams, recent.clone()).await;
        store.answers.add_permits(8);
        assert_eq!(shown(&pages, None, false).await, expected, "{what}");
        let needs_end = before.or(now).is_some();
        assert_eq!(recent.head_requests(), usize::from(needs_end), "{what}");
        tokio::time::advance(Duration::from_millis(LONGEST_DELAY_MS)).await;
        assert_eq!(shown(&pages, None, false).await, 3, "{what}: too old to be held");
        assert_eq!(recent.head_requests(), usize::from(needs_end), "{what}: not asked again");
    }
}

#[tokio::test]
async fn callers_of_a_delayed_room_share_one_read() {
    let (pages, store) = pages_of(Some(20_000), Some(2)).await;
    let callers = [(None, false), (Some(1), false), (Some(2), false), (Some(7), true)];
    let reads = callers.map(|(reader, is_staff)| shown(&pages, reader, is_staff));
    let release = async {
        while store.reads.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        store.answers.add_permits(8);
    };
    let (lengths, ()) = tokio::join!(join_all(reads), release);
    assert_eq!(lengths, [2, 3, 2, 3]);
    assert_eq!(store.reads.load(Ordering::SeqCst), 1);
}

#[test]
fn old_comments_beyond_the_end_are_shown() {
    let end = BroadcastEnd { head: Some(5), delay_ms: 0, now_ms: 100_000 };
    let held = |seq, created_at| {
        let ArchivedComment { comment, .. } = comment(seq);
        let comment = Comment { created_at, ..Comment::clone(&comment) };
        end.holds_back(&comment.sequenced(seq))
    };
    assert!(held(6, 99_000));
    assert!(!held(5, 99_000), "it was broadcast");
    assert!(!held(900, 60_000), "it is of an older log");
}
