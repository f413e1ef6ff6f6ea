//! The ledger as who reads for viewers uses it.

use ahash::RandomState;
#[cfg(test)]
use hdrhistogram::Histogram;
use parking_lot::{Mutex, MutexGuard};

#[cfg(test)]
use super::Counts;
use super::frames::{self, Meaning};
use super::{Ledger, Micros};
use crate::client::viewer::decode;
use crate::protocol::message::Encoding;

/// What a viewer has to know of a payload it received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    Entered,
    /// The server will close, and named this wait in milliseconds.
    Bye(Option<u64>),
    Malformed(String),
}

/// A ledger behind a lock that is held for about a microsecond a payload; decoding is done outside.
#[derive(Debug)]
pub(crate) struct LedgerHandle {
    hasher: RandomState,
    ledger: Mutex<Ledger>,
}

impl LedgerHandle {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { hasher: RandomState::new(), ledger: Mutex::new(ledger) }
    }

    /// Enters a payload for a viewer.
    pub(crate) fn receive(
        &self,
        viewer: usize,
        encoding: Encoding,
        payload: &[u8],
        at: Micros,
    ) -> Received {
        let hash = frames::hash(&self.hasher, payload);
        {
            let mut ledger = self.lock();
            if let Some(meaning) = ledger.frames.get(hash, payload).cloned() {
                ledger.apply(viewer, &meaning, at);
                return meaning.into();
            }
        }
        let decoded = decode(encoding, payload);
        let mut ledger = self.lock();
        // Another viewer may have decoded the same payload meanwhile; one batch must stay one.
        let meaning = match ledger.frames.get(hash, payload).cloned() {
            Some(meaning) => meaning,
            None => {
                let meaning = match &decoded {
                    Ok(message) => ledger.learn(message),
                    Err(error) => Meaning::Malformed(error.to_string()),
                };
                ledger.frames.insert(hash, payload, meaning.clone());
                meaning
            }
        };
        ledger.apply(viewer, &meaning, at);
        meaning.into()
    }

    /// Counters and latencies so far.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> (Counts, Histogram<u64>) {
        let ledger = self.lock();
        (ledger.counts, ledger.latency.clone())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere leaves at worst one payload half entered; the run ends anyway.
        self.ledger.lock()
    }
}

impl From<Meaning> for Received {
    fn from(meaning: Meaning) -> Self {
        match meaning {
            Meaning::Bye(wait_ms) => Self::Bye(wait_ms),
            Meaning::Malformed(problem) => Self::Malformed(problem),
            _ => Self::Entered,
        }
    }
}
