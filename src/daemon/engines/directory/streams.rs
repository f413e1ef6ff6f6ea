//! The streams and their settings.

use std::sync::Arc;

use ahash::AHashMap;
use tokio::sync::{Mutex, watch};

use super::earlier_delays::EarlierDelays;
use super::snapshot::Snapshot;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::StreamId;
use crate::protocol::room::{RoomRules, RoomTerm};
use crate::protocol::stream::Stream;

/// Rooms whose blocked terms are read at once: at most about 25,000 terms.
const ROOMS_AT_ONCE: usize = 50;

/// All streams by id. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    store: SharedMetadataStore,
    by_id: Arc<Snapshot<AHashMap<StreamId, Arc<Stream>>>>,
    /// Only of rooms that ever had some.
    terms: Arc<Snapshot<AHashMap<StreamId, KnownTerms>>>,
    /// Held while a reload reads and stores, because that of one stream keeps what is known of the
    /// others.
    reloading: Arc<Mutex<()>>,
    reloaded: Arc<watch::Sender<()>>,
    earlier_delays: Arc<EarlierDelays>,
}

/// The blocked terms of a room.
#[derive(Debug, Clone)]
struct KnownTerms {
    /// The version in the store. The terms may be newer.
    version: u64,
    /// The same object as long as the terms do not change.
    terms: Arc<[RoomTerm]>,
}

impl KnownTerms {
    fn new(version: u64, terms: Vec<RoomTerm>, before: Option<&Self>) -> Self {
        match before.filter(|before| *before.terms == *terms) {
            Some(before) => Self { version, terms: before.terms.clone() },
            None => Self { version, terms: terms.into() },
        }
    }
}

impl Streams {
    pub async fn load(store: SharedMetadataStore) -> Result<Self, StoreError> {
        let streams = Self {
            store,
            by_id: Arc::default(),
            terms: Arc::default(),
            reloading: Arc::default(),
            reloaded: Arc::default(),
            earlier_delays: Arc::default(),
        };
        streams.reload().await?;
        Ok(streams)
    }

    /// Reads all streams again, and the blocked terms of the rooms where they have changed.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reloading.lock().await;
        let reload = self.by_id.begin();
        let reload_of_terms = self.terms.begin();
        let all = self.store.streams().await?;
        let terms = self.read_terms().await?;
        self.terms.finish(&reload_of_terms, terms);
        let by_id = all.into_iter().map(|stream| (stream.stream_id, Arc::new(stream))).collect();
        self.earlier_delays.compare(&self.by_id.get(), &by_id);
        self.by_id.finish(&reload, by_id);
        self.reloaded.send_replace(());
        Ok(())
    }

    /// Reads one stream and the blocked terms of its room again.
    pub async fn reload_stream(&self, stream_id: StreamId) -> Result<(), StoreError> {
        let _one_at_a_time = self.reloading.lock().await;
        let reload = self.by_id.begin();
        let reload_of_terms = self.terms.begin();
        let stream = self.store.stream(stream_id).await?;
        let read = self.store.room_terms(&[stream_id]).await?;
        let mut terms = AHashMap::clone(&self.terms.get());
        let before = terms.get(&stream_id);
        // The next reload finds the new version, and reads the terms of this room once more.
        let version = before.map_or(0, |before| before.version);
        let read = read.into_iter().map(|(_, term)| term).collect();
        let known = KnownTerms::new(version, read, before);
        terms.insert(stream_id, known);
        self.terms.finish(&reload_of_terms, terms);
        let mut by_id = AHashMap::clone(&self.by_id.get());
        match stream {
            Some(stream) => by_id.insert(stream_id, Arc::new(stream)),
            None => by_id.remove(&stream_id),
        };
        self.earlier_delays.compare(&self.by_id.get(), &by_id);
        self.by_id.finish(&reload, by_id);
        self.reloaded.send_replace(());
        Ok(())
    }

    /// Returns the terms of all rooms. Reads those whose version is not known here.
    async fn read_terms(&self) -> Result<AHashMap<StreamId, KnownTerms>, StoreError> {
        let versions = self.store.terms_versions().await?;
        let known = Arc::clone(&self.terms.get());
        let known_in = |stream_id: StreamId, version: u64| {
            known.get(&stream_id).filter(|known| known.version == version)
        };
        let changed = versions.iter().filter(|(id, version)| known_in(*id, *version).is_none());
        let changed: Vec<_> = changed.map(|(stream_id, _)| *stream_id).collect();
        let mut read: AHashMap<StreamId, Vec<RoomTerm>> = AHashMap::new();
        for rooms in changed.chunks(ROOMS_AT_ONCE) {
            for (stream_id, term) in self.store.room_terms(rooms).await? {
                read.entry(stream_id).or_default().push(term);
            }
        }
        let terms = versions.into_iter().map(|(stream_id, version)| {
            let terms = match known_in(stream_id, version) {
                Some(known) => known.clone(),
                None => {
                    let terms = read.remove(&stream_id).unwrap_or_default();
                    KnownTerms::new(version, terms, known.get(&stream_id))
                }
            };
            (stream_id, terms)
        });
        Ok(terms.collect())
    }

    /// Returns a receiver that is told of each reload from now on, whether or not a stream has
    /// changed.
    pub fn reloads(&self) -> watch::Receiver<()> {
        self.reloaded.subscribe()
    }

    /// Returns the rules of a stream's room; none for an unknown stream.
    pub fn room_rules(&self, stream_id: StreamId) -> RoomRules {
        self.get(stream_id).map(|stream| stream.room.in_force()).unwrap_or_default()
    }

    /// Returns whether comments of a room may be held back: it has a message delay, or may have had
    /// one or a longer one within the time of the longest.
    pub fn may_hold_back(&self, stream_id: StreamId) -> bool {
        let has_delay = self.get(stream_id).is_some_and(|stream| stream.room.delay_ms.is_some());
        has_delay || self.earlier_delays.may_have_had(stream_id)
    }

    /// Returns the blocked terms of a room; `None` if it has none. Pointers are equal as long as
    /// the terms are.
    pub fn room_terms(&self, stream_id: StreamId) -> Option<Arc<[RoomTerm]>> {
        let known = self.terms.get();
        let terms = &known.get(&stream_id)?.terms;
        (!terms.is_empty()).then(|| terms.clone())
    }

    pub fn get(&self, stream_id: StreamId) -> Option<Arc<Stream>> {
        self.by_id.get().get(&stream_id).cloned()
    }

    /// Returns all streams, ordered by id.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        let mut all: Vec<_> = self.by_id.get().values().cloned().collect();
        all.sort_by_key(|stream| stream.stream_id);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::engines::metadata::conformance::audit;
    use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
    use crate::protocol::room::{TermAction, TermsPatch};
    use crate::protocol::stream::ModerationMode;

    #[tokio::test]
    async fn streams_are_found_by_id_and_listed_in_order() {
        let store = InMemoryMetadata::default();
        for id in [3, 1, 2] {
            store.put_stream(stream(id, ModerationMode::Async));
        }
        let streams = Streams::load(Arc::new(store)).await.unwrap();
        let ids: Vec<_> = streams.all().iter().map(|stream| stream.stream_id.0).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(streams.get(StreamId(2)).unwrap().stream_id, StreamId(2));
        assert_eq!(streams.get(StreamId(9)), None);
    }

    #[tokio::test]
    async fn terms_are_new_only_when_they_change() {
        let store = Arc::new(InMemoryMetadata::default());
        for id in [1, 2] {
            store.put_stream(stream(id, ModerationMode::Async));
        }
        let streams = Streams::load(store.clone()).await.unwrap();
        assert_eq!(streams.room_terms(StreamId(1)), None);
        let change = async |stream, term: &str| {
            store.change_terms(StreamId(stream), &add(term), audit(1, "terms")).await.unwrap();
            streams.reload().await.unwrap();
            streams.room_terms(StreamId(1)).unwrap()
        };
        let first = change(1, "one").await;
        assert!(Arc::ptr_eq(&first, &change(2, "two").await), "those of another room changed");
        assert_eq!(change(1, "three").await.len(), 2);
    }

    fn add(term: &str) -> TermsPatch {
        let add = vec![RoomTerm { term: term.to_owned(), action: TermAction::Reject }];
        TermsPatch { add, remove: Vec::new() }
    }

    #[tokio::test]
    async fn only_terms_that_changed_are_read() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let store = Arc::new(InMemoryMetadata::watched(move |call| {
            if call == "room_terms" {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }));
        let rooms = 1..=ROOMS_AT_ONCE as u64 + 1;
        for id in rooms.clone() {
            store.put_stream(stream(id, ModerationMode::Async));
            store.change_terms(StreamId(id), &add("one"), audit(1, "terms")).await.unwrap();
        }
        let streams = Streams::load(store.clone()).await.unwrap();
        assert!(rooms.clone().all(|id| streams.room_terms(StreamId(id)).is_some()));
        assert_eq!(calls.swap(0, Ordering::SeqCst), 2, "so many rooms at once");
        streams.reload().await.unwrap();
        assert_eq!(calls.swap(0, Ordering::SeqCst), 0);
        let remove = vec!["one".to_owned()];
        let patch = TermsPatch { add: Vec::new(), remove };
        store.change_terms(StreamId(1), &patch, audit(1, "terms")).await.unwrap();
        streams.reload().await.unwrap();
        assert_eq!(calls.swap(0, Ordering::SeqCst), 1);
        assert_eq!(streams.room_terms(StreamId(1)), None);
    }

    #[tokio::test]
    async fn one_stream_is_read_without_the_others() {
        let store = Arc::new(InMemoryMetadata::default());
        for id in [1, 2] {
            store.put_stream(stream(id, ModerationMode::Async));
        }
        let streams = Streams::load(store.clone()).await.unwrap();
        for id in [1, 2] {
            store.put_stream(stream(id, ModerationMode::Sync));
            store.change_terms(StreamId(id), &add("one"), audit(1, "terms")).await.unwrap();
        }
        streams.reload_stream(StreamId(1)).await.unwrap();
        let mode = |id| streams.get(StreamId(id)).unwrap().moderation;
        assert_eq!((mode(1), mode(2)), (ModerationMode::Sync, ModerationMode::Async));
        let terms = streams.room_terms(StreamId(1)).unwrap();
        assert_eq!((terms.len(), streams.room_terms(StreamId(2))), (1, None));
        streams.reload().await.unwrap();
        assert!(Arc::ptr_eq(&terms, &streams.room_terms(StreamId(1)).unwrap()));
        assert_eq!(streams.room_terms(StreamId(2)).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_reload_updates_every_clone_or_none() {
        let store = Arc::new(InMemoryMetadata::default());
        store.put_stream(stream(1, ModerationMode::Async));
        let streams = Streams::load(store.clone()).await.unwrap();
        let clone = streams.clone();
        store.put_stream(stream(1, ModerationMode::Sync));
        assert_eq!(clone.get(StreamId(1)).unwrap().moderation, ModerationMode::Async);
        streams.reload().await.unwrap();
        assert_eq!(clone.get(StreamId(1)).unwrap().moderation, ModerationMode::Sync);
        store.set_down(true);
        assert!(streams.reload().await.is_err());
        assert_eq!(clone.get(StreamId(1)).unwrap().moderation, ModerationMode::Sync);
    }
}
