//! The streams and their settings.

use std::sync::Arc;

use ahash::AHashMap;
use tokio::sync::watch;

use super::snapshot::Snapshot;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::StreamId;
use crate::protocol::room::{RoomRules, RoomTerm};
use crate::protocol::stream::Stream;

/// All streams by id. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    store: SharedMetadataStore,
    by_id: Arc<Snapshot<AHashMap<StreamId, Arc<Stream>>>>,
    /// Only of rooms that have some. Those that a reload does not change stay the same object.
    terms: Arc<Snapshot<AHashMap<StreamId, Arc<[RoomTerm]>>>>,
    reloaded: Arc<watch::Sender<()>>,
}

impl Streams {
    pub async fn load(store: SharedMetadataStore) -> Result<Self, StoreError> {
        let streams =
            Self { store, by_id: Arc::default(), terms: Arc::default(), reloaded: Arc::default() };
        streams.reload().await?;
        Ok(streams)
    }

    /// Reads all streams and the blocked terms of their rooms again.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let reload = self.by_id.begin();
        let reload_of_terms = self.terms.begin();
        let all = self.store.streams().await?;
        let terms = by_stream(self.store.room_terms().await?);
        self.terms.finish(&reload_of_terms, unchanged_as_before(terms, &self.terms.get()));
        let by_id = all.into_iter().map(|stream| (stream.stream_id, Arc::new(stream))).collect();
        self.by_id.finish(&reload, by_id);
        self.reloaded.send_replace(());
        Ok(())
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

    /// Returns the blocked terms of a room; `None` if it has none. Pointers are equal as long as
    /// the terms are.
    pub fn room_terms(&self, stream_id: StreamId) -> Option<Arc<[RoomTerm]>> {
        self.terms.get().get(&stream_id).cloned()
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

fn by_stream(terms: Vec<(StreamId, RoomTerm)>) -> AHashMap<StreamId, Arc<[RoomTerm]>> {
    let mut by_stream: AHashMap<StreamId, Vec<RoomTerm>> = AHashMap::new();
    for (stream_id, term) in terms {
        by_stream.entry(stream_id).or_default().push(term);
    }
    by_stream.into_iter().map(|(stream_id, terms)| (stream_id, terms.into())).collect()
}

/// Returns the terms, those that are equal to the ones before as the same object.
fn unchanged_as_before(
    mut terms: AHashMap<StreamId, Arc<[RoomTerm]>>,
    before: &AHashMap<StreamId, Arc<[RoomTerm]>>,
) -> AHashMap<StreamId, Arc<[RoomTerm]>> {
    for (stream_id, new) in &mut terms {
        if let Some(old) = before.get(stream_id).filter(|old| *old == new) {
            *new = old.clone();
        }
    }
    terms
}

#[cfg(test)]
mod tests {
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
        let add = async |stream, term: &str| {
            let add = vec![RoomTerm { term: term.to_owned(), action: TermAction::Reject }];
            let patch = TermsPatch { add, remove: Vec::new() };
            store.change_terms(StreamId(stream), &patch, audit(1, "terms")).await.unwrap();
            streams.reload().await.unwrap();
            streams.room_terms(StreamId(1)).unwrap()
        };
        let first = add(1, "one").await;
        assert!(Arc::ptr_eq(&first, &add(2, "two").await), "those of another room changed");
        assert_eq!(add(1, "three").await.len(), 2);
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
