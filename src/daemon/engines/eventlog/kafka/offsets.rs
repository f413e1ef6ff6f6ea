//! Offsets: Kafka's and the log's, and the ends of partitions.
//!
//! Kafka counts from 0. `seq` 0 means "nothing yet", so an offset of this log is Kafka's plus one
//! everywhere: in positions, bounds, commits and lag.
//!
//! The ends of a partition come from its leader. While a broker is away its partitions get another
//! leader, and for a moment have none. The library keeps the leaders it knows until its next
//! refresh, by default five minutes later: it asks a dead broker, or answers without asking any. So
//! after such an answer the cluster is asked for the leaders, and the request is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use crate::daemon::engines::eventlog::Position;

/// Timeout of the first request; it doubles with each repetition.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_REQUESTS: usize = 4;

/// Kafka's offsets by topic and partition.
pub(super) type Offsets = BTreeMap<(String, i32), i64>;

/// Returns the log's offset for one of Kafka's.
pub(super) fn log_offset(kafka: i64) -> u64 {
    kafka.max(0) as u64 + 1
}

/// Returns Kafka's offset for one of the log's. 0, which no record has, means the beginning.
pub(super) fn kafka_offset(offset: u64) -> i64 {
    i64::try_from(offset.saturating_sub(1)).unwrap_or(i64::MAX)
}

pub(super) fn log_position(partition: i32, kafka: i64) -> Position {
    Position { partition: partition as u32, offset: log_offset(kafka) }
}

/// Returns one end of each partition ([`Offset::Beginning`] or [`Offset::End`]), with one request
/// per leader. For a consumer of committed records the end is before the first record whose
/// transaction has not ended.
///
/// # Errors
/// If the end of any of them is not known within `timeout`.
pub(super) fn partition_ends<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl Iterator<Item = (&'a str, i32)>,
    end: Offset,
    timeout: Duration,
) -> KafkaResult<Offsets> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, partition, end)?;
    }
    let topics = || list.elements().iter().map(|of| of.topic().to_owned()).collect();
    let found = with_current_leaders(consumer, topics, timeout, |timeout| {
        listed_offsets(&consumer.offsets_for_times(list.clone(), timeout)?)
    })?;
    let is_missing = |topic: &str, partition| !found.contains_key(&(topic.to_owned(), partition));
    if let Some(of) = list.elements().iter().find(|of| is_missing(of.topic(), of.partition())) {
        debug!(topic = of.topic(), partition = of.partition(), "no end reported for a partition");
        return Err(KafkaError::OffsetFetch(Code::NoOffset));
    }
    Ok(found)
}

/// Returns the first offset of a partition and the one behind its last.
pub(super) fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> KafkaResult<(i64, i64)> {
    let topics = || BTreeSet::from([topic.to_owned()]);
    with_current_leaders(consumer, topics, timeout, |timeout| {
        consumer.fetch_watermarks(topic, partition, timeout)
    })
}

/// Returns the offsets in a list, without the partitions that have none.
pub(super) fn listed_offsets(list: &TopicPartitionList) -> KafkaResult<Offsets> {
    listed_commits(list, |_, _| true)
}

/// Returns the commits in a list whose topic and metadata `is_valid` accepts.
pub(super) fn listed_commits(
    list: &TopicPartitionList,
    is_valid: impl Fn(&str, &str) -> bool,
) -> KafkaResult<Offsets> {
    let mut offsets = Offsets::new();
    for of in list.elements() {
        of.error()?;
        if let Offset::Offset(offset) = of.offset()
            && is_valid(of.topic(), of.metadata())
        {
            offsets.insert((of.topic().to_owned(), of.partition()), offset);
        }
    }
    Ok(offsets)
}

/// Sends a request with a growing timeout. Fetches the leaders before each repetition.
fn with_current_leaders<C: ConsumerContext, T>(
    consumer: &BaseConsumer<C>,
    topics: impl Fn() -> BTreeSet<String>,
    timeout: Duration,
    request: impl Fn(Duration) -> KafkaResult<T>,
) -> KafkaResult<T> {
    let deadline = Instant::now() + timeout;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut request_timeout = FIRST_TIMEOUT;
    for _ in 1..MAX_REQUESTS {
        match request(request_timeout.min(left())) {
            Err(error) if depends_on_leader(&error) && !left().is_zero() => {
                debug!(%error, "fetching the leaders of partitions");
                fetch_leaders(consumer, &topics(), left())?;
            }
            answer => return answer,
        }
        request_timeout *= 2;
    }
    request(left())
}

/// Makes the library ask the cluster for the leaders of topics.
fn fetch_leaders<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &BTreeSet<String>,
    timeout: Duration,
) -> KafkaResult<()> {
    for topic in topics {
        match consumer.fetch_metadata(Some(topic), timeout) {
            // The asked broker has just left the cluster; the next request finds another.
            Err(error) if error.rdkafka_error_code() == Some(Code::DestroyBroker) => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}

/// Returns whether outdated leaders in the library may have caused the error.
fn depends_on_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                // None of the requested partitions has a known leader.
                | Code::UnknownPartition
                // The known leader is away.
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::BrokerTransportFailure
                | Code::DestroyBroker
        )
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::daemon::engines::eventlog::kafka::tests::mock_consumer;

    const TOPIC: &str = "t";
    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn offsets_convert_both_ways() {
        assert_eq!(log_offset(0), 1);
        assert_eq!(kafka_offset(0), 0);
        for offset in [1, 2, 77, u64::from(u32::MAX)] {
            assert_eq!(log_offset(kafka_offset(offset)), offset);
        }
        assert_eq!(kafka_offset(u64::MAX), i64::MAX);
    }

    #[test]
    fn ends_are_known_as_soon_as_a_leader_is_elected() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let consumer = mock_consumer(&cluster);
        let both_ends = || {
            let partitions = [(TOPIC, 0), (TOPIC, 1)].into_iter();
            partition_ends(&consumer, partitions, Offset::End, TIMEOUT)
        };
        let both = Offsets::from([((TOPIC.to_owned(), 0), 0), ((TOPIC.to_owned(), 1), 0)]);
        cluster.partition_leader(TOPIC, 1, None).unwrap();
        assert!(both_ends().is_err());
        assert!(watermarks(&consumer, TOPIC, 1, TIMEOUT).is_err());
        cluster.partition_leader(TOPIC, 1, Some(1)).unwrap();
        // Both would fail for minutes with the leaders that the library knows.
        assert_eq!(watermarks(&consumer, TOPIC, 1, TIMEOUT).unwrap(), (0, 0));
        assert_eq!(both_ends().unwrap(), both);

        for partition in 0..2 {
            cluster.partition_leader(TOPIC, partition, None).unwrap();
        }
        consumer.fetch_metadata(Some(TOPIC), TIMEOUT).unwrap();
        assert!(both_ends().is_err());
        for partition in 0..2 {
            cluster.partition_leader(TOPIC, partition, Some(1)).unwrap();
        }
        assert_eq!(both_ends().unwrap(), both);
    }
}
