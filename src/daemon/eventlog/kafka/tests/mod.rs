//! The engine on a real cluster (and, for what a real one does not do when asked, on a simulated
//! one).

mod conformance;
mod groups;
mod opening;
mod outage;
mod transactions;

use std::time::Duration;

use super::KafkaLog;
use crate::daemon::config::{EventLogConfig, Guarantee, KafkaConfig, PartitionCounts};
use crate::daemon::test_stack;
use crate::protocol::NodeId;

/// Few partitions under a prefix of its own.
fn settings(name: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: test_stack::kafka(),
        prefix: format!("{}-", test_stack::unique(name)),
        partitions: PartitionCounts {
            comment_events: 3,
            moderation_events: 3,
            analytics_events: 1,
            ws_messages: 1,
            dead_letters: 1,
        },
        append_timeout: Duration::from_secs(10),
        ..KafkaConfig::default()
    }
}

fn guaranteed(guarantee: Guarantee) -> EventLogConfig {
    EventLogConfig { guarantee, ..EventLogConfig::default() }
}

async fn open(kafka: &KafkaConfig, guarantee: Guarantee) -> KafkaLog {
    let node = NodeId::new("test");
    KafkaLog::open(kafka, &guaranteed(guarantee), &node).await.expect("a log")
}
