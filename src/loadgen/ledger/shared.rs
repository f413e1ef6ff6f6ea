//! The ledger behind a lock, as connections use it.

use ahash::RandomState;
#[cfg(test)]
use hdrhistogram::Histogram;
use parking_lot::{Mutex, MutexGuard};

use super::Ledger;
#[cfg(test)]
use super::LedgerCounters;
use super::payload_cache::{self, PayloadMeaning};
use crate::client::viewer::decode;
use crate::loadgen::clock::Micros;
use crate::protocol::message::Encoding;

/// The part of a received payload that a connection must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReceivedPayload {
    Recorded,
    /// The server will close the connection, and named this wait in milliseconds.
    Bye(Option<u64>),
    Malformed(String),
}

/// A ledger behind a lock that is held for about a microsecond per payload. Payloads are decoded
/// outside the lock.
#[derive(Debug)]
pub(crate) struct SharedLedger {
    hasher: RandomState,
    ledger: Mutex<Ledger>,
}

impl SharedLedger {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { hasher: RandomState::new(), ledger: Mutex::new(ledger) }
    }

    /// Records that a viewer received a payload.
    pub(crate) fn receive(
        &self,
        viewer: usize,
        encoding: Encoding,
        payload: &[u8],
        at: Micros,
    ) -> ReceivedPayload {
        let hash = payload_cache::hash(&self.hasher, payload);
        {
            let mut ledger = self.lock();
            if let Some(meaning) = ledger.payloads.get(hash, payload).cloned() {
                ledger.record_receipt(viewer, &meaning, at);
                return meaning.into();
            }
        }
        let decoded = decode(encoding, payload);
        let mut ledger = self.lock();
        // Another viewer may have decoded the same payload meanwhile. A batch must exist only once.
        let meaning = match ledger.payloads.get(hash, payload).cloned() {
            Some(meaning) => meaning,
            None => {
                let meaning = match &decoded {
                    Ok(Some(message)) => ledger.interpret(message),
                    Ok(None) => PayloadMeaning::Other,
                    Err(error) => PayloadMeaning::Malformed(error.to_string()),
                };
                ledger.payloads.insert(hash, payload, meaning.clone());
                meaning
            }
        };
        ledger.record_receipt(viewer, &meaning, at);
        meaning.into()
    }

    /// Returns the counters and latencies so far.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> (LedgerCounters, Histogram<u64>) {
        let ledger = self.lock();
        (ledger.counters, ledger.latency.clone())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }
}

impl From<PayloadMeaning> for ReceivedPayload {
    fn from(meaning: PayloadMeaning) -> Self {
        match meaning {
            PayloadMeaning::Bye(wait_ms) => Self::Bye(wait_ms),
            PayloadMeaning::Malformed(problem) => Self::Malformed(problem),
            _ => Self::Recorded,
        }
    }
}
