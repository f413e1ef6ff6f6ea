//! One reading for all who ask within a time, so that many readers cost a dependency no more than
//! one.
//!
//! Always holds: a reading is taken once, however many wait for it; a failed one is shared as any
//! other. One that began after a caller asked is good for it, however long it took: readers do not
//! queue for a dependency that is slow or down. Unlike [`single_flight`](super::single_flight), a
//! reading is used for a while after it was taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The latest reading of something.
#[derive(Debug)]
pub(crate) struct SharedReading<T> {
    /// Locked while a reading is taken, so that it is taken once.
    last: Mutex<Option<Reading<T>>>,
    /// Incremented whenever earlier readings become stale.
    generation: AtomicU64,
}

#[derive(Debug)]
struct Reading<T> {
    began: Instant,
    generation: u64,
    value: Arc<T>,
}

impl<T> Default for SharedReading<T> {
    fn default() -> Self {
        Self { last: Mutex::default(), generation: AtomicU64::new(0) }
    }
}

impl<T> SharedReading<T> {
    /// Returns the latest reading that `fits` and began less than `max_age` before this call, or
    /// since. If there is none, `read` takes another, otherwise it is dropped.
    pub(crate) async fn latest(
        &self,
        max_age: Duration,
        fits: impl Fn(&T) -> bool,
        read: impl Future<Output = T>,
    ) -> Arc<T> {
        // By the time of the call, not of the lock: a reading that takes longer than `max_age` is
        // still good for those that waited for it.
        let asked = Instant::now();
        let wanted = self.generation.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        let is_usable = |reading: &&Reading<T>| {
            reading.generation >= wanted
                && asked.saturating_duration_since(reading.began) < max_age
                && fits(&reading.value)
        };
        if let Some(reading) = last.as_ref().filter(is_usable) {
            return reading.value.clone();
        }
        let generation = self.generation.load(Ordering::Acquire);
        let began = Instant::now();
        let value = Arc::new(read.await);
        *last = Some(Reading { began, generation, value: value.clone() });
        value
    }

    /// Makes readings that have begun before unfit for callers from now on.
    pub(crate) fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use futures_util::future::join_all;

    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(1);

    /// Counts readings; each takes 20 ms.
    #[derive(Debug, Default)]
    struct Source(AtomicU32);

    impl Source {
        async fn read(&self) -> u32 {
            let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            number
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readers_share_a_reading_until_it_is_old() {
        let source = Source::default();
        let shared = SharedReading::default();
        let read = || shared.latest(MAX_AGE, |_| true, source.read());
        let first = join_all((0..50).map(|_| read())).await;
        assert!(first.iter().all(|number| **number == 1), "{first:?}");
        tokio::time::advance(Duration::from_millis(979)).await;
        assert_eq!(*read().await, 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(*read().await, 2, "the age counts from its begin");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reading_serves_all_that_waited() {
        let source = Source::default();
        let shared = SharedReading::default();
        // Less than a reading takes.
        let max_age = Duration::from_millis(5);
        let read = || shared.latest(max_age, |_| true, source.read());
        let later = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            join_all((0..50).map(|_| read())).await
        };
        let (first, later) = tokio::join!(join_all((0..50).map(|_| read())), later);
        assert!(first.iter().all(|number| **number == 1), "{first:?}");
        assert!(later.iter().all(|number| **number == 2), "one for all of them: {later:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_makes_earlier_readings_stale() {
        let source = Source::default();
        let shared = SharedReading::default();
        let read = || shared.latest(MAX_AGE, |_| true, source.read());
        let early = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            shared.invalidate();
            *read().await
        };
        let (running, later) = tokio::join!(read(), early);
        assert_eq!((*running, later), (1, 2), "it had begun before the change");
        assert_eq!(*read().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_does_not_fit_is_taken_again() {
        let source = Source::default();
        let shared = SharedReading::default();
        let at_least = |wanted: u32| shared.latest(MAX_AGE, move |it| *it >= wanted, source.read());
        assert_eq!(*at_least(0).await, 1);
        assert_eq!(*at_least(2).await, 2);
        assert_eq!(*at_least(1).await, 2);
    }
}
