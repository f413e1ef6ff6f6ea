//! The one ticker of supervised tasks.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Ticks every `period`, the first time after one period. A task that was late waits a whole period
/// again instead of catching up in a burst.
pub fn ticker(period: Duration) -> Interval {
    let mut ticker = interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Ticks at once, and then every `period` as [`ticker`] does.
pub fn ticker_from_now(period: Duration) -> Interval {
    let mut ticker = tokio::time::interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}
