//! Where a consumer reads first, and where it continues when its position is no longer in the
//! partition. Nothing is passed over silently: each jump is reported.
//!
//! A commit carries the id of its topic as metadata. A topic that was deleted and created again
//! gives the same offsets to other records, so a position of the old topic means nothing in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::assignment;
use super::health::Health;
use super::native;
use super::offsets::{Offsets, kafka_offset, log_offset, log_position, partition_ends};
use super::prefetch::PrefetchQueue;
use super::topics::{TopicIdentity, Topics};
use crate::daemon::engines::eventlog::{LogTelemetry, SkipReason, SkippedRecords, StartAt, Topic};

const OFFSET_TIMEOUT: Duration = Duration::from_secs(5);
const DESCRIBE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The topic that a consumer reads, and whom it tells of records that it skips.
#[derive(Debug)]
pub(super) struct ConsumerSource {
    /// Without the prefix.
    pub(super) group: String,
    pub(super) topic: String,
    /// The topic that is read now.
    pub(super) identity: Mutex<TopicIdentity>,
    pub(super) of: Topic,
    /// The topics in use, of which this one may be replaced.
    pub(super) topics: Arc<Topics>,
    pub(super) health: Arc<Health>,
    pub(super) telemetry: LogTelemetry,
}

/// Returns the metadata of a commit in a topic.
pub(super) fn commit_mark(topic_id: Option<u128>) -> String {
    topic_id.map(|id| format!("{id:032x}")).unwrap_or_default()
}

/// Returns whether a commit with this metadata is one in the topic. Tools that set positions write
/// no metadata, and mean the topic that exists.
pub(super) fn is_mark_of(mark: &str, topic_id: Option<u128>) -> bool {
    mark.is_empty() || topic_id.is_none() || mark == commit_mark(topic_id)
}

/// Marks commits as those of a topic.
pub(super) fn mark_commits(list: &TopicPartitionList, topic_id: Option<u128>) {
    let mark = commit_mark(topic_id);
    if !mark.is_empty() {
        list.elements().iter_mut().for_each(|commit| commit.set_metadata(&mark));
    }
}

/// The ends of partitions, as Kafka's offsets.
struct Ends {
    earliest: BTreeMap<i32, i64>,
    latest: BTreeMap<i32, i64>,
}

/// Where a partition continues.
#[derive(Debug)]
pub(super) struct Continuation {
    partition: u32,
    /// The lowest offset that has not been queued.
    next: u64,
    /// `None` if that offset exists.
    skipped: Option<Skipped>,
}

/// Records that are passed over, as Kafka's offsets.
#[derive(Debug)]
struct Skipped {
    offsets: Range<i64>,
    continue_at: i64,
    reason: SkipReason,
}

impl ConsumerSource {
    pub(super) fn topic_id(&self) -> Option<u128> {
        self.identity.lock().id
    }

    /// Continues on a topic that was taken into use in place of the followed one: from its first
    /// record, because all of them are new. Partitions that were only added are read from their
    /// first record too.
    pub(super) fn follow_replacement<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        queue: &PrefetchQueue,
    ) -> KafkaResult<()> {
        let now = self.topics.identity(self.of);
        let before = *self.identity.lock();
        if now == before {
            return Ok(());
        }
        let next = if now.id == before.id { queue.owned() } else { BTreeMap::new() };
        let first = |partition| next.get(&partition).map_or(0, |&offset| kafka_offset(offset));
        let begin: Vec<_> =
            (0..now.partitions).map(|partition| (partition as i32, first(partition))).collect();
        // Records that the library has fetched of the old topic are dropped by it here.
        assignment::replace(consumer, &self.positions(&begin)?)?;
        queue.assign(begin.iter().map(|&(at, offset)| log_position(at, offset)).collect());
        *self.identity.lock() = now;
        info!(topic = self.topic, "following the topic that was created again");
        Ok(())
    }

    /// Returns the offset at which each partition begins: the group's commit, or without one where
    /// the consumer starts. Reports the records that are skipped.
    pub(super) fn first_offsets<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partitions: &[i32],
        start: StartAt,
    ) -> KafkaResult<TopicPartitionList> {
        let asked = list_of(&self.topic, partitions.iter().map(|&at| (at, Offset::Invalid)))?;
        let committed = consumer.committed_offsets(asked, OFFSET_TIMEOUT)?;
        let ends = self.ends(consumer, partitions)?;
        let mut begin = Vec::new();
        let mut moved = Vec::new();
        for commit in committed.elements() {
            commit.error()?;
            let partition = commit.partition();
            let earliest = ends.earliest[&partition];
            let latest = ends.latest[&partition];
            let next = match commit.offset() {
                Offset::Offset(next) if is_mark_of(commit.metadata(), self.topic_id()) => {
                    Some(next)
                }
                Offset::Offset(next) => {
                    self.report_foreign_position(partition, next);
                    begin.push((partition, earliest));
                    moved.push((partition, earliest));
                    continue;
                }
                _ => None,
            };
            let offset = match (next, start) {
                (Some(next), _) => self.in_range(partition, next, earliest, latest),
                (None, StartAt::Earliest) => {
                    self.report(partition, 0..earliest, SkipReason::NoPosition);
                    earliest
                }
                (None, StartAt::Latest) => latest,
            };
            begin.push((partition, offset));
            // Committed now, so that a later member neither begins at a later end nor reports the
            // same records again.
            let is_start = next.is_none() && (start == StartAt::Latest || earliest > 0);
            if is_start || next.is_some_and(|next| next != offset) {
                moved.push((partition, offset));
            }
        }
        if !moved.is_empty() {
            let moved = self.positions(&moved)?;
            mark_commits(&moved, self.topic_id());
            consumer.commit(&moved, CommitMode::Async)?;
        }
        self.positions(&begin)
    }

    /// Finds where each partition of a consumer continues. `None` if that cannot be known yet.
    pub(super) fn find_continuations<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        queue: &PrefetchQueue,
    ) -> KafkaResult<Option<Vec<Continuation>>> {
        if self.health.check().is_err() || !self.is_same_topic(consumer) {
            return Ok(None);
        }
        let owned = queue.owned();
        let partitions: Vec<i32> = owned.keys().map(|partition| *partition as i32).collect();
        if partitions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let ends = self.ends(consumer, &partitions)?;
        let continuation = |(&partition, &next): (&u32, &u64)| {
            let at = partition as i32;
            let skipped = self.skipped(kafka_offset(next), ends.earliest[&at], ends.latest[&at]);
            Continuation { partition, next, skipped }
        };
        Ok(Some(owned.iter().map(continuation).collect()))
    }

    /// Starts the partitions again that were neither read nor revoked since. Those whose next
    /// offset no longer exists continue behind the records that are skipped, which are reported.
    /// The others may have stopped too, if their next offset exists again by now.
    pub(super) fn resume<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        queue: &PrefetchQueue,
        mut found: Vec<Continuation>,
    ) -> KafkaResult<()> {
        let owned = queue.owned();
        found.retain(|of| owned.get(&of.partition) == Some(&of.next));
        if found.is_empty() {
            return Ok(());
        }
        let mut begin = Vec::new();
        for Continuation { partition, next, skipped } in found {
            let at = partition as i32;
            let mut offset = kafka_offset(next);
            if let Some(skipped) = skipped {
                offset = skipped.continue_at;
                self.report(at, skipped.offsets, skipped.reason);
                queue.move_to(partition, log_offset(offset));
            }
            begin.push((at, offset));
        }
        assignment::restart(consumer, &self.positions(&begin)?)
    }

    /// Returns what is passed over to reach the nearest offset in a partition; `None` if the next
    /// one is in it.
    fn skipped(&self, next: i64, earliest: i64, latest: i64) -> Option<Skipped> {
        if next < earliest {
            let reason = SkipReason::Removed;
            return Some(Skipped { offsets: next..earliest, continue_at: earliest, reason });
        }
        // Without ids this may be another topic, of which nothing has been read.
        let continue_at = if self.topic_id().is_some() { latest } else { earliest };
        let reason = SkipReason::Truncated;
        (next > latest).then_some(Skipped { offsets: latest..next, continue_at, reason })
    }

    /// Returns the nearest offset in a partition, and reports what is passed over.
    fn in_range(&self, partition: i32, next: i64, earliest: i64, latest: i64) -> i64 {
        let Some(skipped) = self.skipped(next, earliest, latest) else { return next };
        self.report(partition, skipped.offsets, skipped.reason);
        skipped.continue_at
    }

    fn report(&self, partition: i32, offsets: Range<i64>, reason: SkipReason) {
        self.telemetry.report_skipped(&SkippedRecords {
            group: &self.group,
            topic: &self.topic,
            partition: partition as u32,
            offsets: log_offset(offsets.start)..log_offset(offsets.end),
            reason,
        });
    }

    fn report_foreign_position(&self, partition: i32, next: i64) {
        warn!(
            group = self.group,
            topic = self.topic,
            partition,
            position = log_offset(next),
            "the position is one in an earlier topic of this name, which was deleted; reading this \
             one from its first record"
        );
    }

    /// Returns whether the topic is still the one that was opened. If not, [`super::topic_watch`]
    /// replaces the log; until then its offsets mean nothing.
    pub(super) fn is_same_topic<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) -> bool {
        let read = *self.identity.lock();
        if read.id.is_none() {
            return true;
        }
        let topics = [self.topic.clone()];
        match native::describe_topics(consumer.client(), &topics, DESCRIBE_TIMEOUT) {
            Ok(described) => described.iter().all(|topic| {
                topic.error.is_none() && topic.id == read.id && topic.partitions == read.partitions
            }),
            Err(code) => {
                debug!(%code, "topic cannot be described");
                !super::client::is_outage_code(code)
            }
        }
    }

    fn ends<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        partitions: &[i32],
    ) -> KafkaResult<Ends> {
        let ends = |end| {
            let partitions = partitions.iter().map(|&partition| (self.topic.as_str(), partition));
            partition_ends(consumer, partitions, end, OFFSET_TIMEOUT).map(by_partition)
        };
        Ok(Ends { earliest: ends(Offset::Beginning)?, latest: ends(Offset::End)? })
    }

    fn positions(&self, offsets: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
        list_of(&self.topic, offsets.iter().map(|&(at, offset)| (at, Offset::Offset(offset))))
    }
}

/// Drops the topic of offsets that all belong to one.
fn by_partition(offsets: Offsets) -> BTreeMap<i32, i64> {
    offsets.into_iter().map(|((_, partition), offset)| (partition, offset)).collect()
}

fn list_of(
    topic: &str,
    offsets: impl Iterator<Item = (i32, Offset)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition, offset)?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_of_another_topic_is_not_used() {
        let old = Some(7);
        let new = Some(u128::MAX);
        assert!(is_mark_of(&commit_mark(old), old));
        assert!(!is_mark_of(&commit_mark(old), new));
        for mark in ["", &commit_mark(old)] {
            assert!(is_mark_of(mark, None), "without ids every commit counts");
        }
        assert!(is_mark_of("", new), "set by a tool");
        assert!(!is_mark_of("written by somebody else", new));
    }
}
