//! Engine contracts in memory, as far as the gateway uses them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::daemon::eventlog::{
    Bounds, EventLog, LogConsumer, LogError, NewRecord, Page, Position, StartAt, Topic,
};
use crate::daemon::registry::{ConnectionRegistry, NodeCommand, RegistrationId, RegistryError};
use crate::daemon::store::StoreError;
use crate::daemon::store::comments::{ArchivedComment, CommentStore, StoredComment, Tombstone};
use crate::daemon::store::metadata::{MetadataStore, NewAudit, UserRecord};
use crate::protocol::admin::{
    AuditEntry, ConnectionInfo, ConsumerLag, ReviewItem, Sanction, SanctionKind,
};
use crate::protocol::events::Decision;
use crate::protocol::stream::{ModerationMode, NewStream, Stream, StreamPatch, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, NodeId, SequencedComment, StreamId, UserId};

fn down<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("not part of these tests".to_owned()))
}

/// Streams, sanctions, names and audit entries.
#[derive(Debug, Default)]
pub(super) struct MemoryMetadata {
    pub(super) streams: Mutex<Vec<Stream>>,
    pub(super) sanctions: Mutex<Vec<Sanction>>,
    pub(super) users: Mutex<Vec<UserRecord>>,
    pub(super) audits: Mutex<Vec<NewAudit>>,
    pub(super) is_down: AtomicBool,
}

impl MemoryMetadata {
    fn check(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::SeqCst) { down() } else { Ok(()) }
    }
}

#[async_trait]
impl MetadataStore for MemoryMetadata {
    async fn create_stream(&self, new: NewStream, now_ms: u64) -> Result<Stream, StoreError> {
        self.check()?;
        let mut streams = self.streams.lock().unwrap();
        let next = streams.iter().map(|stream| stream.stream_id.0).max().unwrap_or(0) + 1;
        let stream_id = new.stream_id.unwrap_or(StreamId(next));
        if streams.iter().any(|stream| stream.stream_id == stream_id) {
            return Err(StoreError::Exists("stream"));
        }
        let stream = Stream {
            stream_id,
            title: new.title,
            state: new.state,
            anonymous: new.anonymous,
            moderation: new.moderation,
            created_at: now_ms,
            ended_at: None,
        };
        streams.push(stream.clone());
        Ok(stream)
    }

    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        _now_ms: u64,
    ) -> Result<Stream, StoreError> {
        self.check()?;
        let mut streams = self.streams.lock().unwrap();
        let stream = streams
            .iter_mut()
            .find(|stream| stream.stream_id == stream_id)
            .ok_or(StoreError::NotFound("stream"))?;
        stream.title = patch.title.unwrap_or_else(|| stream.title.clone());
        stream.state = patch.state.unwrap_or(stream.state);
        Ok(stream.clone())
    }

    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError> {
        let streams = self.streams.lock().unwrap();
        Ok(streams.iter().find(|stream| stream.stream_id == stream_id).cloned())
    }

    async fn streams(&self) -> Result<Vec<Stream>, StoreError> {
        Ok(self.streams.lock().unwrap().clone())
    }

    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, SampleRate)>, StoreError> {
        down()
    }

    async fn set_throttle_override(
        &self,
        _stream_id: StreamId,
        _rate: Option<SampleRate>,
        _audit: NewAudit,
    ) -> Result<u64, StoreError> {
        down()
    }

    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError> {
        self.check()?;
        self.users.lock().unwrap().extend_from_slice(users);
        Ok(())
    }

    async fn user(&self, _user_id: UserId) -> Result<Option<UserRecord>, StoreError> {
        down()
    }

    async fn users_named(&self, _name: &str) -> Result<Vec<UserRecord>, StoreError> {
        down()
    }

    async fn sanction(&self, sanction: Sanction, _audit: NewAudit) -> Result<u64, StoreError> {
        self.sanctions.lock().unwrap().push(sanction);
        Ok(1)
    }

    async fn lift(
        &self,
        _user_id: UserId,
        _kinds: &[SanctionKind],
        _audit: NewAudit,
    ) -> Result<u64, StoreError> {
        down()
    }

    async fn sanctions(&self, _now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
        Ok(self.sanctions.lock().unwrap().clone())
    }

    async fn queue_review(&self, _item: ReviewItem) -> Result<(), StoreError> {
        down()
    }

    async fn review_queue(&self, _limit: usize) -> Result<Vec<ReviewItem>, StoreError> {
        down()
    }

    async fn review_count(&self) -> Result<u64, StoreError> {
        down()
    }

    async fn decide_review(
        &self,
        _comment_id: CommentId,
        _decision: Decision,
        _audit: NewAudit,
    ) -> Result<(u64, ReviewItem), StoreError> {
        down()
    }

    async fn reopen_review(&self, _: CommentId, _: NewAudit) -> Result<u64, StoreError> {
        down()
    }

    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError> {
        self.audits.lock().unwrap().push(audit);
        Ok(1)
    }

    async fn audit_log(&self, _limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        down()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.check()
    }
}

/// Comments of stream 1, newest first.
#[derive(Debug, Default)]
pub(super) struct MemoryComments {
    pub(super) newest_first: Mutex<Vec<SequencedComment>>,
    pub(super) is_down: AtomicBool,
}

#[async_trait]
impl CommentStore for MemoryComments {
    async fn write(
        &self,
        _comments: &[ArchivedComment],
        _tombstones: &[Tombstone],
    ) -> Result<(), StoreError> {
        down()
    }

    async fn page(
        &self,
        _stream_id: StreamId,
        before: Option<CommentId>,
        limit: usize,
    ) -> Result<Vec<SequencedComment>, StoreError> {
        assert!((1..=1000).contains(&limit), "the contract's bounds");
        if self.is_down.load(Ordering::SeqCst) {
            return down();
        }
        let comments = self.newest_first.lock().unwrap();
        let older = |comment: &&SequencedComment| {
            before.is_none_or(|before| comment.comment_id.sort_key() < before.sort_key())
        };
        Ok(comments.iter().filter(older).take(limit).cloned().collect())
    }

    async fn get(&self, _comment_id: CommentId) -> Result<Option<StoredComment>, StoreError> {
        down()
    }

    async fn tombstones_since(
        &self,
        _since_ms: u64,
        _limit: usize,
    ) -> Result<Vec<Tombstone>, StoreError> {
        down()
    }

    async fn count(&self, _stream_id: StreamId) -> Result<u64, StoreError> {
        down()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// One node's registry; counts what it holds.
#[derive(Debug, Default)]
pub(super) struct MemoryRegistry {
    pub(super) held: Mutex<Vec<(RegistrationId, UserId, ConnectionInfo)>>,
    pub(super) commands: Mutex<Vec<(NodeId, NodeCommand)>>,
    pub(super) is_down: AtomicBool,
    next: AtomicU64,
}

impl MemoryRegistry {
    fn check(&self) -> Result<(), RegistryError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(RegistryError::Unavailable("down".to_owned())),
            false => Ok(()),
        }
    }

    pub(super) fn held_by(&self, user_id: u64) -> usize {
        self.held.lock().unwrap().iter().filter(|(_, user, _)| user.0 == user_id).count()
    }
}

#[async_trait]
impl ConnectionRegistry for MemoryRegistry {
    async fn register(
        &self,
        user_id: UserId,
        connection: ConnectionInfo,
        limit: u32,
    ) -> Result<RegistrationId, RegistryError> {
        self.check()?;
        if limit > 0 && self.held_by(user_id.0) >= limit as usize {
            return Err(RegistryError::TooManyConnections(limit));
        }
        let id = RegistrationId(self.next.fetch_add(1, Ordering::SeqCst));
        self.held.lock().unwrap().push((id, user_id, connection));
        Ok(id)
    }

    async fn unregister(&self, user_id: UserId, id: RegistrationId) -> Result<(), RegistryError> {
        self.check()?;
        self.held.lock().unwrap().retain(|(held, user, _)| (*held, *user) != (id, user_id));
        Ok(())
    }

    async fn locate(&self, _user_id: UserId) -> Result<Vec<ConnectionInfo>, RegistryError> {
        Ok(Vec::new())
    }

    async fn report_viewers(
        &self,
        _node: &NodeId,
        _viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        Ok(Vec::new())
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, RegistryError> {
        Ok(vec![NodeId::new("one"), NodeId::new("two")])
    }

    async fn command(&self, node: &NodeId, command: NodeCommand) -> Result<u64, RegistryError> {
        self.commands.lock().unwrap().push((node.clone(), command));
        Ok(0)
    }
}

/// A log that only says how far its consumers are behind.
#[derive(Debug, Default)]
pub(super) struct LagOnlyLog;

#[async_trait]
impl EventLog for LagOnlyLog {
    fn append(
        &self,
        _topic: Topic,
        _batch: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Vec<Position>, LogError>> {
        Box::pin(async { Err(LogError::Closed) })
    }

    async fn consume(
        &self,
        _topic: Topic,
        _group: &str,
        _start: StartAt,
    ) -> Result<Box<dyn LogConsumer>, LogError> {
        Err(LogError::Closed)
    }

    async fn read(
        &self,
        _topic: Topic,
        _key: u64,
        _offset: u64,
        _max_records: usize,
    ) -> Result<Page, LogError> {
        Err(LogError::Closed)
    }

    async fn read_partition(
        &self,
        _topic: Topic,
        _partition: u32,
        _offset: u64,
        _max_records: usize,
    ) -> Result<Page, LogError> {
        Err(LogError::Closed)
    }

    fn partition_of(&self, _topic: Topic, _key: u64) -> u32 {
        0
    }

    fn partitions(&self, _topic: Topic) -> u32 {
        1
    }

    async fn bounds(&self, _topic: Topic, _partition: u32) -> Result<Bounds, LogError> {
        Err(LogError::Closed)
    }

    async fn committed(&self, _topic: Topic, _group: &str) -> Result<Vec<Position>, LogError> {
        Err(LogError::Closed)
    }

    async fn lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let (group, topic) = ("archive".to_owned(), "comment_events".to_owned());
        Ok(vec![ConsumerLag { group, topic, partition: 0, position: 5, end: 12, lag: 7 }])
    }

    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    async fn close(&self) -> Result<(), LogError> {
        Ok(())
    }
}

/// A stream with the usual settings.
pub(super) fn stream(id: u64, state: StreamState, anonymous: bool) -> Stream {
    Stream {
        stream_id: StreamId(id),
        title: format!("stream {id}"),
        state,
        anonymous,
        moderation: ModerationMode::Async,
        created_at: 0,
        ended_at: None,
    }
}
