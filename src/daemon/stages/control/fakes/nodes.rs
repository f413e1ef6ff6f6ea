//! This node's viewers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Journal;
use crate::daemon::base::handoff::{
    Bearer, ConnectionId, DirectMessage, IssuerKeyId, NewViewer, Permit, ViewerSink,
};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, ServerMessage, StreamId, UserId, UserScope};

/// Two connections of whatever user is asked for, three altogether.
#[derive(Debug)]
pub(crate) struct FakeSink {
    journal: Journal,
}

impl FakeSink {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }
}

impl ViewerSink for FakeSink {
    fn attach(&self, _viewer: NewViewer) {}

    fn authenticated(
        &self,
        _connection: ConnectionId,
        _outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    ) {
    }

    fn room_changed(
        &self,
        _: ConnectionId,
        _: Option<Arc<str>>,
        _: Result<ServerMessage, ErrorBody>,
    ) {
    }

    fn disconnect_user(
        &self,
        who: UserScope,
        code: CloseCode,
        error: Option<ErrorBody>,
    ) -> BoxFuture<'static, u64> {
        let why = error.map(|error| format!(" ({})", error.message));
        let code = code.as_str();
        let UserScope { user_id, stream_id } = who;
        let place = stream_id.map(|stream_id| format!(" of {stream_id}")).unwrap_or_default();
        let why = why.unwrap_or_default();
        self.journal.note(format!("a: disconnect {user_id}{place} {code}{why}"));
        async { 2 }.boxed()
    }

    fn close_signed_by(&self, keys: Arc<[IssuerKeyId]>) -> BoxFuture<'static, u64> {
        self.journal.note(format!("a: close {} keys", keys.len()));
        async { 1 }.boxed()
    }

    fn probe_user(&self, user_id: UserId) -> BoxFuture<'static, u64> {
        self.journal.note(format!("a: probe {user_id}"));
        async { 2 }.boxed()
    }

    fn close_stream(
        &self,
        stream_id: StreamId,
        error: ErrorBody,
        anonymous_only: bool,
    ) -> BoxFuture<'static, u64> {
        let whom = if anonymous_only { "anonymous" } else { "all" };
        self.journal.note(format!("a: close {whom} of {stream_id}: {}", error.code));
        async { 1 }.boxed()
    }

    fn watched_streams(&self) -> Vec<StreamId> {
        vec![StreamId(1)]
    }

    fn direct(&self, user_id: UserId, message: DirectMessage) -> BoxFuture<'static, u64> {
        let DirectMessage { from, message, .. } = message;
        self.journal.note(format!("a: direct {user_id} {from}: {message}"));
        async { 2 }.boxed()
    }

    fn dismiss_all(&self, code: CloseCode, jitter: Duration) -> BoxFuture<'static, u64> {
        self.journal.note(format!("a: dismiss all {} {jitter:?}", code.as_str()));
        async { 3 }.boxed()
    }

    fn connections(&self) -> u64 {
        3
    }
}
