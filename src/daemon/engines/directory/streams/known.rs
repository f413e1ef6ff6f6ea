//! The streams and the blocked terms of their rooms, as reloads that overlap leave them: nothing
//! waits while a store is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::earlier_delays::EarlierDelays;
use crate::protocol::StreamId;
use crate::protocol::room::RoomTerm;
use crate::protocol::stream::Stream;

/// The state of all streams.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) streams: AHashMap<StreamId, Arc<Stream>>,
    /// Only of rooms that ever had some.
    terms: AHashMap<StreamId, KnownTerms>,
}

/// The blocked terms of a room.
#[derive(Debug, Clone)]
struct KnownTerms {
    /// The version in the store. The terms may be newer.
    version: u64,
    /// The same object as long as the terms do not change.
    terms: Arc<[RoomTerm]>,
}

/// The number of a reload. A reload with a higher number began later.
#[derive(Debug)]
pub(super) struct Reload(u64);

/// The state, with reloads of all streams and of one that may overlap. Of each stream it is that of
/// the last reload that began: one that read the store before a change never replaces one that read
/// it after the change.
#[derive(Debug, Default)]
pub(super) struct KnownStreams {
    known: ArcSwap<Known>,
    begun: AtomicU64,
    /// Held only to put together what was read.
    stored: Mutex<Stored>,
    earlier_delays: EarlierDelays,
}

/// The reloads that stored the state.
#[derive(Debug, Default)]
struct Stored {
    /// The number of the last reload of all streams.
    all: u64,
    /// Those of later reloads of one stream.
    one: AHashMap<StreamId, u64>,
}

/// The terms of all rooms, as far as they had to be read.
#[derive(Debug)]
pub(super) struct ReadTerms {
    versions: Vec<(StreamId, u64)>,
    /// The state when the versions were read.
    known: Arc<Known>,
    read: AHashMap<StreamId, Vec<RoomTerm>>,
}

impl Known {
    /// Returns the terms of a room; `None` if it never had some.
    pub(super) fn terms_of(&self, stream_id: StreamId) -> Option<&Arc<[RoomTerm]>> {
        self.terms.get(&stream_id).map(|known| &known.terms)
    }
}

impl KnownTerms {
    fn new(version: u64, terms: Vec<RoomTerm>, before: Option<&Self>) -> Self {
        match before.filter(|before| *before.terms == *terms) {
            Some(before) => Self { version, terms: before.terms.clone() },
            None => Self { version, terms: terms.into() },
        }
    }
}

impl KnownStreams {
    pub(super) fn get(&self) -> Guard<Arc<Known>> {
        self.known.load()
    }

    /// Returns whether a room may have had a longer delay in the time of the longest.
    pub(super) fn may_have_had_delay(&self, stream_id: StreamId) -> bool {
        self.earlier_delays.may_have_had(stream_id)
    }

    /// Begins a reload. Must be called before reading the store.
    pub(super) fn begin(&self) -> Reload {
        Reload(self.begun.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Stores all streams. Those that a later reload has stored stay as they are.
    pub(super) fn finish_all(&self, reload: &Reload, streams: Vec<Stream>, terms: ReadTerms) {
        let mut stored = self.stored.lock();
        if reload.0 <= stored.all {
            return;
        }
        let current = self.known.load_full();
        let streams = streams.into_iter().map(|stream| (stream.stream_id, Arc::new(stream)));
        let mut next = Known { streams: streams.collect(), terms: terms.after(&current) };
        stored.one.retain(|_, number| *number > reload.0);
        for stream_id in stored.one.keys() {
            put(&mut next.streams, *stream_id, current.streams.get(stream_id).cloned());
            put(&mut next.terms, *stream_id, current.terms.get(stream_id).cloned());
        }
        stored.all = reload.0;
        self.earlier_delays.compare(&current.streams, &next.streams);
        self.known.store(Arc::new(next));
    }

    /// Stores one stream, unless a later reload has stored it already.
    pub(super) fn finish_one(
        &self,
        reload: &Reload,
        stream_id: StreamId,
        stream: Option<Stream>,
        terms: Vec<RoomTerm>,
    ) {
        let mut stored = self.stored.lock();
        let last = stored.one.get(&stream_id).copied().unwrap_or(0).max(stored.all);
        if reload.0 <= last {
            return;
        }
        stored.one.insert(stream_id, reload.0);
        let current = self.known.load_full();
        let mut next = Known { streams: current.streams.clone(), terms: current.terms.clone() };
        put(&mut next.streams, stream_id, stream.map(Arc::new));
        let before = current.terms.get(&stream_id);
        if before.is_some() || !terms.is_empty() {
            // The next reload of all finds the new version, and reads the terms once more.
            let version = before.map_or(0, |before| before.version);
            next.terms.insert(stream_id, KnownTerms::new(version, terms, before));
        }
        self.earlier_delays.compare(&current.streams, &next.streams);
        self.known.store(Arc::new(next));
    }
}

impl ReadTerms {
    /// `versions` are those of all rooms that ever had terms.
    pub(super) fn new(versions: Vec<(StreamId, u64)>, known: Guard<Arc<Known>>) -> Self {
        Self { versions, known: Guard::into_inner(known), read: AHashMap::new() }
    }

    /// Returns the rooms whose terms are not known in their version.
    pub(super) fn missing(&self) -> impl Iterator<Item = StreamId> {
        let versions = self.versions.iter().copied();
        versions.filter(|room| self.unchanged(*room).is_none()).map(|(stream_id, _)| stream_id)
    }

    /// Adds a term that was read.
    pub(super) fn add(&mut self, stream_id: StreamId, term: RoomTerm) {
        self.read.entry(stream_id).or_default().push(term);
    }

    fn unchanged(&self, (stream_id, version): (StreamId, u64)) -> Option<&KnownTerms> {
        self.known.terms.get(&stream_id).filter(|known| known.version == version)
    }

    /// Returns the terms of all rooms. Those that are equal to the current ones are the same
    /// object.
    fn after(mut self, current: &Known) -> AHashMap<StreamId, KnownTerms> {
        let versions = std::mem::take(&mut self.versions);
        let terms = versions.into_iter().map(|(stream_id, version)| {
            let terms = match self.unchanged((stream_id, version)) {
                Some(unchanged) => unchanged.clone(),
                None => {
                    let terms = self.read.remove(&stream_id).unwrap_or_default();
                    KnownTerms::new(version, terms, current.terms.get(&stream_id))
                }
            };
            (stream_id, terms)
        });
        terms.collect()
    }
}

/// Sets or removes the value of a stream.
fn put<V>(map: &mut AHashMap<StreamId, V>, stream_id: StreamId, value: Option<V>) {
    match value {
        Some(value) => map.insert(stream_id, value),
        None => map.remove(&stream_id),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::protocol::room::TermAction;
    use crate::protocol::stream::ModerationMode::{self, Async, Off, Sync};

    const ONE: StreamId = StreamId(1);

    fn terms(words: &[&str]) -> Vec<RoomTerm> {
        let term = |word: &&str| RoomTerm { term: (*word).to_owned(), action: TermAction::Reject };
        words.iter().map(term).collect()
    }

    fn all(known: &KnownStreams, reload: &Reload, mode: ModerationMode) {
        let read = ReadTerms::new(Vec::new(), known.get());
        known.finish_all(reload, vec![stream(1, mode), stream(2, mode)], read);
    }

    fn one(known: &KnownStreams, reload: &Reload, mode: ModerationMode) {
        known.finish_one(reload, ONE, Some(stream(1, mode)), Vec::new());
    }

    fn modes(known: &KnownStreams) -> [ModerationMode; 2] {
        let known = known.get();
        [1, 2].map(|id| known.streams[&StreamId(id)].moderation)
    }

    #[test]
    fn the_reload_that_began_last_wins_per_stream() {
        let known = KnownStreams::default();
        all(&known, &known.begin(), Off);
        let [early_one, early_all, late_one, late_all] = [(); 4].map(|()| known.begin());
        one(&known, &late_one, Sync);
        one(&known, &early_one, Async);
        assert_eq!(modes(&known), [Sync, Off]);
        all(&known, &early_all, Async);
        assert_eq!(modes(&known), [Sync, Async], "the change of stream 1 is kept");
        all(&known, &late_all, Off);
        assert_eq!(modes(&known), [Off, Off]);
        all(&known, &early_all, Sync);
        one(&known, &late_one, Sync);
        assert_eq!(modes(&known), [Off, Off]);
        assert!(known.stored.lock().one.is_empty(), "what is covered is forgotten");
    }

    #[test]
    fn a_stream_that_is_gone_does_not_come_back() {
        let known = KnownStreams::default();
        all(&known, &known.begin(), Off);
        let early = known.begin();
        known.finish_one(&known.begin(), ONE, None, Vec::new());
        all(&known, &early, Off);
        assert_eq!(known.get().streams.len(), 1);
    }

    #[test]
    fn only_rooms_that_had_terms_are_kept() {
        let known = KnownStreams::default();
        one(&known, &known.begin(), Off);
        assert_eq!(known.get().terms_of(ONE), None);
        for words in [&["word"][..], &[]] {
            known.finish_one(&known.begin(), ONE, None, terms(words));
            assert_eq!(known.get().terms_of(ONE).unwrap().len(), words.len());
        }
    }
}
