//! Records that the message delay of their room holds back.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tracing::debug;

use super::{BroadcastError, Coordinator};
use crate::daemon::engines::eventlog::{Position, Topic};
use crate::daemon::stages::broadcast::held::{MAX_TOTAL_BYTES, StreamRecord, max_bytes_per_stream};
use crate::protocol::StreamId;

impl Coordinator {
    /// Adds a record to the batch of its stream, or holds it back until it is due.
    pub(super) async fn accept(
        &mut self,
        position: Position,
        stream_id: StreamId,
        record: StreamRecord,
        due: Option<Instant>,
    ) -> Result<(), BroadcastError> {
        let state = self.state(stream_id, position);
        if state.accept(position.offset, record, due) {
            self.waiting.insert(stream_id);
            return self.publish_if_full(stream_id).await;
        }
        self.delayed.insert(stream_id);
        Ok(())
    }

    /// Moves records whose delay is over into the batches of their streams.
    pub(super) async fn release_due(&mut self) -> Result<(), BroadcastError> {
        let now = Instant::now();
        let held = self.delayed.iter().filter_map(|stream_id| self.streams.get(stream_id));
        let held = held.map(|state| state.held.bytes()).collect();
        let max_bytes = max_bytes_per_stream(held, MAX_TOTAL_BYTES);
        for stream_id in self.delayed.iter().copied().collect::<Vec<_>>() {
            while let Some(state) = self.streams.get_mut(&stream_id)
                && state.release(now, max_bytes)
            {
                self.waiting.insert(stream_id);
                if !state.pending.is_full() {
                    break;
                }
                self.publish(stream_id).await?;
            }
            if self.streams.get(&stream_id).is_none_or(|state| state.held.is_empty()) {
                self.delayed.remove(&stream_id);
            }
        }
        Ok(())
    }

    /// Remembers which records of new partitions are replayed. A delayed room makes that up to the
    /// longest delay of all rooms of the partition, read at once.
    pub(super) async fn find_replayed(&mut self, assigned: &[Position]) {
        for Position { partition, offset } in assigned {
            let end = match self.parts.log.bounds(Topic::CommentEvents, *partition).await {
                Ok(bounds) => bounds.end,
                Err(error) => {
                    debug!(partition, %error, "end of the log unknown; replayed comments count");
                    *offset
                }
            };
            self.replayed_to.insert(*partition, end);
        }
    }

    /// Returns whether a record was in the log before this node began to read its partition. It
    /// says nothing about the rate of its stream now.
    pub(super) fn is_replayed(&self, position: Position) -> bool {
        self.replayed_to.get(&position.partition).is_some_and(|end| position.offset < *end)
    }

    /// Reports the number of records of each partition that lie behind the position to commit and
    /// were read nevertheless. They are no lag.
    pub(super) fn report_held(&self, positions: &[Position]) {
        self.parts.board.set_held_records(self.held_records(positions));
    }

    fn held_records(&self, positions: &[Position]) -> BTreeMap<u32, u64> {
        let held = |position: &Position| {
            let read = self.next.get(&position.partition).copied().unwrap_or(position.offset);
            (position.partition, read.saturating_sub(position.offset))
        };
        positions.iter().map(held).filter(|(_, held)| *held > 0).collect()
    }

    /// Returns the positions to commit: those of the next records, or of the oldest that wait.
    pub(super) fn positions(&self) -> Vec<Position> {
        let mut next = self.next.clone();
        for state in self.delayed.iter().filter_map(|stream_id| self.streams.get(stream_id)) {
            if let Some(first) = state.held.first_seq()
                && let Some(offset) = next.get_mut(&state.partition)
            {
                *offset = first.min(*offset);
            }
        }
        next.into_iter().map(|(partition, offset)| Position { partition, offset }).collect()
    }
}

/// Nothing is held back here any longer, whatever ended the run: what is behind is lag.
impl Drop for Coordinator {
    fn drop(&mut self) {
        self.parts.board.set_held_records(BTreeMap::new());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::base::config::BroadcastConfig;
    use crate::daemon::base::status::StatusBoard;
    use crate::daemon::engines::eventlog::{LogTelemetry, Polled};
    use crate::daemon::stages::broadcast::coordinator::CoordinatorParts;
    use crate::daemon::stages::broadcast::overrides::RateOverrides;
    use crate::daemon::testing::bus::TestBus;
    use crate::daemon::testing::event_log::InMemoryLog;
    use crate::daemon::testing::recent::TestRecent;

    #[tokio::test]
    async fn a_revoked_partition_holds_nothing() {
        let board = StatusBoard::default();
        let mut coordinator = Coordinator::new(CoordinatorParts {
            log: Arc::new(InMemoryLog::shaped(2, 1)),
            log_telemetry: LogTelemetry::default(),
            bus: Arc::new(TestBus::default()),
            recent: Arc::new(TestRecent::default()),
            board: board.clone(),
            config: Arc::new(BroadcastConfig::default()),
            overrides: RateOverrides::new(Arc::new(TokioClock::starting_at(Duration::ZERO))),
            delays: None,
        });
        for (partition, stream) in [(0, 1), (1, 2)] {
            let position = Position { partition, offset: 5 };
            let stream_id = StreamId(stream);
            let due = Some(Instant::now() + Duration::from_secs(5));
            coordinator.accept(position, stream_id, StreamRecord::Nothing, due).await.unwrap();
            coordinator.next.insert(partition, 8);
        }
        coordinator.report_held(&coordinator.positions());
        assert_eq!(board.held_records(), BTreeMap::from([(0, 3), (1, 3)]));
        let polled = Polled { records: Vec::new(), assigned: Vec::new(), revoked: vec![0] };
        coordinator.process(polled).await.unwrap();
        assert_eq!(board.held_records(), BTreeMap::from([(1, 3)]));
    }
}
