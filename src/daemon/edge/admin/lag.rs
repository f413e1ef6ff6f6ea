//! The lag of consumers, with what the log does not know of it: the streams in the partition in
//! which a group is furthest behind.

use std::collections::BTreeMap;

use super::AdminParts;
use super::cluster::ClusterView;
use crate::daemon::engines::eventlog::{ConsumerGroup, LagHistory, LogError, Topic};
use crate::protocol::StreamId;
use crate::protocol::admin::{Cluster, ConsumerLag};

/// Streams that are named per partition.
const NAMED_STREAMS: usize = 3;

impl AdminParts {
    /// Returns the lag of each consumer.
    pub(super) async fn consumer_lag(&self) -> Result<Cluster<ConsumerLag>, LogError> {
        let (lag, view) = tokio::join!(self.control.parts().log.lag(), self.cluster());
        let mut items = lag?;
        self.live.unheld.leave_out_held(&view, &mut items);
        self.name_streams(&view, &mut items);
        Ok(Cluster { items, unreachable: view.unreachable })
    }

    /// Names the busiest streams of each group's worst partition.
    pub(super) fn name_streams(&self, view: &ClusterView, lags: &mut [ConsumerLag]) {
        let log = &self.control.parts().log;
        let mut streams: Vec<_> = view
            .rates()
            .into_values()
            .map(|stream| (stream.comments_per_second, stream.stream_id))
            .collect();
        streams.sort_by(|(one, id), (other, other_id)| {
            other.total_cmp(one).then_with(|| id.cmp(other_id))
        });
        let partition_of = |stream: StreamId| log.partition_of(Topic::CommentEvents, stream.0);
        for index in worst_of_groups(lags) {
            let lag = &mut lags[index];
            if lag.topic != Topic::CommentEvents.name() {
                continue;
            }
            let of_partition = streams.iter().map(|(_, stream)| *stream);
            let of_partition = of_partition.filter(|id| partition_of(*id) == lag.partition);
            lag.streams = of_partition.take(NAMED_STREAMS).collect();
        }
    }
}

/// The lag of coordinators without the records that message delays hold back on purpose. The log
/// tells the age and the change of the whole lag only, so those of the rest come from a history of
/// its own.
#[derive(Debug, Default)]
pub(super) struct UnheldLag(LagHistory);

impl UnheldLag {
    /// Leaves out the records that are held back by the reports of the nodes. Age and change of
    /// what is left are known from the second look on.
    pub(super) fn leave_out_held(&self, view: &ClusterView, lags: &mut [ConsumerLag]) {
        let held = held_records(view);
        let coordinator = ConsumerGroup::Coordinator.as_str();
        let topic = Topic::CommentEvents.name();
        let is_delayed = |lag: &&mut ConsumerLag| lag.group == coordinator && lag.topic == topic;
        let mut lags: Vec<_> = lags.iter_mut().filter(is_delayed).collect();
        // A log that did not answer says nothing: the history stays.
        if lags.is_empty() {
            return;
        }
        for lag in &mut lags {
            lag.leave_out_held(held.get(&lag.partition).copied().unwrap_or(0));
        }
        let mut unheld: Vec<ConsumerLag> = lags.iter().map(|lag| (**lag).clone()).collect();
        self.0.observe(&mut unheld);
        for (lag, unheld) in lags.into_iter().zip(unheld) {
            lag.change_per_s = unheld.change_per_s;
            if lag.oldest_ms.is_none() {
                let age = self.0.age(&lag.topic, lag.partition, lag.next_unread());
                lag.oldest_ms = age.map(|age| age.age.as_millis() as u64);
            }
        }
    }
}

/// Returns the records that are held back, by partition.
fn held_records(view: &ClusterView) -> BTreeMap<u32, u64> {
    let mut held: BTreeMap<u32, u64> = BTreeMap::new();
    for report in view.reports() {
        for (partition, records) in &report.held_records {
            // A partition that has just moved is in two reports.
            let most = held.entry(*partition).or_default();
            *most = (*most).max(*records);
        }
    }
    held
}

/// Returns the index of the largest lag of each group and topic that is behind, of equal ones the
/// first partition.
fn worst_of_groups(lags: &[ConsumerLag]) -> Vec<usize> {
    let mut worst: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (index, lag) in lags.iter().enumerate().filter(|(_, lag)| lag.lag > 0) {
        let known = worst.entry((&lag.group, &lag.topic)).or_insert(index);
        let rank = |of: &ConsumerLag| (of.lag, u32::MAX - of.partition);
        if rank(lag) > rank(&lags[*known]) {
            *known = index;
        }
    }
    worst.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::registry::conformance::report;
    use crate::protocol::NodeId;
    use crate::protocol::admin::NodeReport;

    #[test]
    fn records_held_on_purpose_are_no_lag() {
        let lag = |group: &str, partition, lag| ConsumerLag {
            group: group.to_owned(),
            topic: Topic::CommentEvents.name().to_owned(),
            partition,
            position: 100,
            end: 100 + lag,
            lag,
            oldest_ms: Some(9_000),
            change_per_s: Some(3.0),
            ..ConsumerLag::default()
        };
        let held_records = BTreeMap::from([(1, 40), (2, 40)]);
        let own = NodeReport { held_records, ..report(&NodeId::new("a")) };
        let view = ClusterView::new(own, Vec::new());
        let before = [
            lag("coordinator", 0, 40),
            lag("coordinator", 1, 40),
            lag("coordinator", 2, 47),
            lag("archiver", 1, 40),
        ];
        let mut after = before.clone();
        UnheldLag::default().leave_out_held(&view, &mut after);
        assert_eq!((&after[0], &after[3]), (&before[0], &before[3]));
        let held = after.each_ref().map(|lag| (lag.position, lag.lag, lag.oldest_ms));
        assert_eq!(held[1..3], [(140, 0, Some(0)), (140, 7, None)]);
        assert_eq!(after[2].change_per_s, None);
    }

    #[test]
    fn each_group_has_one_worst_partition() {
        let lag = |group: &str, partition, lag| ConsumerLag {
            group: group.to_owned(),
            partition,
            lag,
            ..ConsumerLag::default()
        };
        let all = [
            lag("archiver", 4, 9),
            lag("archiver", 2, 9),
            lag("archiver", 1, 3),
            lag("coordinator", 0, 0),
            lag("moderator", 5, 1),
        ];
        assert_eq!(worst_of_groups(&all), [1, 4]);
    }
}
