//! Shares one load among all callers that ask for the same key while it runs.
//!
//! A caller that arrives while its key is being loaded waits for that load and receives a clone of
//! its result, errors included. A caller that arrives later starts a new load: nothing is cached.
//!
//! Always holds: a load continues as long as one caller waits for it, whichever caller started it,
//! and is dropped when all of them have left. A caller may receive data that was read shortly
//! before it asked. Where that would be wrong, [`SingleFlight::forget`] makes later callers start a
//! new load.
//!
//! Bounded by the number of waiting callers.

use std::hash::Hash;
use std::sync::Arc;

use ahash::AHashMap;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

type BoxedLoad<V> = BoxFuture<'static, V>;

/// A load that several callers wait for.
pub(crate) type SharedLoad<V> = Shared<BoxedLoad<V>>;

/// The loads that are running, by key. Clones share them.
#[derive(Debug)]
pub(crate) struct SingleFlight<K, V: Clone>(Arc<Mutex<RunningLoads<K, V>>>);

#[derive(Debug)]
struct RunningLoads<K, V: Clone> {
    by_key: AHashMap<K, RunningLoad<V>>,
    /// The id of the load that was started last.
    last_id: u64,
}

#[derive(Debug)]
struct RunningLoad<V: Clone> {
    id: u64,
    /// Weak, so that a load is dropped with the last caller that waits for it. A later caller must
    /// not continue an abandoned load, whose data may be old.
    load: WeakShared<BoxedLoad<V>>,
}

impl<K, V: Clone> Clone for SingleFlight<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(RunningLoads { by_key: AHashMap::new(), last_id: 0 })))
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Hash + Eq + Copy + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the running load of `key`, or starts one with `load`. The caller has joined it when
    /// this returns, even before it awaits the result.
    pub(crate) fn join<F>(&self, key: K, load: impl FnOnce() -> F) -> SharedLoad<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = self.0.lock();
        let joined = running.by_key.get(&key).and_then(|entry| entry.load.upgrade());
        // A load that has its result is over, even if its entry is still there.
        if let Some(load) = joined.filter(|load| load.peek().is_none()) {
            return load;
        }
        running.last_id += 1;
        let id = running.last_id;
        let entry = EntryGuard { running: self.0.clone(), key, id };
        let loading = load();
        let load = async move {
            let _entry = entry;
            loading.await
        };
        let load = load.boxed().shared();
        if let Some(weak) = load.downgrade() {
            running.by_key.insert(key, RunningLoad { id, load: weak });
        }
        load
    }

    /// Makes later callers start a new load for every key that `matches`. Callers that have joined
    /// keep their load.
    pub(crate) fn forget(&self, matches: impl Fn(&K) -> bool) {
        self.0.lock().by_key.retain(|key, _| !matches(key));
    }
}

/// Removes the entry of a load when the load has finished or was dropped.
struct EntryGuard<K: Hash + Eq, V: Clone> {
    running: Arc<Mutex<RunningLoads<K, V>>>,
    key: K,
    id: u64,
}

impl<K: Hash + Eq, V: Clone> Drop for EntryGuard<K, V> {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        if running.by_key.get(&self.key).is_some_and(|entry| entry.id == self.id) {
            running.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn concurrent_callers_share_a_load_later_ones_do_not() {
        let flights = SingleFlight::default();
        let loads = AtomicU32::new(0);
        let load = || std::future::ready(loads.fetch_add(1, Ordering::SeqCst));
        let joined: Vec<_> = (0..50).map(|_| flights.join(1, load)).collect();
        assert_eq!(flights.join(2, load).await, 1, "another key");
        assert_eq!(futures_util::future::join_all(joined).await, [0; 50]);
        assert_eq!(flights.join(1, load).await, 2);
        assert!(flights.0.lock().by_key.is_empty());
    }

    #[tokio::test]
    async fn an_abandoned_load_is_started_again() {
        let flights = SingleFlight::default();
        let never = flights.join(1, std::future::pending::<u32>);
        assert!(never.clone().now_or_never().is_none());
        drop(never);
        assert!(flights.0.lock().by_key.is_empty());
        assert_eq!(flights.join(1, || async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn nobody_joins_a_forgotten_load() {
        let flights = SingleFlight::default();
        let early = flights.join(1, || async { 1 });
        flights.forget(|key| *key == 1);
        assert_eq!(flights.join(1, || async { 2 }).await, 2);
        assert_eq!(early.await, 1);
    }
}
