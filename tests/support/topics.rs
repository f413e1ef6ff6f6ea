//! Topics on the brokers of a cluster, changed as operators and broken brokers change them.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::timeout;

use super::PATIENCE;
use super::cluster::Cluster;

/// A client for the topics of a cluster.
pub struct Topics<'a> {
    cluster: &'a Cluster,
    admin: AdminClient<DefaultClientContext>,
    options: AdminOptions,
}

impl<'a> Topics<'a> {
    pub fn of(cluster: &'a Cluster) -> Self {
        let admin = client(cluster).create().unwrap();
        Self { cluster, admin, options: AdminOptions::new().request_timeout(Some(PATIENCE)) }
    }

    pub async fn delete(&self, topic: &str) {
        let name = self.cluster.topic(topic);
        let deleted = self.admin.delete_topics(&[&name], &self.options).await.unwrap();
        deleted[0].clone().unwrap();
    }

    /// Creates a topic as soon as the brokers have deleted the old one.
    pub async fn create(&self, topic: &str, partitions: i32) {
        let name = self.cluster.topic(topic);
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let created = async {
            while self.admin.create_topics([&new], &self.options).await.unwrap()[0].is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, created).await.expect("a topic");
    }

    /// Sets a higher number of partitions.
    pub async fn extend(&self, topic: &str, partitions: usize) {
        let name = self.cluster.topic(topic);
        let more = NewPartitions::new(&name, partitions);
        let extended = self.admin.create_partitions([&more], &self.options).await.unwrap();
        extended[0].clone().unwrap();
    }

    /// Removes all records of a topic, as retention does.
    pub async fn remove_records(&self, topic: &str) {
        let name = self.cluster.topic(topic);
        let mut upto = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            upto.add_partition_offset(&name, partition as i32, Offset::End).unwrap();
        }
        self.admin.delete_records(&upto, &self.options).await.unwrap();
    }

    /// Returns the number of partitions; 0 without the topic.
    pub fn partitions(&self, topic: &str) -> usize {
        let consumer: BaseConsumer = client(self.cluster).create().unwrap();
        let name = self.cluster.topic(topic);
        let found = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let topic = found.topics().iter().find(|topic| topic.name() == name);
        topic.map_or(0, |topic| topic.partitions().len())
    }
}

fn client(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers().join(","));
    config
}
