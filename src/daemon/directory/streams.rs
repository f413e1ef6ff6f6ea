//! The streams and their settings.

use std::sync::Arc;

use ahash::AHashMap;
use arc_swap::ArcSwap;

use crate::daemon::store::StoreError;
use crate::daemon::store::metadata::SharedMetadataStore;
use crate::protocol::StreamId;
use crate::protocol::stream::Stream;

/// All streams by id. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    store: SharedMetadataStore,
    by_id: Arc<ArcSwap<AHashMap<StreamId, Arc<Stream>>>>,
}

impl Streams {
    pub async fn load(store: SharedMetadataStore) -> Result<Self, StoreError> {
        let streams = Self { store, by_id: Arc::default() };
        streams.reload().await?;
        Ok(streams)
    }

    /// Reads all of them anew.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let all = self.store.streams().await?;
        let by_id = all.into_iter().map(|stream| (stream.stream_id, Arc::new(stream))).collect();
        self.by_id.store(Arc::new(by_id));
        Ok(())
    }

    pub fn get(&self, stream_id: StreamId) -> Option<Arc<Stream>> {
        self.by_id.load().get(&stream_id).cloned()
    }

    /// All, by id.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        let mut all: Vec<_> = self.by_id.load().values().cloned().collect();
        all.sort_by_key(|stream| stream.stream_id);
        all
    }
}
