//! Rates: the differences of a node's counters, taken by the node itself.
//!
//! Always holds: a rate of the cluster is the sum of the rates that nodes report about themselves.
//! Nodes come and go, and counters begin at zero when one starts, so differences of sums over nodes
//! would count what never happened. A node that is silent is missing from the sum and named as
//! unreachable.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Counters;

/// A comment that reaches a viewer's socket later than this after its creation is counted as late,
/// in milliseconds.
pub const LATE_AFTER_MS: u64 = 150;

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// Defines the rates, each with the counter that it is the change of.
macro_rules! rates {
    ($($(#[$doc:meta])* $name:ident: $counter:expr,)*) => {
        /// Changes of [`Counters`] per second, over the last second that a node has measured.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(default)]
        pub struct CounterRates {
            $($(#[$doc])* pub $name: f64,)*
        }

        impl CounterRates {
            /// Computes the rates between two readings of one node's counters. Both must be of the
            /// same run. Without time in between all rates are 0.
            pub fn between(before: &Counters, now: &Counters, elapsed: Duration) -> Self {
                $(let $name: fn(&Counters) -> u64 = $counter;)*
                Self { $($name: per_second($name(before), $name(now), elapsed),)* }
            }

            /// Returns all rates by name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// Adds the rates of another node.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

rates! {
    received: |counters| counters.received,
    accepted: |counters| counters.accepted,
    /// Over all error codes.
    refused: |counters| sum(&counters.refused),
    broadcast: |counters| counters.broadcast,
    /// Left out by the throttle.
    sampled_out: |counters| counters.sampled_out,
    /// Left out because of egress limits, once per node that left it out.
    egress_sampled_out: |counters| counters.egress_sampled_out,
    delivered: |counters| counters.delivered,
    /// Of those delivered, the ones that came late.
    late: |counters| counters.late,
    skipped: |counters| counters.skipped,
    deleted: |counters| counters.deleted,
    reactions: |counters| counters.reactions,
    bytes_in: |counters| counters.bytes_in,
    bytes_out: |counters| counters.bytes_out,
    connections_opened: |counters| counters.connections_opened,
    connections_closed: |counters| sum(&counters.connections_closed),
    connections_refused: |counters| sum(&counters.connections_refused),
    archived: |counters| counters.archived,
    dead_letters: |counters| counters.dead_letters,
    bus_lost: |counters| counters.bus_lost,
    catch_up_reads: |counters| counters.catch_up_reads,
}

/// Returns the change of a counter per second, to a thousandth. It is 0 if the counter is smaller
/// than before, because it was begun again.
pub fn per_second(before: u64, now: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        return 0.0;
    }
    let rate = now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
    (rate * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_over_time() {
        let before = Counters { received: 100, delivered: 7, ..Counters::default() };
        let now = Counters {
            received: 400,
            delivered: 3,
            refused: [("banned".to_owned(), 3), ("too_large".to_owned(), 4)].into(),
            ..Counters::default()
        };
        let rates = CounterRates::between(&before, &now, Duration::from_secs(2));
        let expected = CounterRates { received: 150.0, refused: 3.5, ..CounterRates::default() };
        assert_eq!(rates, expected, "a counter that was begun again has no rate");
        assert_eq!(CounterRates::between(&before, &now, Duration::ZERO), CounterRates::default());
    }

    #[test]
    fn nodes_of_other_releases_are_understood() {
        let rates: CounterRates = serde_json::from_str(r#"{"received":2.5,"new":1}"#).unwrap();
        assert_eq!(rates, CounterRates { received: 2.5, ..CounterRates::default() });
    }
}
