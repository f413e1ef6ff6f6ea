//! Statistics of a pool's connections.

use hdrhistogram::Histogram;

use super::messages::StormTotals;
use crate::client::viewer::{ConnectError, ViewerError};
use crate::loadgen::clock::Micros;
use crate::loadgen::counts::{CountsByKind, count};
use crate::loadgen::histogram::{HistogramSnapshot, latency_histogram};

#[derive(Debug)]
pub(super) struct ConnectionStats {
    /// Viewers that had a welcome.
    pub connected: u64,
    /// Viewers that had a welcome and are reconnecting.
    pub away: u64,
    pub reconnects: u64,
    /// Viewers that had a welcome and do not reconnect.
    pub disconnected: u64,
    /// Why connections ended.
    pub closed: CountsByKind,
    pub connect_failed: CountsByKind,
    /// Attempts that the server refused, repeated or not.
    pub connect_refused: CountsByKind,
    pub first_failure: Option<String>,
    /// From the time at which a viewer was due to connect to its welcome.
    pub connect: Histogram<u64>,
    /// Viewers without a welcome that may still get one.
    pub undecided: u64,
    storms: Vec<StormInProgress>,
}

#[derive(Debug)]
struct StormInProgress {
    began: Micros,
    viewers: u64,
    back: Histogram<u64>,
}

impl ConnectionStats {
    pub(super) fn new(viewers: u64) -> Self {
        Self {
            connected: 0,
            away: 0,
            reconnects: 0,
            disconnected: 0,
            closed: CountsByKind::new(),
            connect_failed: CountsByKind::new(),
            connect_refused: CountsByKind::new(),
            first_failure: None,
            connect: latency_histogram(),
            undecided: viewers,
            storms: Vec::new(),
        }
    }

    pub(super) fn record_first_welcome(&mut self, waited: Micros) {
        self.connected += 1;
        self.undecided -= 1;
        self.connect.saturating_record(waited);
    }

    /// Records that a viewer without a welcome gave up.
    pub(super) fn record_connect_failure(&mut self, error: &ConnectError) {
        self.undecided -= 1;
        count(&mut self.connect_failed, error.kind());
        self.first_failure.get_or_insert_with(|| error.to_string());
    }

    /// Counts the error if it is a refusal.
    pub(super) fn record_refusal(&mut self, error: &ConnectError) {
        if matches!(error, ConnectError::Refused { .. }) {
            count(&mut self.connect_refused, error.kind());
        }
    }

    pub(super) fn record_close(&mut self, error: &ViewerError) {
        count(&mut self.closed, error.kind());
    }

    /// Begins a storm and returns its number, counted from 1.
    pub(super) fn begin_storm(&mut self, viewers: u64, now: Micros) -> u8 {
        self.storms.push(StormInProgress { began: now, viewers, back: latency_histogram() });
        self.storms.len().min(usize::from(u8::MAX)) as u8
    }

    /// Records that a viewer has reconnected, after a storm or for another reason.
    pub(super) fn record_reconnect(&mut self, storm: u8, now: Micros) {
        self.away -= 1;
        self.reconnects += 1;
        let index = usize::from(storm).checked_sub(1);
        if let Some(storm) = index.and_then(|index| self.storms.get_mut(index)) {
            storm.back.saturating_record(now.saturating_sub(storm.began));
        }
    }

    pub(super) fn storms(&self) -> Vec<StormTotals> {
        let totals = |storm: &StormInProgress| StormTotals {
            viewers: storm.viewers,
            back: HistogramSnapshot::of(&storm.back),
        };
        self.storms.iter().map(totals).collect()
    }
}
