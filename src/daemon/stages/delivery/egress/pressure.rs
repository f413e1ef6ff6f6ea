//! A limit found by looking at the sockets: lowered while too many are full, raised while they are
//! not, gone when it no longer limits anything.

use std::time::Duration;

use super::meter::Reading;

/// Full sockets must be seen for this long before the limit is lowered, and again before it is
/// lowered further.
const LOWER_AFTER: Duration = Duration::from_secs(1);
/// To this part of what was sent.
const LOWER_TO: f64 = 0.85;
/// It is raised by this part a second.
const RAISE_BY: f64 = 0.08;
/// Fewer full sockets are slow viewers, not a full link.
const MIN_HELD_UP: u64 = 16;
/// A limit this much above what is wanted is none.
const ENOUGH: f64 = 1.1;
/// The limit is never lower, in bytes a second.
const LEAST: f64 = 1_000.0;

#[derive(Debug)]
pub(super) struct Pressure {
    /// The share of held-up viewers from which on the sockets are taken to be full; 0: never.
    from: f64,
    limit: Option<f64>,
    full_for: Duration,
}

impl Pressure {
    pub(super) fn new(from: f64) -> Self {
        Self { from, limit: None, full_for: Duration::ZERO }
    }

    /// Bytes a second that the sockets seem to take, while that is less than what is wanted.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Takes note of the turns within `elapsed`; `held_up` are viewers whose socket is full now,
    /// `sent` and `wanted` bytes a second.
    pub(super) fn note(
        &mut self,
        turns: Reading,
        held_up: u64,
        (sent, wanted): (f64, f64),
        elapsed: Duration,
    ) {
        if self.from <= 0.0 {
            return;
        }
        let share = turns.held_up as f64 / turns.turns.max(1) as f64;
        if share >= self.from && held_up >= MIN_HELD_UP {
            self.full_for += elapsed;
            if self.full_for >= LOWER_AFTER {
                self.full_for = Duration::ZERO;
                let at_most = self.limit.unwrap_or(f64::INFINITY).min(sent);
                self.limit = Some((at_most * LOWER_TO).max(LEAST));
            }
            return;
        }
        self.full_for = Duration::ZERO;
        // Between the two the limit stays.
        if share < self.from / 2.0 {
            let raised = |limit: f64| limit * (1.0 + RAISE_BY * elapsed.as_secs_f64());
            self.limit = self.limit.map(raised).filter(|limit| *limit < wanted * ENOUGH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::delivery::egress::TICK;

    fn turns(held_up: u64) -> Reading {
        Reading { sent_bytes: 0, turns: 1_000, held_up }
    }

    fn note(pressure: &mut Pressure, held_up: u64, ticks: u32) -> Option<f64> {
        let rates = (1e6, 1e6);
        (0..ticks).for_each(|_| pressure.note(turns(held_up), held_up, rates, TICK));
        pressure.limit()
    }

    #[test]
    fn a_few_slow_viewers_are_no_full_link() {
        let mut pressure = Pressure::new(0.25);
        assert_eq!(note(&mut pressure, 249, 1_000), None);
        let mut small = Pressure::new(0.25);
        for _ in 0..1_000 {
            small.note(Reading { sent_bytes: 0, turns: 20, held_up: 15 }, 15, (1e6, 1e6), TICK);
        }
        assert_eq!(small.limit(), None);
    }

    #[test]
    fn a_full_link_lowers_the_limit_again_and_again_and_a_moment_does_not() {
        let mut pressure = Pressure::new(0.25);
        assert_eq!(note(&mut pressure, 900, 3), None);
        assert_eq!(note(&mut pressure, 0, 1), None);
        assert_eq!(note(&mut pressure, 900, 3), None);
        assert_eq!(note(&mut pressure, 900, 1), Some(850_000.0));
        assert_eq!(note(&mut pressure, 900, 4), Some(722_500.0));
        assert_eq!(note(&mut pressure, 200, 100), Some(722_500.0), "neither full nor empty");
    }

    #[test]
    fn it_goes_when_the_sockets_drain() {
        let mut pressure = Pressure::new(0.25);
        note(&mut pressure, 900, 8);
        let raised = note(&mut pressure, 0, 4).unwrap();
        assert!((770_000.0..800_000.0).contains(&raised), "{raised}");
        assert_eq!(note(&mut pressure, 0, 40), None);
    }

    #[test]
    fn it_can_be_turned_off() {
        assert_eq!(note(&mut Pressure::new(0.0), 1_000, 100), None);
    }
}
