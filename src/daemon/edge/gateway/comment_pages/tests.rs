//! Tests with a store that counts its reads and answers when it is released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::daemon::base::clock::SystemClock;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::comments::{
    ArchiveBatch, ArchivedComment, CommentKey, CommentStore, StorePositions, StoredComment,
    Tombstone,
};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::{Comment, Epoch, SequencedComment, UserId};

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
    let store = InMemoryComments::default();
    store.write_rows(&(1..=3).map(comment).collect::<Vec<_>>(), &[]).await.unwrap();
    let counting = Arc::new(CountingStore {
        store,
        reads: AtomicUsize::new(0),
        answers: Semaphore::new(0),
        is_down: AtomicBool::new(false),
    });
    (Arc::new(CommentPages::new(counting.clone(), Arc::new(SystemClock))), counting)
}

fn newest(limit: usize) -> PageRequest {
    PageRequest { stream_id: STREAM, before: None, limit, reader: None, delay_ms: None }
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

#[tokio::test]
async fn a_delayed_comment_is_on_no_page_but_its_authors() {
    let (pages, store) = pages().await;
    store.answers.add_permits(8);
    let seqs = async |delay_ms, reader| {
        let request = PageRequest { delay_ms, reader, ..newest(10) };
        let bytes = pages.page(request).await.unwrap();
        let page: HistoryPage = serde_json::from_slice(&bytes).unwrap();
        page.comments.len()
    };
    assert!(seqs(None, None).await > 0);
    // The comments are of 1970.
    let longer_than_since_then = Some(u64::MAX / 2);
    assert_eq!(seqs(Some(1_000), None).await, seqs(None, None).await);
    assert_eq!(seqs(longer_than_since_then, None).await, 0);
    assert!(seqs(longer_than_since_then, Some(UserId(1))).await > 0);
}
