//! How many viewers may come in a second, and when to come back for those beyond.
//!
//! A token bucket: as many as it holds come in at once, then as many a second as flow in. Who finds it
//! empty is given the next free place of the schedule in which tokens flow in, so that those who were
//! refused together neither return together nor are refused again by each other. Nothing is kept for
//! them: who comes first takes the token, and who finds none is given another place.
//!
//! Bounded: two numbers. A place beyond [`MAX_WAIT`] is not given; the wait is drawn from its upper half.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Longer than this nobody is told to stay away: by then other nodes, or a restart, may have helped.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// The limit of one node.
#[derive(Debug)]
pub(crate) struct ConnectionRate {
    /// In which one token flows in; zero without a limit.
    interval: Duration,
    /// In which an empty bucket fills.
    depth: Duration,
    schedule: Mutex<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    /// When the bucket is, or was, full.
    full_at: Instant,
    /// The last place that was given.
    given_to: Instant,
}

impl ConnectionRate {
    /// `per_second` 0 is no limit; `burst` 0 is one second's worth.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = match per_second {
            0 => Duration::ZERO,
            per_second => Duration::from_secs(1) / per_second,
        };
        let burst = if burst == 0 { per_second } else { burst };
        let now = Instant::now();
        let schedule = Mutex::new(Schedule { full_at: now, given_to: now });
        Self { interval, depth: interval.saturating_mul(burst), schedule }
    }

    /// Takes a token, or says how long to stay away.
    pub(crate) fn enter(&self) -> Result<(), Duration> {
        if self.interval.is_zero() {
            return Ok(());
        }
        let now = Instant::now();
        let mut schedule = self.schedule.lock();
        let full_at = schedule.full_at.max(now) + self.interval;
        if full_at - now <= self.depth {
            schedule.full_at = full_at;
            return Ok(());
        }
        let next_token = full_at - self.depth;
        let place = next_token.max(schedule.given_to + self.interval);
        let wait = place - now;
        if wait > MAX_WAIT {
            return Err(MAX_WAIT.mul_f64(rand::random_range(0.5..=1.0)));
        }
        schedule.given_to = place;
        Err(wait)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn at(ms: u64, start: Instant) {
        tokio::time::advance((start + Duration::from_millis(ms)) - Instant::now()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_burst_each_is_given_a_place_of_its_own_and_gets_in_there() {
        let (rate, start) = (ConnectionRate::new(100, 50), Instant::now());
        assert_eq!((0..50).filter(|_| rate.enter().is_ok()).count(), 50);
        let waits: Vec<_> =
            (0..200).map(|_| rate.enter().unwrap_err().as_millis() as u64).collect();
        assert_eq!(waits, (1..=200).map(|place| place * 10).collect::<Vec<_>>());
        for wait in waits {
            at(wait, start).await;
            assert_eq!(rate.enter(), Ok(()), "after {wait} ms");
        }
        assert!(rate.enter().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_everybody_comes_in() {
        let rate = ConnectionRate::new(0, 7);
        assert!((0..100_000).all(|_| rate.enter().is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_away_for_long_and_the_last_not_for_the_same_time() {
        let rate = ConnectionRate::new(10, 0);
        let waits: Vec<_> = (0..2000).filter_map(|_| rate.enter().err()).collect();
        assert_eq!(waits.len(), 1990, "the burst is a second's worth");
        assert!(waits.iter().all(|wait| *wait <= MAX_WAIT));
        let beyond: std::collections::BTreeSet<_> = waits[300..].iter().collect();
        assert!(beyond.iter().all(|wait| **wait >= MAX_WAIT / 2));
        assert!(beyond.len() > 1000, "drawn at random");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_calm_nothing_of_a_storm_is_left() {
        let rate = ConnectionRate::new(10, 0);
        assert_eq!((0..1000).filter(|_| rate.enter().is_err()).count(), 990);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((0..20).filter(|_| rate.enter().is_ok()).count(), 10);
        assert_eq!(rate.enter(), Err(Duration::from_millis(1100)), "ten have a place already");
    }

    proptest! {
        /// Of all spans of time, none sees more come in than the burst and what flows in meanwhile;
        /// and who keeps to the waits gets in.
        #[test]
        fn no_span_of_time_sees_more_than_its_share(
            per_second in 1_u32..2000,
            burst in 1_u32..100,
            pauses_us in prop::collection::vec(0_u64..20_000, 1..200),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let entered = runtime.block_on(async {
                let (rate, start) = (ConnectionRate::new(per_second, burst), Instant::now());
                let mut entered = Vec::new();
                for pause in pauses_us {
                    tokio::time::advance(Duration::from_micros(pause)).await;
                    if rate.enter().is_ok() {
                        entered.push(start.elapsed());
                    }
                }
                let wait = loop {
                    match rate.enter() {
                        Ok(()) => entered.push(start.elapsed()),
                        Err(wait) => break wait,
                    }
                };
                tokio::time::advance(wait).await;
                assert!(rate.enter().is_ok(), "nobody else came after {wait:?}");
                entered
            });
            for (first, from) in entered.iter().enumerate() {
                for (count, to) in entered[first..].iter().enumerate() {
                    let flowed = (*to - *from).as_secs_f64() * f64::from(per_second);
                    prop_assert!(count as f64 <= f64::from(burst) + flowed + 1e-3);
                }
            }
        }
    }
}
