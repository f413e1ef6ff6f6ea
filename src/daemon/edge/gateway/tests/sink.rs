//! A sink that records the viewers it receives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::daemon::base::handoff::{
    Bearer, ConnectionId, DirectMessage, IssuerKeyId, NewViewer, Permit, ViewerSink,
};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, ErrorCode, ServerMessage, StreamId, UserId, UserScope};

pub(super) type AuthOutcome = Result<(Bearer, Box<dyn Permit>), ErrorBody>;

/// The `ref` of a change of a room, and its outcome.
pub(super) type RoomAnswer = (Option<Arc<str>>, Result<ServerMessage, ErrorBody>);

pub(super) struct RecordingSink {
    attached: mpsc::UnboundedSender<NewViewer>,
    authenticated: mpsc::UnboundedSender<(ConnectionId, AuthOutcome)>,
    pub(super) disconnected: Mutex<Vec<(UserScope, CloseCode)>>,
    /// The withdrawn keys whose connections were to be closed.
    pub(super) closed_keys: Mutex<Vec<IssuerKeyId>>,
    pub(super) probed: Mutex<Vec<UserId>>,
    /// The streams that it says have viewers.
    pub(super) watched: Mutex<Vec<StreamId>>,
    /// The streams closed, with the error and whether only for viewers without a token.
    pub(super) closed_streams: Mutex<Vec<(StreamId, ErrorCode, bool)>>,
    /// The answers to changes of rooms, in order.
    pub(super) room_answers: Mutex<Vec<RoomAnswer>>,
    /// Called while a viewer is attached, to simulate concurrent events.
    pub(super) during_attach: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

pub(super) struct RecordedViewers {
    pub(super) attached: mpsc::UnboundedReceiver<NewViewer>,
    pub(super) authenticated: mpsc::UnboundedReceiver<(ConnectionId, AuthOutcome)>,
}

pub(super) fn recording_sink() -> (Arc<RecordingSink>, RecordedViewers) {
    let (attached, attached_end) = mpsc::unbounded_channel();
    let (authenticated, authenticated_end) = mpsc::unbounded_channel();
    let sink = RecordingSink {
        attached,
        authenticated,
        disconnected: Mutex::default(),
        closed_keys: Mutex::default(),
        probed: Mutex::default(),
        watched: Mutex::default(),
        closed_streams: Mutex::default(),
        room_answers: Mutex::default(),
        during_attach: Mutex::default(),
    };
    (Arc::new(sink), RecordedViewers { attached: attached_end, authenticated: authenticated_end })
}

impl std::fmt::Debug for RecordingSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordingSink")
    }
}

impl ViewerSink for RecordingSink {
    fn attach(&self, viewer: NewViewer) {
        if let Some(event) = self.during_attach.lock().take() {
            event();
        }
        let _ = self.attached.send(viewer);
    }

    fn authenticated(&self, connection: ConnectionId, outcome: AuthOutcome) {
        let _ = self.authenticated.send((connection, outcome));
    }

    fn room_changed(
        &self,
        _connection: ConnectionId,
        client_ref: Option<Arc<str>>,
        outcome: Result<ServerMessage, ErrorBody>,
    ) {
        self.room_answers.lock().push((client_ref, outcome));
    }

    fn disconnect_user(
        &self,
        who: UserScope,
        code: CloseCode,
        _error: Option<ErrorBody>,
    ) -> BoxFuture<'static, u64> {
        self.disconnected.lock().push((who, code));
        Box::pin(async { 1 })
    }

    fn close_signed_by(&self, keys: Arc<[IssuerKeyId]>) -> BoxFuture<'static, u64> {
        self.closed_keys.lock().extend_from_slice(&keys);
        Box::pin(async { 1 })
    }

    fn probe_user(&self, user_id: UserId) -> BoxFuture<'static, u64> {
        self.probed.lock().push(user_id);
        Box::pin(async { 1 })
    }

    fn close_stream(
        &self,
        stream_id: StreamId,
        error: ErrorBody,
        anonymous_only: bool,
    ) -> BoxFuture<'static, u64> {
        self.closed_streams.lock().push((stream_id, error.code, anonymous_only));
        Box::pin(async { 1 })
    }

    fn watched_streams(&self) -> Vec<StreamId> {
        self.watched.lock().clone()
    }

    fn direct(&self, _user_id: UserId, _message: DirectMessage) -> BoxFuture<'static, u64> {
        Box::pin(async { 0 })
    }

    fn dismiss_all(&self, _code: CloseCode, _jitter: Duration) -> BoxFuture<'static, u64> {
        Box::pin(async { 0 })
    }

    fn connections(&self) -> u64 {
        0
    }
}
