//! The streams and their settings.

mod earlier_delays;
mod known;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use self::known::{KnownStreams, ReadTerms};
use super::hidden_pins::HiddenPins;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::room::{RoomRules, RoomTerm};
use crate::protocol::stream::{Stream, StreamNotice};
use crate::protocol::{PinnedComment, StreamId};

/// Rooms whose blocked terms are read at once: at most about 25,000 terms.
const ROOMS_AT_ONCE: usize = 50;

/// All streams by id. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    store: SharedMetadataStore,
    known: Arc<KnownStreams>,
    reloaded: Arc<watch::Sender<()>>,
    hidden_pins: Arc<HiddenPins>,
}

impl Streams {
    pub async fn load(store: SharedMetadataStore) -> Result<Self, StoreError> {
        let known = Arc::default();
        let streams = Self { store, known, reloaded: Arc::default(), hidden_pins: Arc::default() };
        streams.reload().await?;
        Ok(streams)
    }

    /// Reads all streams again, and the blocked terms of the rooms where they have changed.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let reload = self.known.begin();
        let all = self.store.streams().await?;
        let terms = self.read_terms().await?;
        self.known.finish_all(&reload, all, terms);
        self.reloaded.send_replace(());
        Ok(())
    }

    /// Reads one stream and the blocked terms of its room again. Does not wait for a reload of all.
    pub async fn reload_stream(&self, stream_id: StreamId) -> Result<(), StoreError> {
        let reload = self.known.begin();
        let stream = self.store.stream(stream_id).await?;
        let terms = self.store.room_terms(&[stream_id]).await?;
        let terms = terms.into_iter().map(|(_, term)| term).collect();
        self.known.finish_one(&reload, stream_id, stream, terms);
        self.reloaded.send_replace(());
        Ok(())
    }

    /// Reads the terms of the rooms whose version is not known here.
    async fn read_terms(&self) -> Result<ReadTerms, StoreError> {
        let versions = self.store.terms_versions().await?;
        let mut read = ReadTerms::new(versions, self.known.get());
        let changed: Vec<_> = read.missing().collect();
        for rooms in changed.chunks(ROOMS_AT_ONCE) {
            for (stream_id, term) in self.store.room_terms(rooms).await? {
                read.add(stream_id, term);
            }
        }
        Ok(read)
    }

    /// Returns a receiver that is told of each reload from now on, whether or not a stream has
    /// changed.
    pub fn reloads(&self) -> watch::Receiver<()> {
        self.reloaded.subscribe()
    }

    /// Reports that the comment of a pin was deleted or hidden, for [`Self::hidden_pins`]. The
    /// whole pin is named, because the comment may be restored and pinned again meanwhile.
    pub fn report_hidden_pin(&self, stream_id: StreamId, pinned: Arc<PinnedComment>) {
        self.hidden_pins.report(stream_id, pinned);
    }

    /// Waits until pinned comments were reported as deleted or hidden, and returns them by stream,
    /// each once. Cancelling it loses nothing.
    pub async fn hidden_pins(&self) -> BTreeMap<StreamId, Arc<PinnedComment>> {
        self.hidden_pins.take().await
    }

    /// Returns the rules of a stream's room; none for an unknown stream.
    pub fn room_rules(&self, stream_id: StreamId) -> RoomRules {
        self.get(stream_id).map(|stream| stream.room.in_force()).unwrap_or_default()
    }

    /// Returns an event as its viewers are told of it.
    pub fn notice(&self, stream_id: StreamId) -> StreamNotice {
        self.get(stream_id).map(|stream| stream.notice()).unwrap_or_default()
    }

    /// Returns whether comments of a room may be held back: it has a message delay, or may have had
    /// one or a longer one within the time of the longest.
    pub fn may_hold_back(&self, stream_id: StreamId) -> bool {
        let has_delay = self.get(stream_id).is_some_and(|stream| stream.room.delay_ms.is_some());
        has_delay || self.known.may_have_had_delay(stream_id)
    }

    /// Returns the blocked terms of a room; `None` if it has none. Pointers are equal as long as
    /// the terms are.
    pub fn room_terms(&self, stream_id: StreamId) -> Option<Arc<[RoomTerm]>> {
        let known = self.known.get();
        let terms = known.terms_of(stream_id)?;
        (!terms.is_empty()).then(|| terms.clone())
    }

    pub fn get(&self, stream_id: StreamId) -> Option<Arc<Stream>> {
        self.known.get().streams.get(&stream_id).cloned()
    }

    /// Returns all streams, ordered by id.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        let mut all: Vec<_> = self.known.get().streams.values().cloned().collect();
        all.sort_by_key(|stream| stream.stream_id);
        all
    }
}

#[cfg(test)]
mod tests;
