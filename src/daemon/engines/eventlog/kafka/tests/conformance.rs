//! The contract's own suite.

use std::sync::Arc;

use super::{CleanUp, open, settings};
use crate::daemon::base::config::{Guarantee, KafkaConfig};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::eventlog::conformance::{Harness, conformance_suite};

macro_rules! harness {
    ($name:ident, $guarantee:expr) => {
        struct $name {
            config: KafkaConfig,
            log: SharedLog,
            _clean_up: CleanUp,
        }

        impl Harness for $name {
            async fn start() -> Self {
                let config = settings("conformance");
                let log = Arc::new(open(&config, $guarantee).await);
                Self { _clean_up: CleanUp(config.clone()), config, log }
            }

            fn log(&self) -> SharedLog {
                self.log.clone()
            }

            async fn restart(&mut self) {
                self.log.close().await.unwrap();
                self.log = Arc::new(open(&self.config, $guarantee).await);
            }
        }
    };
}

mod at_least_once {
    use super::*;

    harness!(AtLeastOnce, Guarantee::AtLeastOnce);
    conformance_suite!(AtLeastOnce, ignore = "needs scripts/stack up");
}

mod exactly_once {
    use super::*;

    harness!(ExactlyOnce, Guarantee::ExactlyOnce);
    conformance_suite!(ExactlyOnce, ignore = "needs scripts/stack up");
}
