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

    async fn replies(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        self.reads.fetch_add(limit, Ordering::SeqCst);
        self.store.replies(reader, parent, before, limit).await
    }

    async fn reply_count(
        &self,
        reader: Option<UserId>,
        parent: CommentKey,
    ) -> Result<usize, StoreError> {
        self.store.reply_count(reader, parent).await
    }

    async fn first_since(
        &self,
        stream_id: StreamId,
        since_ms: u64,
    ) -> Result<Option<CommentId>, StoreError> {
        self.store.first_since(stream_id, since_ms).await
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
            parent_id: None,
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
        pins_timeout: Duration::from_secs(1),
    };
    (Arc::new(CommentPages::new(sources)), counting)
}

/// Returns pages of a stream without a message delay, over a store that answers at once.
async fn pages_without_delay(recent: Arc<TestRecent>) -> (Arc<CommentPages>, Arc<CountingStore>) {
    let metadata = Arc::new(InMemoryMetadata::default());
    metadata.put_stream(with_delay(None));
    let streams = Streams::load(metadata).await.unwrap();
    tokio::time::advance(Duration::from_millis(LONGEST_DELAY_MS)).await;
    let (pages, store) = pages_over(streams, recent).await;
    store.answers.add_permits(100);
    (pages, store)
}

fn newest(limit: usize) -> PageRequest {
    PageRequest {
        stream_id: STREAM,
        end: PageEnd::Newest,
        limit,
        reader: None,
        is_staff: false,
        is_public: true,
        is_over: false,
    }
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
        join_all(storm).await.into_iter().map(|page| page.unwrap().unwrap().body).collect();
    let page: HistoryPage = serde_json::from_slice(&answers[0]).unwrap();
    assert_eq!(page.comments.iter().map(|comment| comment.seq).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(page.next_before, Some(page.comments[1].comment_id));
    assert!(answers.iter().all(|bytes| bytes.as_ptr() == answers[0].as_ptr()), "the same bytes");
    let other: HistoryPage = serde_json::from_slice(&other.await.unwrap().unwrap().body).unwrap();
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
        let bytes = pages.page(request).await.unwrap().body;
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
    let bytes = pages.page(request).await.unwrap().body;
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
        // Without a delay the newest page is looked for in the cache first.
        assert_eq!(recent.head_requests(), 1, "{what}");
        tokio::time::advance(Duration::from_millis(LONGEST_DELAY_MS)).await;
        assert_eq!(shown(&pages, None, false).await, 3, "{what}: too old to be held");
        assert_eq!(
            recent.head_requests(),
            1 + usize::from(now.is_none()),
            "{what}: not asked again"
        );
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

/// Reads a page and returns its places and what caches are told of it.
async fn read(pages: &CommentPages, request: PageRequest) -> (Vec<Seq>, PageAnswer) {
    let answer = pages.page(request).await.unwrap();
    let page: HistoryPage = serde_json::from_slice(&answer.body).unwrap();
    (page.comments.iter().map(|comment| comment.seq).collect(), answer)
}

#[tokio::test(start_paused = true)]
async fn a_deletion_gives_a_page_of_the_past_a_new_tag() {
    let recent = Arc::new(TestRecent::default());
    let (pages, _store) = pages_without_delay(recent.clone()).await;
    let past = PageRequest { end: PageEnd::Before(comment(3).comment.comment_id), ..newest(1) };
    let (seqs, first) = read(&pages, newest(2)).await;
    assert_eq!((seqs, first.freshness), (vec![3, 2], Freshness::Changing));
    let (seqs, kept) = read(&pages, past).await;
    assert_eq!((seqs, kept.freshness), (vec![2], Freshness::Past));
    assert_eq!(kept.freshness.cache_control(), "public, max-age=30, must-revalidate");
    assert_eq!(read(&pages, past).await.1.entity_tag, kept.entity_tag);
    let own = PageRequest { reader: Some(UserId(7)), ..past };
    assert_eq!(read(&pages, own).await.1.freshness, Freshness::Own);
    let closed = PageRequest { is_public: false, ..past };
    assert_eq!(read(&pages, closed).await.1.freshness, Freshness::Own);
    // The archiver has not written the deletion yet.
    recent.add_tombstone(STREAM, comment(2).comment.comment_id, 4).await.unwrap();
    let (seqs, after) = read(&pages, past).await;
    assert_eq!((seqs, after.freshness), (vec![], Freshness::Changing));
    assert_ne!(after.entity_tag, kept.entity_tag);
    recent.set_down(true);
    let (_, unknown) = read(&pages, past).await;
    assert_eq!(unknown.freshness, Freshness::Changing, "deletions are not known");
}

/// The second comment was held for review, and approved after the third.
#[tokio::test(start_paused = true)]
async fn a_moment_shows_what_came_before_it() {
    let (pages, store) = pages_without_delay(Arc::default()).await;
    let at = |ms: u64, seq| {
        let made = Comment {
            comment_id: CommentId::from_unix_ticks(18_000_000_000_000_000 + ms * 10_000, 1, [3; 6]),
            ..Comment::clone(&comment(seq).comment)
        };
        ArchivedComment { comment: Arc::new(made), ..comment(seq) }
    };
    let rows = [at(0, 10), at(1, 12), at(2, 11)];
    store.store.write_rows(&rows, &[]).await.unwrap();
    let page = async |ms: u64, limit| {
        let end = PageEnd::Since(1_800_000_000_000 + ms);
        let (seqs, answer) = read(&pages, PageRequest { end, ..newest(limit) }).await;
        (seqs, answer.freshness)
    };
    assert_eq!(page(2, 2).await, (vec![10, 3], Freshness::Past));
    assert_eq!(page(1, 2).await, (vec![10, 3], Freshness::Past));
    assert_eq!(page(0, 3).await, (vec![3, 2, 1], Freshness::Past));
    assert_eq!(page(3, 2).await, (vec![12, 11], Freshness::Changing), "nothing came later");
}

/// The newest comment of the store was held for review: its id is newer than its place.
#[tokio::test(start_paused = true)]
async fn a_known_place_decides_whether_the_store_has_it() {
    let (pages, _store) = pages_without_delay(Arc::default()).await;
    let [older, newest] = [2, 3].map(|seq| comment(seq).comment.comment_id);
    let has = async |id, at| pages.sources.has_archived(STREAM, id, at).await.unwrap();
    assert!(has(newest, Some(3)).await);
    assert!(!has(older, Some(9)).await, "it was approved at a place that is not stored");
    assert!(has(older, None).await);
}

/// The cache has the newest comments, and the store only the first three.
#[tokio::test(start_paused = true)]
async fn no_comment_is_skipped_while_the_archive_is_behind() {
    let recent = Arc::new(TestRecent::default());
    let (pages, store) = pages_without_delay(recent.clone()).await;
    let id = |seq| CommentId::from_unix_ticks(17_000_000_000_001_000 + seq, 1, [3; 6]);
    let event = |seq| {
        let comment = Comment { comment_id: id(seq), ..Comment::clone(&comment(seq).comment) };
        crate::daemon::engines::recent::RecentEvent::Comment(comment.sequenced(seq))
    };
    recent.append(STREAM, 6, 10, (6..=10).map(event).collect()).await.unwrap();
    let reads = store.reads.load(Ordering::SeqCst);
    assert_eq!(read(&pages, newest(3)).await.0, [10, 9, 8]);
    assert_eq!(store.reads.load(Ordering::SeqCst), reads, "the store is not asked");
    // 4 and 5 are in neither.
    let older = PageRequest { end: PageEnd::Before(id(8)), ..newest(3) };
    let error = pages.page(older).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_reply_that_was_just_deleted_does_not_count() {
    let metadata = Arc::new(InMemoryMetadata::default());
    metadata.put_stream(with_delay(None));
    let recent = Arc::new(TestRecent::default());
    let streams = Streams::load(metadata).await.unwrap();
    let (pages, store) = pages_over(streams, recent.clone()).await;
    let parent_id = comment(1).comment.comment_id;
    let reply = |number| {
        let plain = comment(number);
        let parent_id = Some(parent_id);
        let reply = Comment { parent_id, ..Comment::clone(&plain.comment) };
        ArchivedComment { comment: reply.into(), ..plain }
    };
    store.store.write_rows(&[reply(4), reply(5)], &[]).await.unwrap();
    let counted = async || {
        let request = RepliesRequest {
            stream_id: STREAM,
            parent_id,
            before: None,
            limit: 1,
            reader: None,
            is_staff: false,
        };
        let replies = serde_json::to_value(pages.replies(request).await.unwrap()).unwrap();
        assert_eq!(replies["count_is_exact"], true);
        replies["count"].clone()
    };
    assert_eq!(counted().await, 2);
    // Each read asks for one more. A delay may have ended before this node has started.
    let asked = 2 + replies::NEWEST_REPLIES + 1;
    assert_eq!(store.reads.load(Ordering::SeqCst), asked, "the page, and the newest");
    // The archiver has not written the deletion yet.
    recent.add_tombstone(STREAM, comment(5).comment.comment_id, 6).await.unwrap();
    assert_eq!(counted().await, 1);
}
