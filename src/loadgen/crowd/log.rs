//! What happened to a crowd's connections.

use hdrhistogram::Histogram;

use super::message::{Recorded, Storm};
use crate::client::viewer::{ConnectError, ViewerError};
use crate::loadgen::ledger::{Micros, histogram};
use crate::loadgen::submissions::ByKind;

#[derive(Debug)]
pub(super) struct Log {
    pub connected: u64,
    /// Had a welcome before and are on their way back.
    pub away: u64,
    pub reconnects: u64,
    /// Had a welcome before and are gone for good.
    pub disconnected: u64,
    pub closed: ByKind,
    pub failed: ByKind,
    /// Attempts that the server refused, whether they were repeated or not.
    pub refused: ByKind,
    pub first_failure: Option<String>,
    /// From the time a viewer was to connect to its welcome.
    pub connect: Histogram<u64>,
    /// Viewers whose first attempt is not decided yet.
    pub undecided: u64,
    storms: Vec<Gust>,
}

#[derive(Debug)]
struct Gust {
    began: Micros,
    viewers: u64,
    back: Histogram<u64>,
}

impl Log {
    pub(super) fn new(viewers: u64) -> Self {
        Self {
            connected: 0,
            away: 0,
            reconnects: 0,
            disconnected: 0,
            closed: ByKind::new(),
            failed: ByKind::new(),
            refused: ByKind::new(),
            first_failure: None,
            connect: histogram(),
            undecided: viewers,
            storms: Vec::new(),
        }
    }

    pub(super) fn first_welcome(&mut self, waited: Micros) {
        self.connected += 1;
        self.undecided -= 1;
        self.connect.saturating_record(waited);
    }

    pub(super) fn first_failed(&mut self, error: &ConnectError) {
        self.undecided -= 1;
        *self.failed.entry(error.kind().into()).or_default() += 1;
        self.first_failure.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn refused(&mut self, error: &ConnectError) {
        if matches!(error, ConnectError::Refused { .. }) {
            *self.refused.entry(error.kind().into()).or_default() += 1;
        }
    }

    pub(super) fn closed(&mut self, error: &ViewerError) {
        *self.closed.entry(error.kind().into()).or_default() += 1;
    }

    /// A storm begins; answers its number, from 1.
    pub(super) fn storm(&mut self, viewers: u64, now: Micros) -> u8 {
        self.storms.push(Gust { began: now, viewers, back: histogram() });
        self.storms.len().min(usize::from(u8::MAX)) as u8
    }

    pub(super) fn back_from(&mut self, storm: u8, now: Micros) {
        let index = usize::from(storm).checked_sub(1);
        if let Some(gust) = index.and_then(|index| self.storms.get_mut(index)) {
            gust.back.saturating_record(now.saturating_sub(gust.began));
        }
    }

    pub(super) fn storms(&self) -> Vec<Storm> {
        let storm = |gust: &Gust| Storm { viewers: gust.viewers, back: Recorded::of(&gust.back) };
        self.storms.iter().map(storm).collect()
    }
}
