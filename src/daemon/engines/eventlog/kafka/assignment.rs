//! What a rebalance means: which partitions come, from where each is read, and which go.
//!
//! A partition begins at the group's commit, or, where there is none, at the end the consumer asked
//! for. The offset is found before the partition is taken on, so what the poll says is what is read.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::inbox::Inbox;
use super::leaders::{Offsets, ends, offsets};
use super::place::position;
use crate::daemon::engines::eventlog::{Position, StartAt};

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Assigner {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) start: StartAt,
}

impl Assigner {
    /// Takes partitions on. Waits, while the cluster does not say where they begin.
    pub(super) fn assign<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        inbox: &Inbox,
        partitions: &TopicPartitionList,
    ) {
        let numbers: Vec<i32> = partitions.elements().iter().map(|p| p.partition()).collect();
        let mut begin = TopicPartitionList::new();
        while !numbers.is_empty() && !inbox.has_ended() {
            match self.begin(consumer, &numbers) {
                Ok(found) => {
                    begin = found;
                    break;
                }
                Err(error) => {
                    warn!(group = self.group, %error, "where to go on is not known yet");
                    std::thread::sleep(PAUSE);
                }
            }
        }
        // Before the records can come.
        let positions = positions(&begin);
        if !positions.is_empty() {
            info!(group = self.group, topic = self.topic, partitions = ?numbers, "assigned");
            inbox.assign(positions);
        }
        if let Err(error) = consumer.incremental_assign(&begin) {
            warn!(group = self.group, %error, "an assignment was not taken");
        }
    }

    pub(super) fn revoke<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        inbox: &Inbox,
        partitions: &TopicPartitionList,
    ) {
        let numbers: Vec<u32> =
            partitions.elements().iter().map(|p| p.partition() as u32).collect();
        if !numbers.is_empty() {
            let lost = consumer.assignment_lost();
            info!(group = self.group, partitions = ?numbers, lost, "revoked");
            // Before another member can have them.
            inbox.revoke(numbers);
        }
        if let Err(error) = consumer.incremental_unassign(partitions) {
            warn!(group = self.group, %error, "a revocation was not taken");
        }
    }

    /// Where each partition is read from.
    fn begin<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partitions: &[i32],
    ) -> KafkaResult<TopicPartitionList> {
        let committed = consumer
            .committed_offsets(self.list(partitions, Offset::Invalid)?, PATIENCE)
            .and_then(|list| offsets(&list))
            .map(of_one_topic)?;
        let earliest = self.ends(consumer, partitions, Offset::Beginning)?;
        let latest = self.ends(consumer, partitions, Offset::End)?;
        let mut begin = TopicPartitionList::new();
        let mut first = TopicPartitionList::new();
        for &partition in partitions {
            let (earliest, latest) = (earliest[&partition], latest[&partition]);
            let offset = match (committed.get(&partition), self.start) {
                (Some(&next), _) if (earliest..=latest).contains(&next) => next,
                (Some(&next), _) => {
                    self.warn_of_loss(partition, next, earliest, latest);
                    earliest
                }
                (None, StartAt::Earliest) => earliest,
                (None, StartAt::Latest) => {
                    // Noted at once, so that a later member does not begin at a later end.
                    first.add_partition_offset(&self.topic, partition, Offset::Offset(latest))?;
                    latest
                }
            };
            begin.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        if first.count() > 0 {
            consumer.commit(&first, CommitMode::Async)?;
        }
        Ok(begin)
    }

    fn ends<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partitions: &[i32],
        end: Offset,
    ) -> KafkaResult<BTreeMap<i32, i64>> {
        let partitions = partitions.iter().map(|&partition| (self.topic.as_str(), partition));
        ends(consumer, partitions, end, PATIENCE).map(of_one_topic)
    }

    fn list(&self, partitions: &[i32], offset: Offset) -> KafkaResult<TopicPartitionList> {
        list(&self.topic, partitions, offset)
    }

    fn warn_of_loss(&self, partition: i32, next: i64, earliest: i64, latest: i64) {
        let group = &self.group;
        warn!(
            group,
            partition,
            next,
            earliest,
            latest,
            "the group's position is outside of what the topic holds; it goes on at the earliest kept"
        );
    }
}

fn positions(list: &TopicPartitionList) -> Vec<Position> {
    let offset = |raw: Offset| raw.to_raw().unwrap_or_default();
    list.elements().iter().map(|p| position(p.partition(), offset(p.offset()))).collect()
}

/// By partition alone.
fn of_one_topic(offsets: Offsets) -> BTreeMap<i32, i64> {
    offsets.into_iter().map(|((_, partition), offset)| (partition, offset)).collect()
}

fn list(topic: &str, partitions: &[i32], offset: Offset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &partition in partitions {
        list.add_partition_offset(topic, partition, offset)?;
    }
    Ok(list)
}
