//! The queue of records that nobody waits for: messages to nodes that are cut off from the bus, and
//! the announcement that this node is.
//!
//! In: envelopes, from any task. Out: the topic `ws-messages`, in the order of the calls, one
//! append at a time, so that comments keep the room of the log's own queue.
//!
//! When full: at most [`MAX_RECORDS`] and [`MAX_BYTES`] wait. Further records are dropped and
//! counted (`lcd_direct_messages_dropped`). Nodes that miss a message see a gap in the sequence and
//! read the log; an announcement is repeated.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::debug;

use super::envelope::Envelope;
use crate::daemon::base::metrics::Counter;
use crate::daemon::engines::eventlog::{MAX_PAYLOAD_BYTES, NewRecord, SharedLog, Topic};

const MAX_RECORDS: usize = 1024;
const MAX_BYTES: usize = 8 << 20;

/// Appends without anybody waiting.
#[derive(Debug)]
pub(super) struct DirectSender {
    queue: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    dropped: Counter,
    /// Taken by [`Self::run`].
    receiver: Mutex<Option<mpsc::Receiver<Queued>>>,
}

#[derive(Debug)]
struct Queued {
    record: NewRecord,
    /// Its part of [`MAX_BYTES`].
    _bytes: OwnedSemaphorePermit,
}

impl DirectSender {
    pub(super) fn new(dropped: Counter) -> Self {
        let (queue, receiver) = mpsc::channel(MAX_RECORDS);
        let bytes = Arc::new(Semaphore::new(MAX_BYTES));
        Self { queue, bytes, dropped, receiver: Mutex::new(Some(receiver)) }
    }

    /// Queues a record, or drops it.
    pub(super) fn send(&self, key: u64, timestamp_ms: u64, envelope: &Envelope) {
        let payload = envelope.encode();
        // A record that is too large for the log would fail those that are appended with it.
        let fits = payload.len() <= MAX_PAYLOAD_BYTES;
        let bytes = self.bytes.clone().try_acquire_many_owned(payload.len() as u32).ok();
        let queued = bytes.filter(|_| fits).is_some_and(|bytes| {
            let record = NewRecord { key, timestamp_ms, payload };
            self.queue.try_send(Queued { record, _bytes: bytes }).is_ok()
        });
        if !queued {
            self.dropped.inc();
        }
    }

    #[cfg(test)]
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Appends what is queued, until cancelled by being dropped. Later calls do nothing.
    pub(super) async fn run(&self, log: &SharedLog) {
        let Some(mut receiver) = self.receiver.lock().take() else { return };
        let mut taken = Vec::new();
        while receiver.recv_many(&mut taken, MAX_RECORDS).await > 0 {
            let records: Vec<_> = taken.iter().map(|queued| queued.record.clone()).collect();
            let count = records.len() as u64;
            if let Err(error) = log.append(Topic::WsMessages, records).await {
                self.dropped.inc_by(count);
                debug!(%error, count, "messages not sent to nodes cut off from the bus");
            }
            // Their bytes are free from here on.
            taken.clear();
        }
    }
}
