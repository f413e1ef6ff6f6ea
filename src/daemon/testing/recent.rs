//! The one double of the recent cache: the memory engine behind switches.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::daemon::base::config::StoreConfig;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::recent::memory::MemoryRecent;
use crate::daemon::engines::recent::{
    DeletionState, EarlierPlaces, RecentCache, RecentEvent, RecentPage,
};
use crate::protocol::{CommentId, Seq, StreamId};

/// Called with the range of every append and the number of its events.
type AppendObserver = Box<dyn Fn(RangeInclusive<Seq>, usize) + Send + Sync>;

/// Keeps what it is given like [`MemoryRecent`]. A test can take it down, let it lose tombstones,
/// hold its pages back, and see the calls.
pub(crate) struct TestRecent {
    cache: MemoryRecent,
    down: AtomicBool,
    down_stream: Mutex<Option<StreamId>>,
    incomplete: AtomicBool,
    tombstones: Mutex<Vec<CommentId>>,
    earlier: Mutex<Option<EarlierPlaces>>,
    observer: OnceLock<AppendObserver>,
    held: AtomicBool,
    page_requests: Semaphore,
    deletion_wait: Mutex<Duration>,
    head_requests: AtomicUsize,
    page_reads: AtomicUsize,
    released_pages: Semaphore,
}

impl Default for TestRecent {
    fn default() -> Self {
        Self {
            cache: MemoryRecent::new(&StoreConfig::default()),
            down: AtomicBool::new(false),
            down_stream: Mutex::default(),
            incomplete: AtomicBool::new(false),
            tombstones: Mutex::default(),
            earlier: Mutex::default(),
            observer: OnceLock::new(),
            held: AtomicBool::new(false),
            page_requests: Semaphore::new(0),
            deletion_wait: Mutex::default(),
            head_requests: AtomicUsize::new(0),
            page_reads: AtomicUsize::new(0),
            released_pages: Semaphore::new(0),
        }
    }
}

impl fmt::Debug for TestRecent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRecent").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl TestRecent {
    /// Calls `observer` before each append, in the order of the appends.
    pub(crate) fn observed(
        observer: impl Fn(RangeInclusive<Seq>, usize) + Send + Sync + 'static,
    ) -> Self {
        Self { observer: OnceLock::from(Box::new(observer) as AppendObserver), ..Self::default() }
    }

    /// A cache whose pages wait until the test releases them.
    pub(crate) fn with_held_pages() -> Self {
        Self { held: AtomicBool::new(true), ..Self::default() }
    }

    /// Calls of `after` so far.
    pub(crate) fn page_reads(&self) -> usize {
        self.page_reads.load(Ordering::SeqCst)
    }

    /// While down, every call fails.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Every call of `deletion_states` takes this long.
    pub(crate) fn set_deletion_wait(&self, wait: Duration) {
        *self.deletion_wait.lock() = wait;
    }

    /// Calls about this one stream fail.
    pub(crate) fn set_down_for(&self, stream_id: Option<StreamId>) {
        *self.down_stream.lock() = stream_id;
    }

    /// Sets the places of comments in an earlier epoch, of every stream.
    pub(crate) fn set_earlier(&self, places: EarlierPlaces) {
        *self.earlier.lock() = Some(places);
    }

    /// While incomplete, the cache hands out no pages.
    pub(crate) fn set_incomplete(&self, incomplete: bool) {
        self.incomplete.store(incomplete, Ordering::SeqCst);
    }

    pub(crate) fn is_marked_complete(&self) -> bool {
        !self.incomplete.load(Ordering::SeqCst)
    }

    /// Returns the tombstones added since the last call, each once, oldest comment first.
    pub(crate) fn take_tombstones(&self) -> Vec<CommentId> {
        let mut tombstones = std::mem::take(&mut *self.tombstones.lock());
        tombstones.sort_by_key(|id| id.sort_key());
        tombstones.dedup();
        tombstones
    }

    /// Waits until one more page was requested of a cache with held pages.
    pub(crate) async fn page_requested(&self) {
        self.page_requests.acquire().await.expect("never closed").forget();
    }

    /// Lets this many pages of a cache with held pages be answered.
    pub(crate) fn release_pages(&self, pages: usize) {
        self.released_pages.add_permits(pages);
    }

    /// Returns how often the end of a stream was asked for.
    pub(crate) fn head_requests(&self) -> usize {
        self.head_requests.load(Ordering::SeqCst)
    }

    fn check(&self, stream_id: Option<StreamId>) -> Result<(), StoreError> {
        let stream_is_down = stream_id.is_some() && *self.down_stream.lock() == stream_id;
        if stream_is_down || self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("switched off by the test".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl RecentCache for TestRecent {
    async fn append(
        &self,
        stream_id: StreamId,
        from_seq: Seq,
        to_seq: Seq,
        events: Vec<RecentEvent>,
    ) -> Result<(), StoreError> {
        self.check(Some(stream_id))?;
        if let Some(observer) = self.observer.get() {
            observer(from_seq..=to_seq, events.len());
        }
        self.cache.append(stream_id, from_seq, to_seq, events).await
    }

    async fn after(
        &self,
        stream_id: StreamId,
        seq: Seq,
        limit: usize,
    ) -> Result<Option<RecentPage>, StoreError> {
        self.page_reads.fetch_add(1, Ordering::SeqCst);
        // Read when it is requested, like a store whose answer is on its way.
        let page = self.cache.after(stream_id, seq, limit).await;
        if self.held.load(Ordering::SeqCst) {
            self.page_requests.add_permits(1);
            self.released_pages.acquire().await.expect("never closed").forget();
        }
        self.check(Some(stream_id))?;
        if self.incomplete.load(Ordering::SeqCst) {
            return Err(StoreError::Incomplete("tombstones lost by the test".to_owned()));
        }
        page
    }

    async fn head(&self, stream_id: StreamId) -> Result<Option<Seq>, StoreError> {
        self.head_requests.fetch_add(1, Ordering::SeqCst);
        self.check(Some(stream_id))?;
        self.cache.head(stream_id).await
    }

    async fn earlier(&self, stream_id: StreamId) -> Result<Option<EarlierPlaces>, StoreError> {
        self.check(Some(stream_id))?;
        Ok(self.earlier.lock().clone())
    }

    async fn add_tombstone(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        // Other tasks run first, as they do while an answer crosses a network.
        tokio::task::yield_now().await;
        self.check(Some(stream_id))?;
        self.tombstones.lock().push(comment_id);
        self.cache.add_tombstone(stream_id, comment_id, seq).await
    }

    async fn hide_from_others(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.check(Some(stream_id))?;
        self.tombstones.lock().push(comment_id);
        self.cache.hide_from_others(stream_id, comment_id, seq).await
    }

    async fn restore_comment(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        self.check(Some(stream_id))?;
        self.cache.restore_comment(stream_id, comment_id, seq).await
    }

    async fn deletion_states(
        &self,
        stream_id: StreamId,
        comment_ids: &[CommentId],
    ) -> Result<Vec<DeletionState>, StoreError> {
        let wait = *self.deletion_wait.lock();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.check(Some(stream_id))?;
        self.cache.deletion_states(stream_id, comment_ids).await
    }

    async fn is_complete(&self) -> Result<bool, StoreError> {
        self.check(None)?;
        Ok(self.is_marked_complete())
    }

    async fn mark_complete(&self) -> Result<(), StoreError> {
        self.check(None)?;
        self.set_incomplete(false);
        Ok(())
    }

    async fn mark_incomplete(&self) -> Result<(), StoreError> {
        self.check(None)?;
        self.set_incomplete(true);
        Ok(())
    }
}
