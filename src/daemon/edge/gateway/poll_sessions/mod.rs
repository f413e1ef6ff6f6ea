//! The sessions of pollers.
//!
//! In: polls. Out: messages that delivery has written for the poller since. Between two polls its
//! messages wait in the pipe of its viewer, which delivery serves as any other.
//!
//! Always holds: a poller is a viewer, with its place, its registration and its part in presence,
//! until it has not polled for [`SILENCE`]. Each message is in one answer; an answer that was lost
//! on its way is repeated. At most one poll of a session waits.
//!
//! When full: a poller takes one of the node's places for viewers, and is refused without one. What
//! waits for it is bounded as a socket's buffer is; beyond that delivery holds it back in the rings
//! of its stream, and sends a `gap` if it falls behind those.

mod events;
mod session;
mod since;

use std::sync::Arc;
use std::time::Duration;

use ahash::{AHashMap, RandomState};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

#[cfg(any(test, fuzzing))]
pub(super) use self::events::PolledMessages;
pub(super) use self::session::{Poll, PollFailure, PollSession};
use self::since::SessionId;
pub(super) use self::since::Since;
use crate::daemon::base::pipe::PipeReader;
use crate::daemon::base::ticker::ticker;
use crate::protocol::StreamId;

/// A poller that has not polled for this long has left. A poll waits up to 30 s; the rest is for
/// the way back and forth.
const SILENCE: Duration = Duration::from_secs(45);
/// The time between two looks for pollers that have left.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The sessions of a node.
#[derive(Debug, Default)]
pub(crate) struct PollSessions {
    sessions: Mutex<AHashMap<SessionId, Owned>>,
    hashes: RandomState,
}

/// A session, and to whom it belongs.
#[derive(Debug)]
struct Owned {
    session: Arc<PollSession>,
    owner: Owner,
}

/// The stream and the token of a poller. A session is found with both only, so that a new token
/// begins a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    stream_id: StreamId,
    token: u64,
}

impl PollSessions {
    pub(super) fn owner(&self, stream_id: StreamId, token: Option<&str>) -> Owner {
        Owner { stream_id, token: self.hashes.hash_one(token) }
    }

    /// Begins a session with the messages of a viewer.
    pub(super) fn open(&self, owner: Owner, reader: PipeReader) -> Arc<PollSession> {
        let id = SessionId(rand::random());
        let session = Arc::new(PollSession::new(id, reader));
        self.sessions.lock().insert(id, Owned { session: session.clone(), owner });
        session
    }

    pub(super) fn find(&self, since: &Since, owner: Owner) -> Option<Arc<PollSession>> {
        let sessions = self.sessions.lock();
        let found = sessions.get(&since.session).filter(|owned| owned.owner == owner);
        found.map(|owned| owned.session.clone())
    }

    /// Ends a session. Its viewer leaves once no poll holds it.
    pub(super) fn close(&self, session: &PollSession) {
        self.sessions.lock().remove(&session.id());
    }

    fn close_silent(&self, time: Duration) {
        // Dropped without the lock: that tells delivery.
        let silent: Vec<_> = {
            let mut sessions = self.sessions.lock();
            sessions.extract_if(|_, owned| owned.session.is_silent_for(time)).collect()
        };
        drop(silent);
    }
}

/// Ends the sessions of pollers that have left.
#[derive(Debug)]
pub struct PollTask(Arc<PollSessions>);

impl PollTask {
    pub(super) fn new(sessions: Arc<PollSessions>) -> Self {
        Self(sessions)
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = ticker(LOOK_INTERVAL);
        loop {
            tokio::select! {
                _ = looks.tick() => self.0.close_silent(SILENCE),
                () = stop.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::daemon::base::pipe::pipe;
    use crate::daemon::edge::gateway::positions::position;

    #[tokio::test(start_paused = true)]
    async fn silent_session_ends_and_frees_its_viewer() {
        let sessions = PollSessions::default();
        let (writer, reader) = pipe();
        let owner = sessions.owner(StreamId(1), Some("token"));
        let since = Since {
            position: position(0, 0),
            session: sessions.open(owner, reader).id(),
            answer: 0,
        };
        tokio::time::advance(SILENCE - Duration::from_secs(1)).await;
        sessions.close_silent(SILENCE);
        assert!(sessions.find(&since, owner).is_some());
        let other = sessions.owner(StreamId(1), Some("another"));
        assert!(sessions.find(&since, other).is_none(), "a session is its owner's");
        tokio::time::advance(Duration::from_secs(2)).await;
        sessions.close_silent(SILENCE);
        assert!(sessions.find(&since, owner).is_none());
        assert!(writer.write([&Bytes::from_static(b"x")]).is_err(), "its viewer is told");
    }
}
