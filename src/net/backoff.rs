//! Exponential back-off: pauses that double from a first to a longest one.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// The bounds of a [`Backoff`], kept as a constant beside the retry loop.
#[derive(Debug, Clone, Copy)]
pub struct BackoffBounds {
    pub first: Duration,
    pub longest: Duration,
}

impl BackoffBounds {
    /// Starts a sequence of pauses: `first`, twice that, and so on up to `longest`.
    pub fn start(self) -> Backoff {
        Backoff { bounds: self, pauses: self.pauses() }
    }

    fn pauses(self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_factor(2.0)
            .without_max_times()
            .build()
    }
}

/// The pauses between the attempts of one retry loop.
#[derive(Debug)]
pub struct Backoff {
    bounds: BackoffBounds,
    pauses: ExponentialBackoff,
}

impl Backoff {
    /// Returns the pause before the next attempt; the one after it is twice as long, up to the
    /// longest.
    pub fn next_pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.bounds.longest)
    }

    /// Returns the next pause, shortened at random to at least half of it, so that clients that
    /// failed together do not retry together.
    pub fn next_pause_with_jitter(&mut self) -> Duration {
        self.next_pause().mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Makes the next pause the first one again. Called after a success.
    pub fn reset(&mut self) {
        self.pauses = self.bounds.pauses();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: BackoffBounds =
        BackoffBounds { first: Duration::from_millis(250), longest: Duration::from_secs(2) };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = BOUNDS.start();
        for expected_ms in [250, 500, 1_000, 2_000, 2_000, 2_000] {
            assert_eq!(backoff.next_pause(), Duration::from_millis(expected_ms));
        }
        for _ in 0..10_000 {
            assert_eq!(backoff.next_pause(), BOUNDS.longest);
        }
    }

    #[test]
    fn a_success_starts_with_the_first_again() {
        let mut backoff = BOUNDS.start();
        backoff.next_pause();
        backoff.next_pause();
        backoff.reset();
        assert_eq!(backoff.next_pause(), BOUNDS.first);
    }

    #[test]
    fn jitter_shortens_to_no_less_than_half() {
        let mut backoff = BOUNDS.start();
        for longest_ms in [250, 500, 1_000, 2_000] {
            let pause = backoff.next_pause_with_jitter();
            let longest = Duration::from_millis(longest_ms);
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
        }
    }
}
