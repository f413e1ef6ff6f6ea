//! The engine on a real cluster, and on a simulated one for faults that a real one cannot produce
//! on demand.

mod conformance;
mod groups;
mod opening;
mod outage;
mod replaced;
mod server_settings;
mod topic_settings;
mod transactions;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::BaseConsumer;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::KafkaLog;
use crate::daemon::base::config::{EventLogConfig, Guarantee, KafkaConfig, PartitionCounts};
use crate::daemon::engines::eventlog::{LogTelemetry, Topic};
use crate::daemon::testing::stack;
use crate::protocol::NodeId;

/// The name of the node that has the logs open.
const NODE: &str = "test";

/// A cluster that the library simulates.
type SimulatedCluster = MockCluster<'static, DefaultProducerContext>;

pub(super) fn mock_consumer(cluster: &SimulatedCluster) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "g")
        .create()
        .expect("a client")
}

/// Settings with few partitions and a unique prefix.
fn settings(name: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: stack::kafka(),
        prefix: format!("{}-", stack::unique(name)),
        partitions: PartitionCounts {
            comment_events: 3,
            moderation_events: 3,
            ws_messages: 1,
            dead_letters: 1,
        },
        append_timeout: Duration::from_secs(10),
        ..KafkaConfig::default()
    }
}

fn log_config(guarantee: Guarantee) -> EventLogConfig {
    EventLogConfig { guarantee, ..EventLogConfig::default() }
}

async fn open(kafka: &KafkaConfig, guarantee: Guarantee) -> KafkaLog {
    let node = NodeId::new(NODE);
    KafkaLog::open(kafka, &log_config(guarantee), &node, LogTelemetry::default())
        .await
        .expect("a log")
}

/// Deletes the topics of a test when it ends, if it can.
struct CleanUp(KafkaConfig);

impl Drop for CleanUp {
    fn drop(&mut self) {
        let config = self.0.clone();
        let deleting = move || {
            let mut client = ClientConfig::new();
            client.set("bootstrap.servers", config.brokers.join(","));
            let admin: AdminClient<_> = client.create().expect("a client");
            let names = Topic::ALL.map(|topic| format!("{}{}", config.prefix, topic.name()));
            let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            // Topics that are not deleted disturb no other test, because their prefix is unique.
            let _ = runtime.expect("a runtime").block_on(admin.delete_topics(&names, &options));
        };
        let _ = std::thread::spawn(deleting).join();
    }
}
