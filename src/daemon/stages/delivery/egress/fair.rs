//! Max-min fairness: nobody is given more than it wants, and nobody less than another who is given
//! more, but for a minimum of each.

/// Halvings of the search: the level is then exact to a billionth of the largest demand.
const HALVINGS: u32 = 40;

/// What one stream wants, and what it is given in any case; `least` is at most `wanted`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub(super) wanted: f64,
    pub(super) least: f64,
}

impl Demand {
    /// What it is given at a level.
    pub(super) fn grant(self, level: f64) -> f64 {
        level.clamp(self.least, self.wanted)
    }
}

/// The highest level at which all grants together are no more than `limit`: infinite if all that is
/// wanted fits, 0 if not even the minimums do.
pub(super) fn level(demands: &[Demand], limit: f64) -> f64 {
    if demands.iter().map(|demand| demand.wanted).sum::<f64>() <= limit {
        return f64::INFINITY;
    }
    let granted = |level: f64| demands.iter().map(|demand| demand.grant(level)).sum::<f64>();
    let (mut low, mut high) = (0.0, demands.iter().map(|demand| demand.wanted).fold(0.0, f64::max));
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
    fn the_small_are_given_all_and_the_large_the_same() {
        let demands = [10.0, 20.0, 500.0, 900.0].map(demand);
        let level = level(&demands, 330.0);
        let grants = demands.map(|demand| demand.grant(level).round());
        assert_eq!(grants, [10.0, 20.0, 150.0, 150.0]);
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(level(&[10.0, 20.0].map(demand), 30.0), f64::INFINITY);
        assert_eq!(level(&[], 0.0), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn the_limit_is_kept_used_and_fair(
            wanted in proptest::collection::vec((0.0_f64..1e9, 0.0_f64..0.2), 1..60),
            limit in 1.0_f64..5e9,
        ) {
            let demands: Vec<_> = wanted
                .iter()
                .map(|&(wanted, least)| Demand { wanted, least: wanted * least })
                .collect();
            let level = level(&demands, limit);
            let grants: Vec<_> = demands.iter().map(|demand| demand.grant(level)).collect();
            let (granted, least) =
                (grants.iter().sum::<f64>(), demands.iter().map(|demand| demand.least).sum::<f64>());
            let all = demands.iter().map(|demand| demand.wanted).sum::<f64>();
            prop_assert!(granted <= limit.max(least) * (1.0 + 1e-9));
            prop_assert!(granted >= limit.min(all) * (1.0 - 1e-6) - 1.0, "{granted} of {limit}");
            for (demand, grant) in demands.iter().zip(&grants) {
                prop_assert!(*grant >= demand.least && *grant <= demand.wanted);
                // Who is not given all is given no less than anybody, minimums aside.
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
