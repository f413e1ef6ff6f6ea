//! Limits how many viewers connect per second, and tells the others when to retry.
//!
//! The limit is a token bucket: it admits a burst at once, then viewers at the configured rate. A
//! viewer that finds the bucket empty is given a retry time, one token interval after the time
//! given to the previous one. Viewers refused together therefore return one after the other, each
//! when a token is available for it. Slots are not reserved: an earlier arrival may take the token,
//! and the later one is then given a new retry time.
//!
//! Bounded: the state is two instants. Retry times lie at most [`MAX_WAIT`] ahead; beyond that the
//! wait is drawn at random from the upper half of [`MAX_WAIT`].

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The longest wait a viewer is told. By then other nodes or a restart may have added capacity.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);

/// The connection rate limit of one node.
#[derive(Debug)]
pub(crate) struct ConnectionRate {
    /// The time between two tokens. Zero means no limit.
    token_interval: Duration,
    /// The time in which an empty bucket fills.
    fill_time: Duration,
    state: Mutex<BucketState>,
}

#[derive(Debug)]
struct BucketState {
    /// The time at which the bucket will be full, or was last full. The bucket holds fewer tokens
    /// the further ahead this lies, and none when it lies `fill_time` ahead.
    full_at: Instant,
    /// The latest retry time that was given to a refused viewer.
    last_retry_at: Instant,
}

impl ConnectionRate {
    /// Returns a limit of `per_second` (0 means no limit) with a bucket of `burst` tokens (0 means
    /// the tokens of one second).
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let token_interval = match per_second {
            0 => Duration::ZERO,
            per_second => Duration::from_secs(1) / per_second,
        };
        let burst = if burst == 0 { per_second } else { burst };
        let now = Instant::now();
        let state = Mutex::new(BucketState { full_at: now, last_retry_at: now });
        Self { token_interval, fill_time: token_interval.saturating_mul(burst), state }
    }

    /// Takes a token, or returns how long the viewer should wait before it retries.
    pub(crate) fn try_admit(&self) -> Result<(), Duration> {
        if self.token_interval.is_zero() {
            return Ok(());
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        let full_at = state.full_at.max(now) + self.token_interval;
        if full_at - now <= self.fill_time {
            state.full_at = full_at;
            return Ok(());
        }
        let next_token_at = full_at - self.fill_time;
        let retry_at = next_token_at.max(state.last_retry_at + self.token_interval);
        let wait = retry_at - now;
        if wait > MAX_WAIT {
            return Err(MAX_WAIT.mul_f64(rand::random_range(0.5..=1.0)));
        }
        state.last_retry_at = retry_at;
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
    async fn beyond_the_burst_each_gets_a_retry_time_that_works() {
        let rate = ConnectionRate::new(100, 50);
        let start = Instant::now();
        assert_eq!((0..50).filter(|_| rate.try_admit().is_ok()).count(), 50);
        let waits: Vec<_> =
            (0..200).map(|_| rate.try_admit().unwrap_err().as_millis() as u64).collect();
        assert_eq!(waits, (1..=200).map(|slot| slot * 10).collect::<Vec<_>>());
        for wait in waits {
            at(wait, start).await;
            assert_eq!(rate.try_admit(), Ok(()), "after {wait} ms");
        }
        assert!(rate.try_admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_everybody_is_admitted() {
        let rate = ConnectionRate::new(0, 7);
        assert!((0..100_000).all(|_| rate.try_admit().is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_bounded_and_the_longest_are_random() {
        let rate = ConnectionRate::new(10, 0);
        let waits: Vec<_> = (0..2000).filter_map(|_| rate.try_admit().err()).collect();
        assert_eq!(waits.len(), 1990, "the burst is a second's worth");
        assert!(waits.iter().all(|wait| *wait <= MAX_WAIT));
        let beyond: std::collections::BTreeSet<_> = waits[300..].iter().collect();
        assert!(beyond.iter().all(|wait| **wait >= MAX_WAIT / 2));
        assert!(beyond.len() > 1000, "drawn at random");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bucket_admits_a_whole_burst_again() {
        let rate = ConnectionRate::new(10, 0);
        assert_eq!((0..1000).filter(|_| rate.try_admit().is_err()).count(), 990);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((0..20).filter(|_| rate.try_admit().is_ok()).count(), 10);
        assert_eq!(
            rate.try_admit(),
            Err(Duration::from_millis(1100)),
            "after a pause the first retry time is the next token"
        );
    }

    proptest! {
        /// In every time span at most the burst plus the tokens of that span are admitted, and a
        /// viewer that waits as told is admitted.
        #[test]
        fn no_time_span_exceeds_the_rate(
            per_second in 1_u32..2000,
            burst in 1_u32..100,
            pauses_us in prop::collection::vec(0_u64..20_000, 1..200),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let admitted = runtime.block_on(async {
                let rate = ConnectionRate::new(per_second, burst);
                let start = Instant::now();
                let mut admitted = Vec::new();
                for pause in pauses_us {
                    tokio::time::advance(Duration::from_micros(pause)).await;
                    if rate.try_admit().is_ok() {
                        admitted.push(start.elapsed());
                    }
                }
                let wait = loop {
                    match rate.try_admit() {
                        Ok(()) => admitted.push(start.elapsed()),
                        Err(wait) => break wait,
                    }
                };
                tokio::time::advance(wait).await;
                assert!(rate.try_admit().is_ok(), "refused after waiting {wait:?}");
                admitted
            });
            for (first, from) in admitted.iter().enumerate() {
                for (count, to) in admitted[first..].iter().enumerate() {
                    let refilled = (*to - *from).as_secs_f64() * f64::from(per_second);
                    prop_assert!(count as f64 <= f64::from(burst) + refilled + 1e-3);
                }
            }
        }
    }
}
