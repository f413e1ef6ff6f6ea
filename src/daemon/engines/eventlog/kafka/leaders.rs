//! Where partitions begin and end, from their leaders, also when these have just changed.
//!
//! While a broker is away its partitions have another leader, and for a moment none. The library keeps
//! what it learned before, or in that moment, until its next refresh, by default five minutes later:
//! it asks a broker that is dead, or answers without asking anybody. So here such an answer is doubted:
//! the cluster is asked who leads, and then the question is put again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

/// How long the leader that the library knows of may take at first; then twice as long.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const QUESTIONS: usize = 4;

/// Offsets by topic and partition.
pub(super) type Offsets = BTreeMap<(String, i32), i64>;

/// One end of each partition ([`Offset::Beginning`] or [`Offset::End`]), with one request a leader. Of
/// a consumer of committed records the end is behind the last that is decided on.
///
/// # Errors
/// If any of them cannot be had within `timeout`.
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
    let topics = || asked.elements().iter().map(|of| of.topic().to_owned()).collect();
    let found = doubt_leaders(consumer, topics, timeout, |patience| {
        offsets(&consumer.offsets_for_times(asked.clone(), patience)?)
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
    let topics = || BTreeSet::from([topic.to_owned()]);
    doubt_leaders(consumer, topics, timeout, |patience| {
        consumer.fetch_watermarks(topic, partition, patience)
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

/// Asks with growing patience; before each question but the first the cluster says who leads.
fn doubt_leaders<C: ConsumerContext, T>(
    consumer: &BaseConsumer<C>,
    topics: impl Fn() -> BTreeSet<String>,
    timeout: Duration,
    ask: impl Fn(Duration) -> KafkaResult<T>,
) -> KafkaResult<T> {
    let deadline = Instant::now() + timeout;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut patience = FIRST_PATIENCE;
    for _ in 1..QUESTIONS {
        match ask(patience.min(left())) {
            Err(error) if depends_on_leader(&error) && !left().is_zero() => {
                debug!(%error, "asking the cluster who leads its partitions");
                learn_leaders(consumer, &topics(), left())?;
            }
            answer => return answer,
        }
        patience *= 2;
    }
    ask(left())
}

/// The library takes into its memory what the cluster answers.
fn learn_leaders<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &BTreeSet<String>,
    timeout: Duration,
) -> KafkaResult<()> {
    for topic in topics {
        match consumer.fetch_metadata(Some(topic), timeout) {
            // The broker that was asked has just left the cluster; the next question finds another.
            Err(error) if error.rdkafka_error_code() == Some(Code::DestroyBroker) => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

/// Whether the answer may be owed to what the library remembers of leaders.
fn depends_on_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                // Of none of the partitions asked for a leader is known.
                | Code::UnknownPartition
                // The leader it knew of is away.
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::BrokerTransportFailure
                | Code::DestroyBroker
        )
    )
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
