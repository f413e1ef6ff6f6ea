//! The conformance suite of the contract.

use std::sync::Arc;

use super::{CleanUp, NODE, open, settings};
use crate::daemon::base::config::{Guarantee, KafkaConfig};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::eventlog::conformance::{Harness, eventlog_suite};
use crate::protocol::NodeId;

struct KafkaHarness {
    config: KafkaConfig,
    guarantee: Guarantee,
    log: SharedLog,
    _clean_up: CleanUp,
}

impl KafkaHarness {
    async fn start(guarantee: Guarantee) -> Self {
        let config = settings("conformance");
        let log = Arc::new(open(&config, guarantee).await);
        Self { _clean_up: CleanUp(config.clone()), config, guarantee, log }
    }
}

impl Harness for KafkaHarness {
    async fn start_another(&self) -> Self {
        Self::start(self.guarantee).await
    }

    fn log(&self) -> SharedLog {
        self.log.clone()
    }

    fn node(&self) -> Option<NodeId> {
        Some(NodeId::new(NODE))
    }

    async fn restart(&mut self) {
        self.log.close().await.unwrap();
        self.log = Arc::new(open(&self.config, self.guarantee).await);
    }
}

async fn guaranteeing(guarantee: Guarantee) -> (KafkaHarness, ()) {
    (KafkaHarness::start(guarantee).await, ())
}

mod at_least_once {
    use super::*;

    eventlog_suite!(
        #[ignore = "needs scripts/stack up"]
        guaranteeing(Guarantee::AtLeastOnce)
    );
}

mod exactly_once {
    use super::*;

    eventlog_suite!(
        #[ignore = "needs scripts/stack up"]
        guaranteeing(Guarantee::ExactlyOnce)
    );
}
