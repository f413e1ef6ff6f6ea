//! A metadata store in memory, for tests of what reads it: streams, sanctions and the review queue.
//! What those tests never ask for is answered as unavailable.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::daemon::store::StoreError;
use crate::daemon::store::metadata::{MetadataStore, NewAudit, UserRecord};
use crate::protocol::admin::{AuditEntry, ReviewItem, Sanction, SanctionKind};
use crate::protocol::events::Decision;
use crate::protocol::stream::{ModerationMode, NewStream, Stream, StreamPatch, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, StreamId, UserId};

/// The fake. While it is down, every call fails.
#[derive(Debug, Default)]
pub(crate) struct FakeMetadataStore {
    down: AtomicBool,
    calls: AtomicU32,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    streams: Vec<Stream>,
    sanctions: Vec<Sanction>,
    reviews: Vec<ReviewItem>,
}

impl FakeMetadataStore {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Calls so far, failed ones included.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn put_stream(&self, stream: Stream) {
        let mut rows = self.rows.lock().unwrap();
        rows.streams.retain(|other| other.stream_id != stream.stream_id);
        rows.streams.push(stream);
        rows.streams.sort_by_key(|stream| stream.stream_id);
    }

    pub(crate) fn put_sanction(&self, sanction: Sanction) {
        self.rows.lock().unwrap().sanctions.push(sanction);
    }

    pub(crate) fn reviews(&self) -> Vec<ReviewItem> {
        self.rows.lock().unwrap().reviews.clone()
    }

    fn rows(&self) -> Result<MutexGuard<'_, Rows>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.down.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("it is down for the test".into())),
            false => Ok(self.rows.lock().unwrap()),
        }
    }
}

/// A live stream.
pub(crate) fn stream(id: u64, moderation: ModerationMode) -> Stream {
    Stream {
        stream_id: StreamId(id),
        title: String::new(),
        state: StreamState::Live,
        anonymous: true,
        moderation,
        created_at: 0,
        ended_at: None,
    }
}

pub(crate) fn sanction(user: u64, kind: SanctionKind, expires_at: Option<u64>) -> Sanction {
    Sanction {
        user_id: UserId(user),
        kind,
        name: None,
        reason: Some("test reason".into()),
        created_by: "test".into(),
        created_at: 1,
        expires_at,
    }
}

fn not_kept<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("this fake does not keep that".into()))
}

#[async_trait]
impl MetadataStore for FakeMetadataStore {
    async fn create_stream(&self, _: NewStream, _: u64) -> Result<Stream, StoreError> {
        not_kept()
    }

    async fn update_stream(
        &self,
        _: StreamId,
        _: StreamPatch,
        _: u64,
    ) -> Result<Stream, StoreError> {
        not_kept()
    }

    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError> {
        let rows = self.rows()?;
        Ok(rows.streams.iter().find(|stream| stream.stream_id == stream_id).cloned())
    }

    async fn streams(&self) -> Result<Vec<Stream>, StoreError> {
        Ok(self.rows()?.streams.clone())
    }

    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, SampleRate)>, StoreError> {
        not_kept()
    }

    async fn set_throttle_override(
        &self,
        _: StreamId,
        _: Option<SampleRate>,
        _: NewAudit,
    ) -> Result<u64, StoreError> {
        not_kept()
    }

    async fn remember_users(&self, _: &[UserRecord]) -> Result<(), StoreError> {
        not_kept()
    }

    async fn user(&self, _: UserId) -> Result<Option<UserRecord>, StoreError> {
        not_kept()
    }

    async fn users_named(&self, _: &str) -> Result<Vec<UserRecord>, StoreError> {
        not_kept()
    }

    async fn sanction(&self, _: Sanction, _: NewAudit) -> Result<u64, StoreError> {
        not_kept()
    }

    async fn lift(&self, _: UserId, _: &[SanctionKind], _: NewAudit) -> Result<u64, StoreError> {
        not_kept()
    }

    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
        let in_force = |s: &&Sanction| s.expires_at.is_none_or(|end| end > now_ms);
        Ok(self.rows()?.sanctions.iter().filter(in_force).cloned().collect())
    }

    async fn queue_review(&self, item: ReviewItem) -> Result<(), StoreError> {
        let mut rows = self.rows()?;
        if rows.reviews.iter().all(|other| other.comment_id != item.comment_id) {
            rows.reviews.push(item);
        }
        Ok(())
    }

    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError> {
        Ok(self.rows()?.reviews.iter().take(limit).cloned().collect())
    }

    async fn review_count(&self) -> Result<u64, StoreError> {
        Ok(self.rows()?.reviews.len() as u64)
    }

    async fn decide_review(
        &self,
        _: CommentId,
        _: Decision,
        _: NewAudit,
    ) -> Result<(u64, ReviewItem), StoreError> {
        not_kept()
    }

    async fn reopen_review(&self, _: CommentId, _: NewAudit) -> Result<u64, StoreError> {
        not_kept()
    }

    async fn audit(&self, _: NewAudit) -> Result<u64, StoreError> {
        not_kept()
    }

    async fn audit_log(&self, _: usize) -> Result<Vec<AuditEntry>, StoreError> {
        not_kept()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.rows().map(|_| ())
    }
}
