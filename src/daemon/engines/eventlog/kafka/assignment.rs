//! Changes of the partitions that a running consumer reads.
//!
//! Removing a partition begins to stop its fetcher. If the library is told to remove the partition
//! again before that stop has ended, it stops it twice and aborts the process
//! (confluentinc/librdkafka#5573). Its thread serves calls and stops in the order in which they
//! were queued, and a call returns once it is served. So the call after a removal returns when the
//! end of that stop is queued, ahead of all later calls.
//!
//! Always holds: a removal and the addition after it are two calls. Whatever removes the partitions
//! next, a rebalance or the end of the consumer, comes behind the stop. One `assign` that replaces
//! partitions is a single call, and promises nothing to the next.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;

/// Replaces all partitions of a consumer outside a group.
pub(super) fn replace<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    consumer.unassign()?;
    consumer.assign(partitions)
}

/// Reads partitions from other offsets. Those that an earlier call removed and could not add are
/// only added.
pub(super) fn restart<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    let assigned = consumer.assignment()?;
    let mut started = TopicPartitionList::new();
    for of in partitions.elements() {
        if assigned.find_partition(of.topic(), of.partition()).is_some() {
            started.add_partition(of.topic(), of.partition());
        }
    }
    if started.count() > 0 {
        consumer.incremental_unassign(&started)?;
    }
    consumer.incremental_assign(partitions)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::Offset;
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::daemon::engines::eventlog::kafka::tests::mock_consumer;

    const TOPIC: &str = "t";
    const PARTITIONS: i32 = 16;
    const CONSUMERS: usize = 5;
    const CHANGES: usize = 200;

    /// A second stop aborts the whole test process.
    #[test]
    fn no_partition_is_stopped_twice() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(TOPIC, partition, Offset::Offset(0)).unwrap();
        }
        for change in [replace, restart].into_iter().cycle().take(2 * CONSUMERS) {
            let consumer = mock_consumer(&cluster);
            consumer.assign(&partitions).unwrap();
            for _ in 0..CHANGES {
                change(&consumer, &partitions).unwrap();
            }
            assert_eq!(consumer.assignment().unwrap().count(), PARTITIONS as usize);
            assert!(consumer.poll(Duration::ZERO).is_none_or(|event| event.is_err()));
            change(&consumer, &partitions).unwrap();
            // Removes all of them.
            drop(consumer);
        }
    }

    #[test]
    fn partition_that_was_only_removed_is_added_again() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let consumer = mock_consumer(&cluster);
        let mut both = TopicPartitionList::new();
        for partition in 0..2 {
            both.add_partition_offset(TOPIC, partition, Offset::Offset(0)).unwrap();
        }
        consumer.assign(&both).unwrap();
        let mut one = TopicPartitionList::new();
        one.add_partition(TOPIC, 1);
        consumer.incremental_unassign(&one).unwrap();
        restart(&consumer, &both).unwrap();
        assert_eq!(consumer.assignment().unwrap().count(), 2);
    }
}
