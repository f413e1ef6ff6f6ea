//! When comments of rooms with a message delay may be shown.

use std::time::Duration;

use super::Streams;
use crate::daemon::base::clock::SharedClock;
use crate::protocol::StreamId;

/// The message delays of all rooms. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Delays {
    streams: Streams,
    clock: SharedClock,
}

impl Delays {
    pub fn new(streams: Streams, clock: SharedClock) -> Self {
        Self { streams, clock }
    }

    /// Returns the message delay of a room in milliseconds; 0 if it has none.
    pub fn delay_ms(&self, stream_id: StreamId) -> u64 {
        self.streams.get(stream_id).and_then(|stream| stream.room.delay_ms).unwrap_or(0)
    }

    /// Returns the time until viewers may see a comment that was created at this time, in
    /// milliseconds since the Unix epoch. `None` if they may see it now. A clock that is behind
    /// that of the node that accepted the comment makes the time no longer than the delay.
    pub fn left(&self, stream_id: StreamId, created_at: u64) -> Option<Duration> {
        let delay_ms = self.streams.get(stream_id)?.room.delay_ms?;
        let age_ms = self.clock.now_ms().saturating_sub(created_at);
        let left_ms = delay_ms.saturating_sub(age_ms);
        (left_ms > 0).then(|| Duration::from_millis(left_ms))
    }
}
