//! Which streams of one Redis node a listener wants: written by whoever subscribes, carried out by
//! the task that holds the connection. It holds what is wanted, not what to do, so that what changed
//! while the node was away, however often, costs no more than the streams concerned.

use ahash::{AHashMap, AHashSet};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use crate::daemon::engines::bus::BusError;
use crate::protocol::StreamId;

pub(super) type Answer = Result<(), BusError>;

#[derive(Debug, Default)]
pub(super) struct Wishes {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    wanted: AHashSet<StreamId>,
    /// Streams to look at, with those who wait to hear that it was done.
    pending: AHashMap<StreamId, Vec<oneshot::Sender<Answer>>>,
    closed: bool,
}

/// Changes to carry out, and those to answer afterwards.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<StreamId>,
    pub(super) unsubscribe: Vec<StreamId>,
    waiting: Vec<(bool, oneshot::Sender<Answer>)>,
}

impl Wishes {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every critical section is a single change of a collection, or several that are each whole.
        self.inner.lock()
    }

    /// Remembers the wish; the receiver is told once it is done.
    pub(super) fn change(
        &self,
        stream_id: StreamId,
        wanted: bool,
    ) -> Result<oneshot::Receiver<Answer>, BusError> {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.lock();
        if inner.closed {
            return Err(BusError::Closed);
        }
        if wanted {
            inner.wanted.insert(stream_id);
        } else {
            inner.wanted.remove(&stream_id);
        }
        let waiting = inner.pending.entry(stream_id).or_default();
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        drop(inner);
        self.changed.notify_one();
        Ok(receiver)
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn is_wanted(&self, stream_id: StreamId) -> bool {
        self.lock().wanted.contains(&stream_id)
    }

    /// Whether nothing is wanted; who unsubscribed from the last is then told that it is done.
    pub(super) fn settle_if_empty(&self) -> bool {
        let mut inner = self.lock();
        if !inner.wanted.is_empty() {
            return false;
        }
        for sender in std::mem::take(&mut inner.pending).into_values().flatten() {
            let _ = sender.send(Ok(()));
        }
        true
    }

    /// What changed since this was asked last.
    pub(super) fn take_changes(&self) -> Changes {
        let mut inner = self.lock();
        let mut changes = Changes::default();
        for (stream_id, waiting) in std::mem::take(&mut inner.pending) {
            let wanted = inner.wanted.contains(&stream_id);
            let list = if wanted { &mut changes.subscribe } else { &mut changes.unsubscribe };
            list.push(stream_id);
            changes.waiting.extend(waiting.into_iter().map(|sender| (wanted, sender)));
        }
        changes
    }

    /// Everything that is wanted, for a connection that has nothing yet.
    pub(super) fn take_all(&self) -> Changes {
        let mut changes = self.take_changes();
        changes.unsubscribe.clear();
        changes.subscribe = self.lock().wanted.iter().copied().collect();
        changes
    }

    /// Nobody will carry out anything any more.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.pending.clear();
    }
}

impl Changes {
    /// It came out the same for all.
    pub(super) fn answer(self, answer: &Answer) {
        for (_, sender) in self.waiting {
            let _ = sender.send(answer.clone());
        }
    }

    /// There is no connection: nothing is heard, which is all that unsubscribing asks.
    pub(super) fn answer_without_connection(self, error: &BusError) {
        for (wanted, sender) in self.waiting {
            let _ = sender.send(if wanted { Err(error.clone()) } else { Ok(()) });
        }
    }
}
