//! One loader per hot key: who asks the same while the answer is on its way shares it, an error too.
//!
//! Always holds: one caller that gives up takes nothing from the others. Who joins is answered with what
//! was read before it asked; where that must not be, [`Flights::forget`] says since when.
//!
//! Bounded by the callers that wait: a flight ends with its answer, or with the last of them.

use std::hash::Hash;
use std::sync::Arc;

use ahash::AHashMap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::{Mutex, MutexGuard};

pub(crate) type Flight<V> = BoxFuture<'static, V>;

/// Questions on their way. Cloning shares them.
#[derive(Debug)]
pub(crate) struct Flights<K, V: Clone>(Arc<Mutex<State<K, V>>>);

#[derive(Debug)]
struct State<K, V: Clone> {
    /// Weak: a question that everybody gave up must not be answered later with what it once saw.
    by_key: AHashMap<K, (u64, WeakShared<Flight<V>>)>,
    started: u64,
}

impl<K, V: Clone> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { by_key: AHashMap::new(), started: 0 })))
    }
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Copy + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The answer on its way, or else that of `load`. Joined at once, whenever it is waited for.
    pub(crate) fn join<F>(&self, key: K, load: impl FnOnce() -> F) -> Shared<Flight<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut state = lock(&self.0);
        let joined = state.by_key.get(&key).and_then(|(_, flight)| flight.upgrade());
        // One that has landed answers for the past.
        if let Some(flight) = joined.filter(|flight| flight.peek().is_none()) {
            return flight;
        }
        state.started += 1;
        let landing = Landing { flights: self.0.clone(), key, number: state.started };
        let loading = load();
        let flight = async move {
            let _landing = landing;
            loading.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            let number = state.started;
            state.by_key.insert(key, (number, weak));
        }
        flight
    }

    /// Lets nobody else join those whose key is chosen: they may have set out too early.
    pub(crate) fn forget(&self, chosen: impl Fn(&K) -> bool) {
        lock(&self.0).by_key.retain(|key, _| !chosen(key));
    }
}

/// Takes a flight off the board when it has its answer or was given up.
struct Landing<K: Hash + Eq, V: Clone> {
    flights: Arc<Mutex<State<K, V>>>,
    key: K,
    number: u64,
}

impl<K: Hash + Eq, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut state = lock(&self.flights);
        if state.by_key.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            state.by_key.remove(&self.key);
        }
    }
}

fn lock<K, V: Clone>(flights: &Mutex<State<K, V>>) -> MutexGuard<'_, State<K, V>> {
    // No method leaves half a change behind at a point that can panic.
    flights.lock()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_answer_and_who_asks_later_does_not() {
        let (flights, loads) = (Flights::default(), AtomicU32::new(0));
        let load = || std::future::ready(loads.fetch_add(1, Ordering::SeqCst));
        let asked: Vec<_> = (0..50).map(|_| flights.join(1, load)).collect();
        assert_eq!(flights.join(2, load).await, 1, "another question");
        assert_eq!(futures_util::future::join_all(asked).await, [0; 50]);
        assert_eq!(flights.join(1, load).await, 2);
        assert!(lock(&flights.0).by_key.is_empty());
    }

    #[tokio::test]
    async fn a_question_that_was_given_up_is_asked_anew() {
        let flights = Flights::default();
        let never = flights.join(1, std::future::pending::<u32>);
        assert!(never.clone().now_or_never().is_none());
        drop(never);
        assert!(lock(&flights.0).by_key.is_empty());
        assert_eq!(flights.join(1, || async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn nobody_joins_what_was_forgotten() {
        let flights = Flights::default();
        let early = flights.join(1, || async { 1 });
        flights.forget(|key| *key == 1);
        assert_eq!(flights.join(1, || async { 2 }).await, 2);
        assert_eq!(early.await, 1);
    }
}
