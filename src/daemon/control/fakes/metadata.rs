//! The metadata store in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use super::{Journal, STARTED_MS, Switch};
use crate::daemon::store::StoreError;
use crate::daemon::store::metadata::{MetadataStore, NewAudit, UserRecord};
use crate::protocol::admin::{AuditEntry, ReviewItem, Sanction, SanctionKind};
use crate::protocol::events::Decision;
use crate::protocol::stream::{NewStream, Stream, StreamPatch, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, StreamId, UserId};

#[derive(Debug)]
pub(crate) struct FakeMetadata {
    state: Mutex<State>,
    journal: Journal,
    pub(crate) down: Switch,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<StreamId, Stream>,
    overrides: BTreeMap<StreamId, SampleRate>,
    users: Vec<UserRecord>,
    sanctions: Vec<Sanction>,
    queue: Vec<ReviewItem>,
    decided: Vec<ReviewItem>,
    audit: Vec<AuditEntry>,
}

impl State {
    fn record(&mut self, new: NewAudit) -> u64 {
        let audit_id = self.audit.len() as u64 + 1;
        let NewAudit { at, actor, action, target, detail } = new;
        let action = action.to_owned();
        self.audit.push(AuditEntry { audit_id, at, actor, action, target, detail });
        audit_id
    }
}

impl FakeMetadata {
    pub(crate) fn new(journal: Journal) -> Self {
        let stream = Stream {
            stream_id: StreamId(1),
            title: "one".to_owned(),
            state: StreamState::Live,
            anonymous: true,
            moderation: Default::default(),
            created_at: STARTED_MS,
            ended_at: None,
        };
        let user = |id, name: &str| UserRecord {
            user_id: UserId(id),
            name: name.into(),
            seen_at: STARTED_MS,
        };
        let state = State {
            streams: BTreeMap::from([(stream.stream_id, stream)]),
            users: vec![user(42, "ann"), user(7, "twin"), user(8, "twin")],
            ..State::default()
        };
        Self { state: Mutex::new(state), journal, down: Switch::default() }
    }

    pub(crate) fn dump(&self) -> String {
        format!("{:?}", self.state.lock().unwrap())
    }

    pub(crate) fn audits(&self) -> Vec<AuditEntry> {
        self.state.lock().unwrap().audit.clone()
    }

    fn locked(&self) -> Result<std::sync::MutexGuard<'_, State>, StoreError> {
        if self.down.is_on() {
            return Err(StoreError::Unavailable("switched off".to_owned()));
        }
        Ok(self.state.lock().unwrap())
    }
}

#[async_trait]
impl MetadataStore for FakeMetadata {
    async fn create_stream(&self, new: NewStream, now_ms: u64) -> Result<Stream, StoreError> {
        let mut state = self.locked()?;
        let next = state.streams.keys().max().map_or(1, |id| id.0 + 1);
        let stream_id = new.stream_id.unwrap_or(StreamId(next));
        if state.streams.contains_key(&stream_id) {
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
        state.streams.insert(stream_id, stream.clone());
        Ok(stream)
    }

    async fn update_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        now_ms: u64,
    ) -> Result<Stream, StoreError> {
        let mut state = self.locked()?;
        let stream = state.streams.get_mut(&stream_id).ok_or(StoreError::NotFound("stream"))?;
        stream.title = patch.title.unwrap_or(std::mem::take(&mut stream.title));
        stream.state = patch.state.unwrap_or(stream.state);
        stream.anonymous = patch.anonymous.unwrap_or(stream.anonymous);
        stream.moderation = patch.moderation.unwrap_or(stream.moderation);
        stream.ended_at = (stream.state == StreamState::Ended).then_some(now_ms);
        Ok(stream.clone())
    }

    async fn stream(&self, stream_id: StreamId) -> Result<Option<Stream>, StoreError> {
        Ok(self.locked()?.streams.get(&stream_id).cloned())
    }

    async fn streams(&self) -> Result<Vec<Stream>, StoreError> {
        self.journal.note("a: streams read");
        Ok(self.locked()?.streams.values().cloned().collect())
    }

    async fn throttle_overrides(&self) -> Result<Vec<(StreamId, SampleRate)>, StoreError> {
        Ok(self.locked()?.overrides.iter().map(|(id, rate)| (*id, *rate)).collect())
    }

    async fn set_throttle_override(
        &self,
        stream_id: StreamId,
        rate: Option<SampleRate>,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut state = self.locked()?;
        match rate {
            Some(rate) => state.overrides.insert(stream_id, rate),
            None => state.overrides.remove(&stream_id),
        };
        Ok(state.record(audit))
    }

    async fn remember_users(&self, users: &[UserRecord]) -> Result<(), StoreError> {
        self.locked()?.users.extend_from_slice(users);
        Ok(())
    }

    async fn user(&self, user_id: UserId) -> Result<Option<UserRecord>, StoreError> {
        Ok(self.locked()?.users.iter().find(|user| user.user_id == user_id).cloned())
    }

    async fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError> {
        Ok(self.locked()?.users.iter().filter(|user| &*user.name == name).cloned().collect())
    }

    async fn sanction(&self, sanction: Sanction, audit: NewAudit) -> Result<u64, StoreError> {
        let mut state = self.locked()?;
        self.journal.note(format!("{} stored", sanction.kind.as_str()));
        state.sanctions.retain(|s| (s.user_id, s.kind) != (sanction.user_id, sanction.kind));
        state.sanctions.push(sanction);
        Ok(state.record(audit))
    }

    async fn lift(
        &self,
        user_id: UserId,
        kinds: &[SanctionKind],
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut state = self.locked()?;
        let before = state.sanctions.len();
        state.sanctions.retain(|s| s.user_id != user_id || !kinds.contains(&s.kind));
        if state.sanctions.len() == before {
            return Err(StoreError::NotFound("sanction"));
        }
        Ok(state.record(audit))
    }

    async fn sanctions(&self, now_ms: u64) -> Result<Vec<Sanction>, StoreError> {
        let state = self.locked()?;
        self.journal.note("a: sanctions read");
        let in_force = state.sanctions.iter().rev();
        Ok(in_force.filter(|s| s.expires_at.is_none_or(|end| end > now_ms)).cloned().collect())
    }

    async fn queue_review(&self, item: ReviewItem) -> Result<(), StoreError> {
        let mut state = self.locked()?;
        let known = |other: &ReviewItem| other.comment_id == item.comment_id;
        if !state.queue.iter().chain(&state.decided).any(known) {
            state.queue.push(item);
        }
        Ok(())
    }

    async fn review_queue(&self, limit: usize) -> Result<Vec<ReviewItem>, StoreError> {
        Ok(self.locked()?.queue.iter().take(limit).cloned().collect())
    }

    async fn review_count(&self) -> Result<u64, StoreError> {
        Ok(self.locked()?.queue.len() as u64)
    }

    async fn decide_review(
        &self,
        comment_id: CommentId,
        _decision: Decision,
        audit: NewAudit,
    ) -> Result<(u64, ReviewItem), StoreError> {
        let mut state = self.locked()?;
        let place = state.queue.iter().position(|item| item.comment_id == comment_id);
        let item = state.queue.remove(place.ok_or(StoreError::NotFound("review item"))?);
        state.decided.push(item.clone());
        Ok((state.record(audit), item))
    }

    async fn reopen_review(
        &self,
        comment_id: CommentId,
        audit: NewAudit,
    ) -> Result<u64, StoreError> {
        let mut state = self.locked()?;
        let place = state.decided.iter().position(|item| item.comment_id == comment_id);
        let item = state.decided.remove(place.ok_or(StoreError::NotFound("review item"))?);
        state.queue.push(item);
        Ok(state.record(audit))
    }

    async fn audit(&self, audit: NewAudit) -> Result<u64, StoreError> {
        Ok(self.locked()?.record(audit))
    }

    async fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.locked()?.audit.iter().rev().take(limit).cloned().collect())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.locked().map(drop)
    }
}
