//! A sink that records the viewers it receives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::daemon::base::handoff::{Bearer, ConnectionId, NewViewer, Permit, ViewerSink};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, UserId};

pub(super) type AuthOutcome = Result<(Bearer, Box<dyn Permit>), ErrorBody>;

pub(super) struct RecordingSink {
    attached: mpsc::UnboundedSender<NewViewer>,
    authenticated: mpsc::UnboundedSender<(ConnectionId, AuthOutcome)>,
    pub(super) disconnected: Mutex<Vec<(UserId, CloseCode)>>,
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

    fn disconnect_user(&self, user_id: UserId, code: CloseCode) -> BoxFuture<'static, u64> {
        self.disconnected.lock().push((user_id, code));
        Box::pin(async { 1 })
    }

    fn direct(
        &self,
        _user_id: UserId,
        _from: Arc<str>,
        _message: Arc<str>,
    ) -> BoxFuture<'static, u64> {
        Box::pin(async { 0 })
    }

    fn dismiss_all(&self, _code: CloseCode, _jitter: Duration) -> BoxFuture<'static, u64> {
        Box::pin(async { 0 })
    }

    fn connections(&self) -> u64 {
        0
    }
}
