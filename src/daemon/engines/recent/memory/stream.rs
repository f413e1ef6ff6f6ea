//! The last events of one stream, in chunks that a reader shares instead of copying events under
//! the lock.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::daemon::engines::recent::RecentEvent;
use crate::protocol::Seq;

/// Largest number of events of one chunk.
const CHUNK_EVENTS: usize = 256;
/// Memory of a stream without any event: its entries in the two maps.
const STREAM_BYTES: usize = 256;
/// Memory of a chunk beside its events: its reference counts and its place in the queue.
const CHUNK_BYTES: usize = 16 + size_of::<Chunk>();
/// Reference counts of a text shared by `Arc`.
const TEXT_BYTES: usize = 16;

/// Consecutive events, never empty. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) events: Arc<[RecentEvent]>,
    bytes: usize,
}

impl Chunk {
    fn new(events: &[RecentEvent]) -> Self {
        let bytes = CHUNK_BYTES + events.iter().map(event_bytes).sum::<usize>();
        Self { events: events.into(), bytes }
    }

    fn last_seq(&self) -> Seq {
        self.events.last().map_or(0, RecentEvent::seq)
    }
}

fn event_bytes(event: &RecentEvent) -> usize {
    let text = match event {
        RecentEvent::Comment(comment) | RecentEvent::Own(comment) => {
            2 * TEXT_BYTES + comment.name.len() + comment.message.len()
        }
        RecentEvent::Deleted { deletion, .. } => TEXT_BYTES + deletion.reason.len(),
    };
    size_of::<RecentEvent>() + text
}

/// All events of a stream from `from` to `head`, both included.
#[derive(Debug)]
pub(super) struct RecentStream {
    from: Seq,
    /// The sequence number after the last one covered; `from` if none is.
    next: Seq,
    chunks: VecDeque<Chunk>,
    events: usize,
    bytes: usize,
    pub(super) last_use: u64,
}

impl RecentStream {
    pub(super) fn starting_at(from: Seq, last_use: u64) -> Self {
        let chunks = VecDeque::new();
        Self { from, next: from, chunks, events: 0, bytes: STREAM_BYTES, last_use }
    }

    pub(super) fn head(&self) -> Seq {
        self.next.saturating_sub(1)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the events up to `to_seq` that are new.
    pub(super) fn append(&mut self, to_seq: Seq, mut events: Vec<RecentEvent>, max_events: usize) {
        events.retain(|event| event.seq() >= self.next && event.seq() <= to_seq);
        // A small bound still makes several chunks, so that dropping the oldest keeps most events.
        for part in events.chunks((max_events / 4).clamp(1, CHUNK_EVENTS)) {
            let chunk = Chunk::new(part);
            self.events += part.len();
            self.bytes += chunk.bytes;
            self.chunks.push_back(chunk);
        }
        self.next = to_seq.saturating_add(1);
        while self.events > max_events {
            self.drop_oldest();
        }
    }

    pub(super) fn shrink_to_bytes(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes && !self.chunks.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.events -= chunk.events.len();
            self.bytes -= chunk.bytes;
            self.from = chunk.last_seq() + 1;
        }
    }

    /// Returns the chunks that hold all events after `seq`, and the head, or `None` if the stream
    /// is not kept that far back.
    pub(super) fn after(&self, seq: Seq) -> Option<(Vec<Chunk>, Seq)> {
        if seq.saturating_add(1) < self.from {
            return None;
        }
        let first = self.chunks.partition_point(|chunk| chunk.last_seq() <= seq);
        Some((self.chunks.range(first..).cloned().collect(), self.head()))
    }
}
