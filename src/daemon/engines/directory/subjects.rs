//! The ids of users whose tokens name them by a text, in front of the metadata store.

use std::sync::Arc;

use moka::sync::Cache;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::single_flight::SingleFlight;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{SharedMetadataStore, Subject};
use crate::protocol::UserId;
use crate::protocol::admin::BreakerState;

/// Subjects that are remembered. Further ones push out those that were used least and longest ago,
/// which are then asked for again. About 20 MB when full.
const MAX_KNOWN: u64 = 250_000;

/// The ids of subjects. Cheap to clone.
///
/// Always holds: an id that was returned once is returned again without the store, as long as it
/// is remembered; ids never change, so none is ever stale. Callers that ask for the same subject at
/// one time share a call. While the breaker of the store is open the store is left alone: its
/// health check closes the breaker.
#[derive(Debug, Clone)]
pub struct Subjects {
    store: SharedMetadataStore,
    breaker: Arc<Breaker>,
    clock: SharedClock,
    known: Cache<u128, UserId>,
    loads: SingleFlight<u128, Result<UserId, IdUnavailable>>,
}

/// The id of a subject is not known, and the store does not tell it. Waiting helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user id that belongs to the token cannot be looked up now")]
pub struct IdUnavailable;

impl Subjects {
    pub fn new(store: SharedMetadataStore, breaker: Arc<Breaker>, clock: SharedClock) -> Self {
        Self::bounded(store, breaker, clock, MAX_KNOWN)
    }

    fn bounded(
        store: SharedMetadataStore,
        breaker: Arc<Breaker>,
        clock: SharedClock,
        max_known: u64,
    ) -> Self {
        let known = Cache::new(max_known);
        Self { store, breaker, clock, known, loads: SingleFlight::default() }
    }

    /// Returns the id of a subject, which gets one if it is new.
    ///
    /// # Errors
    /// The subject is not remembered, and the store does not answer.
    pub async fn id_of(&self, subject: &Subject) -> Result<UserId, IdUnavailable> {
        let key = subject.key();
        if let Some(user_id) = self.known.get(&key) {
            return Ok(user_id);
        }
        if self.breaker.state() != BreakerState::Closed {
            return Err(IdUnavailable);
        }
        let load = self.loads.join(key, || self.clone().load(subject.clone()));
        load.await
    }

    async fn load(self, subject: Subject) -> Result<UserId, IdUnavailable> {
        let found = self.store.id_of_subject(&subject, self.clock.now_ms()).await;
        match &found {
            Err(error @ StoreError::Unavailable(_)) => self.breaker.failed(error),
            _ => self.breaker.succeeded(),
        }
        match found {
            Ok(user_id) => {
                self.known.insert(subject.key(), user_id);
                Ok(user_id)
            }
            Err(error) => {
                tracing::debug!(%error, "the id of a subject is not known");
                Err(IdUnavailable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::daemon::base::clock::SystemClock;
    use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;

    fn subjects(max_known: u64) -> (Arc<InMemoryMetadata>, Subjects) {
        let store = Arc::new(InMemoryMetadata::default());
        let breaker = Arc::new(Breaker::new("metadata"));
        let subjects = Subjects::bounded(store.clone(), breaker, Arc::new(SystemClock), max_known);
        (store, subjects)
    }

    fn subject(name: &str) -> Subject {
        Subject::new("https://id.example", name).unwrap()
    }

    #[tokio::test]
    async fn a_known_subject_needs_no_store() {
        let (store, subjects) = subjects(100);
        let known = subjects.id_of(&subject("ann")).await.unwrap();
        store.set_down(true);
        assert_eq!(subjects.id_of(&subject("ann")).await, Ok(known));
        assert_eq!(subjects.id_of(&subject("bob")).await, Err(IdUnavailable));
        store.set_down(false);
        assert_ne!(subjects.id_of(&subject("bob")).await, Ok(known));
    }

    #[tokio::test]
    async fn an_open_breaker_spares_the_store() {
        let (store, subjects) = subjects(100);
        store.set_down(true);
        for user in 0..3 {
            assert!(subjects.id_of(&subject(&format!("user-{user}"))).await.is_err());
        }
        let calls = store.calls();
        assert_eq!((calls, subjects.breaker.state()), (3, BreakerState::Open));
        store.set_down(false);
        assert!(subjects.id_of(&subject("ann")).await.is_err());
        assert_eq!(store.calls(), calls, "the health check closes the breaker");
        subjects.breaker.succeeded();
        assert!(subjects.id_of(&subject("ann")).await.is_ok());
    }

    #[tokio::test]
    async fn callers_at_one_time_share_a_call() {
        let (store, subjects) = subjects(100);
        let ann = subject("ann");
        let ids = join_all((0..20).map(|_| subjects.id_of(&ann))).await;
        assert!(ids.iter().all(|id| id.is_ok() && *id == ids[0]));
        assert_eq!(store.calls(), 1);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let (_store, subjects) = subjects(10);
        for user in 0..200 {
            subjects.id_of(&subject(&format!("user-{user}"))).await.unwrap();
        }
        subjects.known.run_pending_tasks();
        assert!(subjects.known.entry_count() <= 10, "{}", subjects.known.entry_count());
    }
}
