//! Max-min fairness: no stream is granted more than it wants, and none less than another that is
//! granted more. Each stream has a guaranteed minimum.

/// Halvings of the search. The level is then exact to a billionth of the largest demand.
const HALVINGS: u32 = 40;

/// The demand of one stream and its guaranteed minimum. `least` is at most `wanted`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub(super) wanted: f64,
    pub(super) least: f64,
}

impl Demand {
    /// Returns the grant at a level.
    pub(super) fn grant(self, level: f64) -> f64 {
        level.clamp(self.least, self.wanted)
    }
}

/// Returns the highest level at which all grants together are within `limit`. Infinite if all
/// demands fit; 0 if not even the minimums do.
pub(super) fn level(demands: &[Demand], limit: f64) -> f64 {
    if demands.iter().map(|demand| demand.wanted).sum::<f64>() <= limit {
        return f64::INFINITY;
    }
    let granted = |level: f64| demands.iter().map(|demand| demand.grant(level)).sum::<f64>();
    let mut low = 0.0;
    let mut high = demands.iter().map(|demand| demand.wanted).fold(0.0, f64::max);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if granted(middle) <= limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demand(wanted: f64) -> Demand {
        Demand { wanted, least: 0.0 }
    }

    #[test]
    fn small_demands_are_met_and_large_ones_equal() {
        let demands = [10.0, 20.0, 500.0, 900.0].map(demand);
        let level = level(&demands, 330.0);
        let grants = demands.map(|demand| demand.grant(level).round());
        assert_eq!(grants, [10.0, 20.0, 150.0, 150.0]);
    }

    #[test]
    fn demands_that_fit_are_met() {
        assert_eq!(level(&[10.0, 20.0].map(demand), 30.0), f64::INFINITY);
        assert_eq!(level(&[], 0.0), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn limit_is_kept_used_and_fair(
            wanted in proptest::collection::vec((0.0_f64..1e9, 0.0_f64..0.2), 1..60),
            limit in 1.0_f64..5e9,
        ) {
            let demands: Vec<_> = wanted
                .iter()
                .map(|&(wanted, least)| Demand { wanted, least: wanted * least })
                .collect();
            let level = level(&demands, limit);
            let grants: Vec<_> = demands.iter().map(|demand| demand.grant(level)).collect();
            let granted = grants.iter().sum::<f64>();
            let least = demands.iter().map(|demand| demand.least).sum::<f64>();
            let all = demands.iter().map(|demand| demand.wanted).sum::<f64>();
            prop_assert!(granted <= limit.max(least) * (1.0 + 1e-9));
            prop_assert!(granted >= limit.min(all) * (1.0 - 1e-6) - 1.0, "{granted} of {limit}");
            for (demand, grant) in demands.iter().zip(&grants) {
                prop_assert!(*grant >= demand.least && *grant <= demand.wanted);
                // A stream that is not granted all is granted no less than any other, minimums
                // aside.
                if *grant < demand.wanted {
                    let above_least = |(d, g): &(&Demand, &f64)| **g > d.least;
                    for (_, other) in demands.iter().zip(&grants).filter(above_least) {
                        prop_assert!(*grant >= *other * (1.0 - 1e-9));
                    }
                }
            }
        }
    }
}
