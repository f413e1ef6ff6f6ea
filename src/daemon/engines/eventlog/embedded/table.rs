//! The segments of one topic in order, and the end that readers wait on.
//!
//! Always holds: at least one segment is there, the last one is the writer's; the durable end only
//! grows; a segment leaves the table before its file is removed.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::index::Entry;
use super::segment::{Extent, Segment};
use crate::daemon::engines::eventlog::Bounds;

#[derive(Debug)]
pub(super) struct Table {
    segments: Mutex<VecDeque<Arc<Segment>>>,
    /// The offset the next record will get.
    end: watch::Sender<u64>,
}

/// Where an offset is to be looked for.
#[derive(Debug)]
pub(super) enum Place {
    /// In this segment, or at its end if it is the last.
    In(Arc<Segment>),
    Expired {
        earliest: u64,
    },
}

impl Table {
    /// `segments` in order; the last becomes the one to append to. `None` if there is none.
    pub(super) fn new(segments: VecDeque<Arc<Segment>>) -> Option<Self> {
        let end = segments.back()?.extent().end;
        Some(Self { segments: Mutex::new(segments), end: watch::Sender::new(end) })
    }

    pub(super) fn bounds(&self) -> Bounds {
        let segments = self.lock();
        let earliest = segments.front().map_or(0, |segment| segment.header.base);
        Bounds { earliest, end: self.end() }
    }

    pub(super) fn end(&self) -> u64 {
        *self.end.borrow()
    }

    /// Wakes whenever more is durable.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    pub(super) fn find(&self, offset: u64) -> Place {
        let segments = self.lock();
        let after = segments.partition_point(|segment| segment.header.base <= offset);
        match after.checked_sub(1).and_then(|at| segments.get(at)) {
            // An offset in a gap between two segments is the first one after the gap.
            Some(found) => match segments.get(after) {
                Some(next) if offset >= next.header.follows => Place::In(next.clone()),
                _ => Place::In(found.clone()),
            },
            None => Place::Expired {
                earliest: segments.front().map_or(0, |segment| segment.header.base),
            },
        }
    }

    /// The first segment behind the one that begins at `base`.
    pub(super) fn after(&self, base: u64) -> Option<Arc<Segment>> {
        let segments = self.lock();
        let at = segments.partition_point(|segment| segment.header.base <= base);
        segments.get(at).cloned()
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.lock().iter().cloned().collect()
    }

    /// Begins a new last segment.
    pub(super) fn push(&self, segment: Arc<Segment>) {
        let end = segment.extent().end;
        self.lock().push_back(segment);
        self.end.send_replace(end);
    }

    /// Shows more of the last segment to readers and wakes those who wait.
    pub(super) fn publish(&self, last: &Segment, extent: Extent, entries: &[Entry]) {
        last.publish(extent, entries);
        self.end.send_replace(extent.end);
    }

    /// Forgets the oldest segment, unless it is the last.
    pub(super) fn drop_oldest(&self) -> Option<Arc<Segment>> {
        let mut segments = self.lock();
        if segments.len() > 1 { segments.pop_front() } else { None }
    }

    /// Takes back what [`Self::drop_oldest`] gave.
    pub(super) fn restore_oldest(&self, segment: Arc<Segment>) {
        self.lock().push_front(segment);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Segment>>> {
        self.segments.lock()
    }
}
