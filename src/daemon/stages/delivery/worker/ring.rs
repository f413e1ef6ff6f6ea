//! The most recent frames of one stream, which viewers read by cursor.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::daemon::stages::delivery::frame::Frame;

/// A bounded queue of frames with absolute indices: the first frame ever pushed has index 0.
#[derive(Debug)]
pub(super) struct Ring {
    frames: VecDeque<Slot>,
    first: u64,
    weight_bytes: usize,
    max_frames: usize,
    max_bytes: usize,
    /// Comments in all frames ever pushed.
    comments: u64,
}

#[derive(Debug)]
struct Slot {
    frame: Arc<Frame>,
    /// Comments in all frames before this one.
    comments_before: u64,
}

impl Ring {
    pub(super) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            first: 0,
            weight_bytes: 0,
            max_frames,
            max_bytes,
            comments: 0,
        }
    }

    /// Appends a frame and drops the oldest ones beyond the bounds. The newest always stays.
    pub(super) fn push(&mut self, frame: Arc<Frame>) {
        self.weight_bytes += frame.weight_bytes();
        let comments_before = self.comments;
        self.comments += frame.comments();
        self.frames.push_back(Slot { frame, comments_before });
        while self.frames.len() > self.max_frames
            || (self.weight_bytes > self.max_bytes && self.frames.len() > 1)
        {
            if let Some(slot) = self.frames.pop_front() {
                self.weight_bytes -= slot.frame.weight_bytes();
                self.first += 1;
            }
        }
    }

    /// Reports whether `waiting` frames of `waiting_bytes` and this one fit together.
    pub(super) fn holds(&self, waiting: u64, waiting_bytes: usize, frame: &Frame) -> bool {
        waiting < self.max_frames as u64 && waiting_bytes + frame.weight_bytes() <= self.max_bytes
    }

    /// Returns the index of the oldest frame.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the index of the next frame to be pushed.
    pub(super) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Returns the frame at an index, or `None` if it has left the ring or is yet to come.
    pub(super) fn get(&self, index: u64) -> Option<&Arc<Frame>> {
        let at = index.checked_sub(self.first)?;
        self.frames.get(usize::try_from(at).ok()?).map(|slot| &slot.frame)
    }

    /// Replaces frames by others of the same weight and number of comments.
    pub(super) fn replace(&mut self, with: impl Fn(&Frame) -> Option<Frame>) {
        for slot in &mut self.frames {
            if let Some(frame) = with(&slot.frame) {
                slot.frame = Arc::new(frame);
            }
        }
    }

    /// Returns the number of comments in all frames before an index. For a frame that has left
    /// the ring, those before the oldest frame.
    pub(super) fn comments_before(&self, index: u64) -> u64 {
        let at = index.saturating_sub(self.first) as usize;
        self.frames.get(at).map_or(self.comments, |slot| slot.comments_before)
    }

    /// Iterates from the newest frame to the oldest.
    pub(super) fn iter_back(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.frames.iter().rev().map(|slot| &slot.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::delivery::frame::Lane;
    use crate::protocol::ServerMessage;

    #[test]
    fn oldest_are_dropped_and_indices_stay() {
        let mut ring = Ring::new(3, usize::MAX);
        for viewers in 0..5 {
            ring.push(Arc::new(Frame::new(Lane::Ordered, ServerMessage::Presence { viewers })));
        }
        assert_eq!((ring.first(), ring.end()), (2, 5));
        assert!(ring.get(1).is_none() && ring.get(5).is_none());
        assert_eq!(ring.get(4).unwrap().message(), &ServerMessage::Presence { viewers: 4 });
    }

    #[test]
    fn bytes_bound_the_ring_but_the_newest_stays() {
        let mut ring = Ring::new(100, 1);
        (0..5).for_each(|_| ring.push(Arc::new(Frame::new(Lane::Ordered, ServerMessage::Pong))));
        assert_eq!(ring.end() - ring.first(), 1);
    }
}
