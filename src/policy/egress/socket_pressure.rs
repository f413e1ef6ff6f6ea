//! A limit derived from the sockets: lowered while too many are full, raised while they are not,
//! and removed when it limits nothing.

use std::time::Duration;

/// Sockets must be full this long before the limit is lowered, and again before it is lowered
/// further.
const LOWER_AFTER: Duration = Duration::from_secs(1);
/// The limit is lowered to this part of the current rate.
const LOWER_TO: f64 = 0.85;
/// And raised by this part per second.
const RAISE_BY: f64 = 0.08;
/// Fewer full sockets mean slow viewers, not a full link.
const MIN_HELD_UP: u64 = 16;
/// A limit at this multiple of the demand is removed.
const ENOUGH: f64 = 1.1;
/// The lowest limit, in bytes per second.
const LEAST: f64 = 1_000.0;

/// Counters of what was written of one stream, at one moment, or the difference of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeterReading {
    /// Bytes that sockets took, without the overhead of TLS, TCP and IP.
    pub sent_bytes: u64,
    /// Visits of fan-outs to viewers.
    pub visits: u64,
    /// Visits that found the socket full, though it still drains.
    pub held_up: u64,
}

impl MeterReading {
    pub fn since(self, before: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes - before.sent_bytes,
            visits: self.visits - before.visits,
            held_up: self.held_up - before.held_up,
        }
    }
}

/// Measures of how full the viewers' sockets are.
#[derive(Debug, Clone, Copy)]
pub struct SocketLoad {
    /// Visits of fan-outs since the last tick, of all streams.
    pub visits: MeterReading,
    /// Viewers whose socket is full now.
    pub held_up: u64,
}

/// Bytes per second of all streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct EgressRates {
    pub(super) sent: f64,
    /// Rate if every stream were shown whole.
    pub(super) wanted: f64,
}

#[derive(Debug)]
pub(super) struct SocketPressure {
    /// Share of held-up visits from which on the sockets count as full; 0 disables the limit.
    from: f64,
    limit: Option<f64>,
    full_for: Duration,
}

impl SocketPressure {
    pub(super) fn new(from: f64) -> Self {
        Self { from, limit: None, full_for: Duration::ZERO }
    }

    /// Returns the bytes per second that the sockets seem to take, while that is less than the
    /// demand.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Updates the limit.
    pub(super) fn update(&mut self, sockets: SocketLoad, rates: EgressRates, elapsed: Duration) {
        if self.from <= 0.0 {
            return;
        }
        let share = sockets.visits.held_up as f64 / sockets.visits.visits.max(1) as f64;
        if share >= self.from && sockets.held_up >= MIN_HELD_UP {
            self.full_for += elapsed;
            if self.full_for >= LOWER_AFTER {
                self.full_for = Duration::ZERO;
                let at_most = self.limit.unwrap_or(f64::INFINITY).min(rates.sent);
                self.limit = Some((at_most * LOWER_TO).max(LEAST));
            }
            return;
        }
        self.full_for = Duration::ZERO;
        // Between the two thresholds the limit stays.
        if share < self.from / 2.0 {
            let raised = |limit: f64| limit * (1.0 + RAISE_BY * elapsed.as_secs_f64());
            self.limit = self.limit.map(raised).filter(|limit| *limit < rates.wanted * ENOUGH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::egress::TICK;

    const RATES: EgressRates = EgressRates { sent: 1e6, wanted: 1e6 };

    fn sockets(visits: u64, held_up: u64) -> SocketLoad {
        SocketLoad { visits: MeterReading { sent_bytes: 0, visits, held_up }, held_up }
    }

    fn update(pressure: &mut SocketPressure, held_up: u64, ticks: u32) -> Option<f64> {
        (0..ticks).for_each(|_| pressure.update(sockets(1_000, held_up), RATES, TICK));
        pressure.limit()
    }

    #[test]
    fn few_slow_viewers_set_no_limit() {
        let mut pressure = SocketPressure::new(0.25);
        assert_eq!(update(&mut pressure, 249, 1_000), None);
        let mut small = SocketPressure::new(0.25);
        for _ in 0..1_000 {
            small.update(sockets(20, 15), RATES, TICK);
        }
        assert_eq!(small.limit(), None);
    }

    #[test]
    fn full_link_lowers_the_limit_repeatedly() {
        let mut pressure = SocketPressure::new(0.25);
        assert_eq!(update(&mut pressure, 900, 3), None);
        assert_eq!(update(&mut pressure, 0, 1), None);
        assert_eq!(update(&mut pressure, 900, 3), None);
        assert_eq!(update(&mut pressure, 900, 1), Some(850_000.0));
        assert_eq!(update(&mut pressure, 900, 4), Some(722_500.0));
        assert_eq!(update(&mut pressure, 200, 100), Some(722_500.0), "neither full nor empty");
    }

    #[test]
    fn limit_is_removed_when_sockets_drain() {
        let mut pressure = SocketPressure::new(0.25);
        update(&mut pressure, 900, 8);
        let raised = update(&mut pressure, 0, 4).unwrap();
        assert!((770_000.0..800_000.0).contains(&raised), "{raised}");
        assert_eq!(update(&mut pressure, 0, 40), None);
    }

    #[test]
    fn zero_share_disables_the_limit() {
        assert_eq!(update(&mut SocketPressure::new(0.0), 1_000, 100), None);
    }
}
