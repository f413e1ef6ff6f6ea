//! What a reader of viewers is told and what it tells, within a process and between processes alike.

use std::sync::Arc;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::loadgen::ledger::{AckedComment, Counts, Micros, Tally, histogram};
use crate::loadgen::report::Percentiles;
use crate::loadgen::submissions::ByKind;

/// To a crowd, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Connect; the first viewer at this time.
    Connect(Micros),
    /// These comments are durable.
    Acked(Arc<[AckedComment]>),
    /// The load begins: from now on it counts what the generator uses.
    Begin,
    /// All viewers drop their connections and come back at once.
    Storm,
    /// Is a viewer still owed something, after all that was ordered before?
    Ask(u64),
    /// Close the account, tell it and end.
    Settle,
}

/// From a crowd.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It knows its plan.
    Ready,
    /// Every viewer has its welcome or has failed.
    Gathered {
        first_failure: Option<String>,
    },
    Progress(Progress),
    /// The answer to an [`Order::Ask`].
    Standing {
        ask: u64,
        outstanding: bool,
    },
    Settled(Box<Figures>),
    /// It is no more, and why if that was no success.
    Ended(Option<String>),
}

/// How it stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub connected: u64,
    /// On their way back.
    pub away: u64,
    pub counts: Counts,
    pub latency: Recorded,
}

/// What a crowd comes to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub tally: Tally,
    pub counts: Counts,
    pub latency: Recorded,
    pub connect: Recorded,
    pub connected: u64,
    pub slow: u64,
    pub failed: ByKind,
    pub refused: ByKind,
    pub closed: ByKind,
    pub reconnects: u64,
    pub disconnected: u64,
    pub storms: Vec<Storm>,
    /// Processor time since the load began, in microseconds.
    pub cpu_us: u64,
    /// How late the reader came to what was there to be read, at worst but for one in a second.
    pub late_us: u64,
    /// Resident memory that came with the viewers.
    pub memory_bytes: u64,
}

/// Viewers that dropped their connections at once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Storm {
    pub viewers: u64,
    /// From the drop to the welcome, for each that came back.
    pub back: Recorded,
}

/// A histogram as pairs of value and count, which merges without loss into one of the same bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded(Vec<(u64, u64)>);

impl Recorded {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let pairs =
            histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value()));
        Self(pairs.collect())
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut sum = histogram();
        self.add_to(&mut sum);
        Percentiles::of(&sum)
    }

    pub(crate) fn add_to(&self, histogram: &mut Histogram<u64>) {
        for (value, count) in &self.0 {
            histogram.saturating_record_n(*value, *count);
        }
    }
}

impl Progress {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.connected += other.connected;
        self.away += other.away;
        self.counts.merge(&other.counts);
        self.latency.0.extend_from_slice(&other.latency.0);
    }
}

impl Figures {
    /// Adds those of another crowd of the same run.
    pub(crate) fn merge(&mut self, other: Self) {
        self.tally.merge(&other.tally);
        self.counts.merge(&other.counts);
        self.latency.0.extend(other.latency.0);
        self.connect.0.extend(other.connect.0);
        self.connected += other.connected;
        self.slow += other.slow;
        for (mine, theirs) in [
            (&mut self.failed, other.failed),
            (&mut self.refused, other.refused),
            (&mut self.closed, other.closed),
        ] {
            for (kind, count) in theirs {
                *mine.entry(kind).or_default() += count;
            }
        }
        self.reconnects += other.reconnects;
        self.disconnected += other.disconnected;
        self.storms.resize_with(self.storms.len().max(other.storms.len()), Storm::default);
        for (mine, theirs) in self.storms.iter_mut().zip(other.storms) {
            mine.viewers += theirs.viewers;
            mine.back.0.extend(theirs.back.0);
        }
        self.cpu_us += other.cpu_us;
        self.late_us = self.late_us.max(other.late_us);
        self.memory_bytes += other.memory_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merged_parts_are_the_whole(
            values in prop::collection::vec(0_u64..4_000_000_000, 1..300), parts in 1_usize..5,
        ) {
            let mut whole = histogram();
            let mut merged = histogram();
            values.iter().for_each(|value| whole.saturating_record(*value));
            for part in 0..parts {
                let mut own = histogram();
                let mine = values.iter().skip(part).step_by(parts);
                mine.for_each(|value| own.saturating_record(*value));
                Recorded::of(&own).add_to(&mut merged);
            }
            prop_assert_eq!(merged.len(), whole.len());
            prop_assert_eq!(merged.max(), whole.max());
            for quantile in [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(
                    merged.value_at_quantile(quantile), whole.value_at_quantile(quantile));
            }
        }
    }
}
