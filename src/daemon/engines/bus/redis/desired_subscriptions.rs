//! The streams of one Redis node that a listener subscribed to. Written by subscribers, applied by
//! the task that holds the connection. It holds the desired state, not a list of changes, so that
//! any number of changes during an outage costs no more than the streams concerned.

use ahash::{AHashMap, AHashSet};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use crate::daemon::engines::bus::BusError;
use crate::protocol::StreamId;

pub(super) type ChangeResult = Result<(), BusError>;

#[derive(Debug, Default)]
pub(super) struct DesiredSubscriptions {
    inner: Mutex<DesiredState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct DesiredState {
    desired: AHashSet<StreamId>,
    /// Streams whose change is not applied yet, with the callers that wait for it.
    pending: AHashMap<StreamId, Vec<oneshot::Sender<ChangeResult>>>,
    closed: bool,
}

/// Changes to apply, and the callers to notify afterwards.
#[derive(Debug, Default)]
pub(super) struct SubscriptionChanges {
    pub(super) subscribe: Vec<StreamId>,
    pub(super) unsubscribe: Vec<StreamId>,
    waiting: Vec<(bool, oneshot::Sender<ChangeResult>)>,
}

impl DesiredSubscriptions {
    fn lock(&self) -> MutexGuard<'_, DesiredState> {
        self.inner.lock()
    }

    /// Records the desired state. The receiver completes when it is applied.
    pub(super) fn change(
        &self,
        stream_id: StreamId,
        desired: bool,
    ) -> Result<oneshot::Receiver<ChangeResult>, BusError> {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.lock();
        if inner.closed {
            return Err(BusError::Closed);
        }
        if desired {
            inner.desired.insert(stream_id);
        } else {
            inner.desired.remove(&stream_id);
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

    pub(super) fn is_desired(&self, stream_id: StreamId) -> bool {
        self.lock().desired.contains(&stream_id)
    }

    /// Returns the number of streams that are desired.
    pub(super) fn len(&self) -> usize {
        self.lock().desired.len()
    }

    /// Returns whether no stream is desired. Pending unsubscriptions are then confirmed.
    pub(super) fn confirm_if_empty(&self) -> bool {
        let mut inner = self.lock();
        if !inner.desired.is_empty() {
            return false;
        }
        for sender in std::mem::take(&mut inner.pending).into_values().flatten() {
            let _ = sender.send(Ok(()));
        }
        true
    }

    /// Takes the changes since the last call.
    pub(super) fn take_changes(&self) -> SubscriptionChanges {
        let mut inner = self.lock();
        let mut changes = SubscriptionChanges::default();
        for (stream_id, waiting) in std::mem::take(&mut inner.pending) {
            let desired = inner.desired.contains(&stream_id);
            let list = if desired { &mut changes.subscribe } else { &mut changes.unsubscribe };
            list.push(stream_id);
            changes.waiting.extend(waiting.into_iter().map(|sender| (desired, sender)));
        }
        changes
    }

    /// Takes all desired subscriptions, for a new connection.
    pub(super) fn take_all(&self) -> SubscriptionChanges {
        let mut changes = self.take_changes();
        changes.unsubscribe.clear();
        changes.subscribe = self.lock().desired.iter().copied().collect();
        changes
    }

    /// Fails all later changes: the task has ended.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.pending.clear();
    }
}

impl SubscriptionChanges {
    /// Notifies all callers of the same result.
    pub(super) fn complete(self, result: &ChangeResult) {
        for (_, sender) in self.waiting {
            let _ = sender.send(result.clone());
        }
    }

    /// Without a connection nothing arrives, so unsubscribing succeeds and subscribing fails.
    pub(super) fn complete_without_connection(self, error: &BusError) {
        for (desired, sender) in self.waiting {
            let _ = sender.send(if desired { Err(error.clone()) } else { Ok(()) });
        }
    }
}
