//! The bus with a meter in front: how many messages are published, and how long a call takes.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{BusError, BusListener, BusMessage, BusSubscriptions, FanoutBus, SharedBus};
use crate::daemon::base::telemetry::StageMeter;
use crate::protocol::admin::BusNode;
use crate::protocol::{NodeId, StreamId};

/// Measures all publications of this node, on whatever path they go.
#[derive(Debug)]
pub struct MeasuredBus {
    bus: SharedBus,
    meter: Arc<StageMeter>,
}

impl MeasuredBus {
    pub fn new(bus: SharedBus, meter: Arc<StageMeter>) -> Self {
        Self { bus, meter }
    }
}

#[async_trait]
impl FanoutBus for MeasuredBus {
    async fn publish(
        &self,
        stream_id: StreamId,
        messages: Vec<BusMessage>,
    ) -> Result<(), BusError> {
        let count = messages.len() as u64;
        let began = Instant::now();
        let published = self.bus.publish(stream_id, messages).await;
        match published {
            Ok(()) => self.meter.pass(count, began.elapsed()),
            Err(_) => self.meter.refuse(count),
        }
        published
    }

    async fn probe(&self) -> Result<(), BusError> {
        self.bus.probe().await
    }

    async fn listen(
        &self,
        node: &NodeId,
    ) -> Result<(BusSubscriptions, Box<dyn BusListener>), BusError> {
        self.bus.listen(node).await
    }

    async fn sample(&self) {
        self.bus.sample().await;
    }

    fn servers(&self) -> Vec<BusNode> {
        self.bus.servers()
    }

    async fn servers_changed(&self) {
        self.bus.servers_changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::telemetry::Telemetry;
    use crate::daemon::engines::bus::conformance::number;
    use crate::daemon::testing::bus::TestBus;
    use crate::protocol::admin::StageName;

    #[tokio::test]
    async fn publications_and_failures_are_counted() {
        let telemetry = Telemetry::default();
        let inner = Arc::new(TestBus::default());
        let bus = MeasuredBus::new(inner.clone(), telemetry.stage(StageName::Bus));
        bus.publish(StreamId(1), vec![number(1), number(2)]).await.unwrap();
        inner.set_down(true);
        bus.publish(StreamId(1), vec![number(3)]).await.unwrap_err();
        telemetry.sample(&Default::default(), 0, std::path::Path::new("/"));
        let sample = telemetry.latest();
        let [stage] = &sample.stages[..] else { panic!("{sample:?}") };
        assert_eq!((stage.name, stage.items, stage.refused), (StageName::Bus, 2, 1));
        assert_eq!(stage.latency.count(), 2);
    }
}
