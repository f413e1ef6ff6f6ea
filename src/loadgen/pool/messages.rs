//! The messages between a run and its pools, within one process and between processes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::loadgen::clock::Micros;
use crate::loadgen::counts::{CountsByKind, add_counts};
use crate::loadgen::histogram::HistogramSnapshot;
use crate::loadgen::ledger::{AckedComment, DeliveryTotals, LedgerCounters};

/// A command to a pool. Commands are executed in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum PoolCommand {
    /// Connect the viewers, the first at this time.
    Connect(Micros),
    /// These comments are durable.
    Acked(Arc<[AckedComment]>),
    /// The load begins: measure the generator's own usage from now on.
    BeginLoad,
    /// Drop all connections at once and reconnect.
    Storm,
    /// Report whether a viewer still waits for a comment, given all earlier commands. The number
    /// returns with the answer.
    QueryOutstanding(u64),
    /// Report the totals and end.
    Finish,
}

/// An event from a pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum PoolEvent {
    /// The pool has its plan.
    Ready,
    /// Every viewer has its welcome or has failed.
    Connected {
        first_failure: Option<String>,
    },
    Progress(PoolProgress),
    /// The answer to [`PoolCommand::QueryOutstanding`].
    Outstanding {
        query: u64,
        outstanding: bool,
    },
    Finished(Box<PoolTotals>),
    /// The pool ended, with the reason if it failed.
    Ended(Option<String>),
}

/// The progress of one or several pools.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PoolProgress {
    pub connected: u64,
    /// Viewers that are reconnecting.
    pub away: u64,
    pub counters: LedgerCounters,
    pub latency: HistogramSnapshot,
}

/// The final figures of one or several pools.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PoolTotals {
    pub deliveries: DeliveryTotals,
    pub counters: LedgerCounters,
    pub latency: HistogramSnapshot,
    /// From the intended send time of a deleted comment to the deletion.
    pub deletion: HistogramSnapshot,
    pub connect: HistogramSnapshot,
    pub connected: u64,
    pub slow: u64,
    pub connect_failed: CountsByKind,
    pub connect_refused: CountsByKind,
    pub closed: CountsByKind,
    pub reconnects: u64,
    pub disconnected: u64,
    pub storms: Vec<StormTotals>,
    /// Processor time since the load began, in microseconds.
    pub cpu_us: u64,
    /// The worst delay of the pool's loop, without the single worst of each second.
    pub late_us: u64,
    /// Resident memory that the viewers added.
    pub memory_bytes: u64,
}

/// Viewers that dropped their connections at once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StormTotals {
    pub viewers: u64,
    /// From the drop to the welcome, for each viewer that reconnected.
    pub back: HistogramSnapshot,
}

impl PoolProgress {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.connected += other.connected;
        self.away += other.away;
        self.counters.merge(&other.counters);
        self.latency.merge(&other.latency);
    }
}

impl PoolTotals {
    /// Adds the totals of another pool of the same run.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.deliveries.merge(&other.deliveries);
        self.counters.merge(&other.counters);
        self.latency.merge(&other.latency);
        self.deletion.merge(&other.deletion);
        self.connect.merge(&other.connect);
        self.connected += other.connected;
        self.slow += other.slow;
        add_counts(&mut self.connect_failed, &other.connect_failed);
        add_counts(&mut self.connect_refused, &other.connect_refused);
        add_counts(&mut self.closed, &other.closed);
        self.reconnects += other.reconnects;
        self.disconnected += other.disconnected;
        let storms = self.storms.len().max(other.storms.len());
        self.storms.resize_with(storms, StormTotals::default);
        for (mine, theirs) in self.storms.iter_mut().zip(&other.storms) {
            mine.viewers += theirs.viewers;
            mine.back.merge(&theirs.back);
        }
        self.cpu_us += other.cpu_us;
        self.late_us = self.late_us.max(other.late_us);
        self.memory_bytes += other.memory_bytes;
    }
}
