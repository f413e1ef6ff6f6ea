//! The conformance suite of the contract.

use std::sync::Arc;

use super::{CleanUp, open, settings};
use crate::daemon::base::config::{Guarantee, KafkaConfig};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::eventlog::conformance::{Harness, conformance_suite};

/// The engine under `exactly_once` or `at_least_once`.
struct KafkaHarness<const EXACTLY_ONCE: bool> {
    config: KafkaConfig,
    log: SharedLog,
    _clean_up: CleanUp,
}

impl<const EXACTLY_ONCE: bool> KafkaHarness<EXACTLY_ONCE> {
    const GUARANTEE: Guarantee =
        if EXACTLY_ONCE { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
}

impl<const EXACTLY_ONCE: bool> Harness for KafkaHarness<EXACTLY_ONCE> {
    async fn start() -> Self {
        let config = settings("conformance");
        let log = Arc::new(open(&config, Self::GUARANTEE).await);
        Self { _clean_up: CleanUp(config.clone()), config, log }
    }

    fn log(&self) -> SharedLog {
        self.log.clone()
    }

    async fn restart(&mut self) {
        self.log.close().await.unwrap();
        self.log = Arc::new(open(&self.config, Self::GUARANTEE).await);
    }
}

mod at_least_once {
    use super::*;

    conformance_suite!(KafkaHarness<false>, ignore = "needs scripts/stack up");
}

mod exactly_once {
    use super::*;

    conformance_suite!(KafkaHarness<true>, ignore = "needs scripts/stack up");
}
