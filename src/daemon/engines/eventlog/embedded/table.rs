//! The segments of one topic in order, and the durable end that readers wait for.
//!
//! Always holds: there is at least one segment, and the last one is the writer's; the durable end
//! only grows; a segment leaves the table before its file is removed.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::index::IndexEntry;
use super::segment::{Extent, Segment};
use crate::daemon::engines::eventlog::Bounds;

#[derive(Debug)]
pub(super) struct SegmentTable {
    segments: Mutex<VecDeque<Arc<Segment>>>,
    /// The offset the next record will get.
    end: watch::Sender<u64>,
}

/// The location of an offset.
#[derive(Debug)]
pub(super) enum OffsetLocation {
    /// In this segment, or at its end if it is the last.
    In(Arc<Segment>),
    Expired {
        earliest: u64,
    },
}

impl SegmentTable {
    /// `segments` must be in order; the last one is appended to. Returns `None` if there is none.
    pub(super) fn new(segments: VecDeque<Arc<Segment>>) -> Option<Self> {
        let end = segments.back()?.extent().end;
        Some(Self { segments: Mutex::new(segments), end: watch::Sender::new(end) })
    }

    pub(super) fn bounds(&self) -> Bounds {
        let segments = self.segments.lock();
        let earliest = segments.front().map_or(0, |segment| segment.header.base);
        Bounds { earliest, end: self.end() }
    }

    pub(super) fn end(&self) -> u64 {
        *self.end.borrow()
    }

    /// Returns the offset after the last record that a reader may have seen. A record is visible a
    /// moment before [`Self::end`] includes it.
    pub(super) fn readable_end(&self) -> u64 {
        let last = self.segments.lock().back().cloned();
        last.map_or(0, |segment| segment.extent().end).max(self.end())
    }

    /// Notifies whenever the durable end grows.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    pub(super) fn find(&self, offset: u64) -> OffsetLocation {
        let segments = self.segments.lock();
        let after = segments.partition_point(|segment| segment.header.base <= offset);
        match after.checked_sub(1).and_then(|at| segments.get(at)) {
            // An offset in a gap between two segments means the first one after the gap.
            Some(found) => match segments.get(after) {
                Some(next) if offset >= next.header.follows => OffsetLocation::In(next.clone()),
                _ => OffsetLocation::In(found.clone()),
            },
            None => OffsetLocation::Expired {
                earliest: segments.front().map_or(0, |segment| segment.header.base),
            },
        }
    }

    /// Returns the segment after the one that begins at `base`.
    pub(super) fn after(&self, base: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.lock();
        let at = segments.partition_point(|segment| segment.header.base <= base);
        segments.get(at).cloned()
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.lock().iter().cloned().collect()
    }

    /// Returns whether the segment that begins at `base` is in the table.
    pub(super) fn contains(&self, base: u64) -> bool {
        self.segments.lock().iter().any(|segment| segment.header.base == base)
    }

    /// Adds a new last segment.
    pub(super) fn push(&self, segment: Arc<Segment>) {
        let end = segment.extent().end;
        self.segments.lock().push_back(segment);
        self.end.send_replace(end);
    }

    /// Extends the part of the last segment that readers see, and wakes those that wait.
    pub(super) fn publish(&self, last: &Segment, extent: Extent, entries: &[IndexEntry]) {
        last.publish(extent, entries);
        self.end.send_replace(extent.end);
    }

    /// Removes the oldest segment, unless it is the only one.
    pub(super) fn drop_oldest(&self) -> Option<Arc<Segment>> {
        let mut segments = self.segments.lock();
        if segments.len() > 1 { segments.pop_front() } else { None }
    }

    /// Adds the segment that [`Self::drop_oldest`] removed.
    pub(super) fn restore_oldest(&self, segment: Arc<Segment>) {
        self.segments.lock().push_front(segment);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::daemon::engines::eventlog::embedded::segment::SegmentHeader;

    #[test]
    fn a_record_that_was_read_can_be_committed() {
        let header = SegmentHeader { base: 1, follows: 1, created_ms: 0 };
        let last = Arc::new(Segment::empty(Path::new("unused"), header));
        let table = SegmentTable::new(VecDeque::from([last.clone()])).unwrap();
        assert_eq!((table.end(), table.readable_end()), (1, 1));
        let extent = Extent { end: 2, ..last.extent() };
        // The first half of a publication, which a reader may already see.
        last.publish(extent, &[]);
        assert_eq!((table.end(), table.readable_end()), (1, 2));
        table.publish(&last, extent, &[]);
        assert_eq!((table.end(), table.readable_end()), (2, 2));
    }
}
