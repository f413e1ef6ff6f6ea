//! Message delays that were in force lately: comments that they hold back may still wait.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::protocol::StreamId;
use crate::protocol::room::LONGEST_DELAY_MS;
use crate::protocol::stream::Stream;

/// No comment waits longer after the delay of its room was lowered.
const LATELY: Duration = Duration::from_millis(LONGEST_DELAY_MS);

/// The rooms whose delay was lowered or switched off lately, as far as this node has seen it.
#[derive(Debug)]
pub(super) struct EarlierDelays {
    started: Instant,
    /// At most one entry per stream; old ones are dropped at the next reload.
    lowered: Mutex<AHashMap<StreamId, Instant>>,
}

impl Default for EarlierDelays {
    fn default() -> Self {
        Self { started: Instant::now(), lowered: Mutex::default() }
    }
}

impl EarlierDelays {
    /// Compares the streams before and after a reload.
    pub(super) fn compare(
        &self,
        before: &AHashMap<StreamId, Arc<Stream>>,
        after: &AHashMap<StreamId, Arc<Stream>>,
    ) {
        let now = Instant::now();
        let is_lowered = |stream_id: &StreamId, before: &Arc<Stream>| {
            let after = after.get(stream_id).and_then(|stream| stream.room.delay_ms);
            before.room.delay_ms > after
        };
        let mut lowered = self.lowered.lock();
        lowered.retain(|_, at| now.duration_since(*at) < LATELY);
        let found = before.iter().filter(|(stream_id, stream)| is_lowered(stream_id, stream));
        lowered.extend(found.map(|(stream_id, _)| (*stream_id, now)));
    }

    /// Returns whether a room may have had a longer delay in the last [`LONGEST_DELAY_MS`]. A node
    /// that started later than that does not know.
    pub(super) fn may_have_had(&self, stream_id: StreamId) -> bool {
        let lowered = self.lowered.lock().get(&stream_id).copied();
        self.started.elapsed() < LATELY || lowered.is_some_and(|at| at.elapsed() < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::protocol::stream::ModerationMode;

    fn streams(delays: [Option<u64>; 3]) -> AHashMap<StreamId, Arc<Stream>> {
        let with = |(number, delay_ms)| {
            let mut stream = stream(number, ModerationMode::Async);
            stream.room.delay_ms = delay_ms;
            (stream.stream_id, Arc::new(stream))
        };
        (1..).zip(delays).map(with).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lowered_delay_is_known_for_a_time() {
        let delays = EarlierDelays::default();
        let rooms = || [1, 2, 3].map(|number| delays.may_have_had(StreamId(number)));
        assert_eq!(rooms(), [true; 3], "nothing is known of the time before the start");
        tokio::time::advance(LATELY).await;
        assert_eq!(rooms(), [false; 3]);
        let before = streams([Some(5_000), Some(5_000), None]);
        delays.compare(&before, &streams([Some(1_000), None, Some(5_000)]));
        assert_eq!(rooms(), [true, true, false]);
        tokio::time::advance(LATELY - Duration::from_millis(1)).await;
        assert_eq!(rooms(), [true, true, false]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(rooms(), [false; 3]);
        delays.compare(&before, &before);
        assert!(delays.lowered.lock().is_empty());
    }
}
