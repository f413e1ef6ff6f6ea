//! Where partitions begin and end, from their leaders, also after a partition was without one.
//!
//! While a broker is away its partitions may have no leader for a moment. The library keeps what it
//! learned in that moment as the truth until its next refresh, by default five minutes later, and
//! answers from it without asking anybody. So here such an answer is doubted once: the cluster is asked
//! who leads, and then the question is put again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

/// Offsets by topic and partition.
pub(super) type Offsets = BTreeMap<(String, i32), i64>;

/// One end of each partition ([`Offset::Beginning`] or [`Offset::End`]), with one request a leader. Of
/// a consumer of committed records the end is behind the last that is decided on.
///
/// # Errors
/// If any of them cannot be had within `timeout`, or twice that if a partition was without a leader.
pub(super) fn ends<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl Iterator<Item = (&'a str, i32)>,
    end: Offset,
    timeout: Duration,
) -> KafkaResult<Offsets> {
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in partitions {
        asked.add_partition_offset(topic, partition, end)?;
    }
    let topics: BTreeSet<_> = asked.elements().iter().map(|of| of.topic().to_owned()).collect();
    let found = doubt_missing_leaders(consumer, &topics, timeout, || {
        offsets(&consumer.offsets_for_times(asked.clone(), timeout)?)
    })?;
    let is_missing = |topic: &str, partition| !found.contains_key(&(topic.to_owned(), partition));
    if let Some(of) = asked.elements().iter().find(|of| is_missing(of.topic(), of.partition())) {
        debug!(topic = of.topic(), partition = of.partition(), "no answer for a partition");
        return Err(KafkaError::OffsetFetch(Code::NoOffset));
    }
    Ok(found)
}

/// The first offset of a partition and the one behind the last.
pub(super) fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> KafkaResult<(i64, i64)> {
    let topics = BTreeSet::from([topic.to_owned()]);
    doubt_missing_leaders(consumer, &topics, timeout, || {
        consumer.fetch_watermarks(topic, partition, timeout)
    })
}

/// The offsets in a list; partitions without one are left out.
pub(super) fn offsets(list: &TopicPartitionList) -> KafkaResult<Offsets> {
    let mut offsets = Offsets::new();
    for of in list.elements() {
        of.error()?;
        if let Offset::Offset(offset) = of.offset() {
            offsets.insert((of.topic().to_owned(), of.partition()), offset);
        }
    }
    Ok(offsets)
}

/// Asks again, once, if the first answer was that there is no leader.
fn doubt_missing_leaders<C: ConsumerContext, T>(
    consumer: &BaseConsumer<C>,
    topics: &BTreeSet<String>,
    timeout: Duration,
    ask: impl Fn() -> KafkaResult<T>,
) -> KafkaResult<T> {
    match ask() {
        Err(error) if is_without_leader(&error) => {
            debug!(%error, "asking the cluster who leads its partitions");
            for topic in topics {
                consumer.fetch_metadata(Some(topic), timeout)?;
            }
            ask()
        }
        answer => answer,
    }
}

fn is_without_leader(error: &KafkaError) -> bool {
    // With no leader at all among what was asked, the library takes the partitions for unknown.
    let codes = [Code::LeaderNotAvailable, Code::NotLeaderForPartition, Code::UnknownPartition];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;

    use super::*;

    const TOPIC: &str = "t";
    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_partition_that_was_without_a_leader_is_known_as_soon_as_it_has_one() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "g")
            .create()
            .unwrap();
        let ask = || {
            let partitions = [(TOPIC, 0), (TOPIC, 1)].into_iter();
            ends(&consumer, partitions, Offset::End, TIMEOUT)
        };
        let both = Offsets::from([((TOPIC.to_owned(), 0), 0), ((TOPIC.to_owned(), 1), 0)]);
        cluster.partition_leader(TOPIC, 1, None).unwrap();
        assert!(ask().is_err());
        assert!(watermarks(&consumer, TOPIC, 1, TIMEOUT).is_err());
        cluster.partition_leader(TOPIC, 1, Some(1)).unwrap();
        // Either would be wrong for minutes if it went by what the library remembers.
        assert_eq!(watermarks(&consumer, TOPIC, 1, TIMEOUT).unwrap(), (0, 0));
        assert_eq!(ask().unwrap(), both);

        for partition in 0..2 {
            cluster.partition_leader(TOPIC, partition, None).unwrap();
        }
        consumer.fetch_metadata(Some(TOPIC), TIMEOUT).unwrap();
        assert!(ask().is_err());
        for partition in 0..2 {
            cluster.partition_leader(TOPIC, partition, Some(1)).unwrap();
        }
        assert_eq!(ask().unwrap(), both);
    }
}
