//! The shares at which a stream can be shown: ten per decade, so each is about four fifths of the
//! one above.

use crate::protocol::throttle::SampleRate;

/// In parts per million. The first shows everything.
const RUNGS_PPM: [u32; 21] = [
    1_000_000, 800_000, 630_000, 500_000, 400_000, 315_000, 250_000, 200_000, 160_000, 125_000,
    100_000, 80_000, 63_000, 50_000, 40_000, 31_500, 25_000, 20_000, 16_000, 12_500, 10_000,
];

/// The rung with the smallest share.
pub(super) const LOWEST: usize = RUNGS_PPM.len() - 1;

/// Returns the share of a rung.
///
/// # Panics
///
/// If `rung` is above [`LOWEST`].
pub(super) fn share(rung: usize) -> f64 {
    f64::from(RUNGS_PPM[rung]) / 1e6
}

/// Returns the share of a rung as the sample rate that viewers are sent.
pub(super) fn rate(rung: usize) -> SampleRate {
    SampleRate::from_share(share(rung)).unwrap_or(SampleRate::ALL)
}

/// Returns the rung with the smallest share that is at least `target`, or 0 if there is none.
pub(super) fn at_least(target: f64) -> usize {
    (0..=LOWEST).rev().find(|&rung| share(rung) >= target).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_about_four_fifths_apart() {
        for rung in 1..=LOWEST {
            let step = share(rung) / share(rung - 1);
            assert!((0.77..=0.81).contains(&step), "{step} to rung {rung}");
            assert_eq!(rate(rung).share(), share(rung));
        }
    }

    #[test]
    fn at_least_finds_the_nearest_sufficient_rung() {
        for target in [0.0, 0.001, 0.0123, 0.1, 0.55, 0.99, 1.0, 7.0, f64::INFINITY] {
            let rung = at_least(target);
            assert!(share(rung) >= target || rung == 0, "{target}");
            assert!(rung == LOWEST || share(rung + 1) < target, "{target}");
        }
    }
}
