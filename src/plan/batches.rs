//! The work that grows with batches: requests to the log, the bus and the stores.
//!
//! Daemons gather what comes while a request is on its way. With few comments, each is a batch of
//! its own. From some hundred per second on, requests follow each other: more comments make larger
//! batches, not more of them. In between, a comment that comes at a random time joins a batch that
//! gathers, or begins one. So the number of batches approaches the largest one exponentially.

use super::costs::{CostName, Costs};

/// Processor time by the rate of comments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BatchedWork {
    /// Per batch, while each has one comment.
    pub(super) batch_us: f64,
    /// Per second, with as many batches as there can be.
    pub(super) full_us: f64,
}

impl BatchedWork {
    /// Returns the work that takes `few_us` per second at a low rate and `full_us` at high ones;
    /// `None` if the low rate takes as much.
    pub(super) fn through(comments_per_second: f64, few_us: f64, full_us: f64) -> Option<Self> {
        let share = few_us / full_us;
        if !(share > 0.0 && share < 1.0 && comments_per_second > 0.0) {
            return None;
        }
        let batch_us = -full_us * (1.0 - share).ln() / comments_per_second;
        Some(Self { batch_us, full_us })
    }

    /// Returns the processor time per second.
    pub(super) fn per_second_us(self, comments_per_second: f64) -> f64 {
        let Self { batch_us, full_us } = self;
        full_us * -(-comments_per_second * batch_us / full_us).exp_m1()
    }
}

/// Returns the work of one edge for the comments that it accepts.
pub(super) fn accepting(costs: &Costs) -> BatchedWork {
    BatchedWork {
        batch_us: costs.value(CostName::AcceptBatchUs),
        full_us: costs.value(CostName::AcceptFullUs),
    }
}

/// Returns the work of one coordinator, moderator or archiver for the comments that it reads.
pub(super) fn reading(costs: &Costs) -> BatchedWork {
    BatchedWork {
        batch_us: costs.value(CostName::ReadBatchUs),
        full_us: costs.value(CostName::ReadFullUs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_comments_are_batches_of_their_own() {
        let work = BatchedWork { batch_us: 800.0, full_us: 80_000.0 };
        assert!((work.per_second_us(0.1) - 80.0).abs() < 0.1);
        assert!((work.per_second_us(1e6) - 80_000.0).abs() < 1e-6);
        assert_eq!(work.per_second_us(0.0), 0.0);
    }

    #[test]
    fn flat_loads_have_no_curve() {
        for (rate, few, full) in [(100.0, 5.0, 5.0), (100.0, 6.0, 5.0), (0.0, 1.0, 5.0)] {
            assert_eq!(BatchedWork::through(rate, few, full), None, "{rate} {few} {full}");
        }
    }

    proptest! {
        #[test]
        fn the_curve_goes_through_what_was_measured(
            rate in 1.0_f64..10_000.0,
            full in 1_000.0_f64..1e6,
            share in 0.01_f64..0.99,
        ) {
            let work = BatchedWork::through(rate, full * share, full).unwrap();
            prop_assert!((work.per_second_us(rate) / (full * share) - 1.0).abs() < 1e-9);
            prop_assert!(work.per_second_us(rate * 2.0) > work.per_second_us(rate));
            prop_assert!(work.per_second_us(rate * 2.0) <= full);
        }
    }
}
