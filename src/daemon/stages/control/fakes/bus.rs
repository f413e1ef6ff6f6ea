//! The fan-out bus that keeps what it carries.

use async_trait::async_trait;

use super::Journal;
use crate::daemon::engines::bus::{BusError, BusListener, BusMessage, BusSubscriptions, FanoutBus};
use crate::protocol::{NodeId, StreamId};

/// Notes what is published.
#[derive(Debug)]
pub(crate) struct FakeBus {
    journal: Journal,
}

impl FakeBus {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }
}

#[async_trait]
impl FanoutBus for FakeBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        for message in messages {
            self.journal.note(format!("bus {stream_id}: {message:?}"));
        }
        Ok(())
    }

    async fn listen(
        &self,
        _node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        Err(BusError::Unavailable("nobody listens here".to_owned()))
    }
}
