//! The lag of consumers, with what the log does not know of it: the streams in the partition in
//! which a group is furthest behind.

use std::collections::BTreeMap;

use super::AdminParts;
use super::cluster::ClusterView;
use crate::daemon::engines::eventlog::{LogError, Topic};
use crate::protocol::StreamId;
use crate::protocol::admin::{Cluster, ConsumerLag};

/// Streams that are named per partition.
const NAMED_STREAMS: usize = 3;

impl AdminParts {
    /// Returns the lag of each consumer.
    pub(super) async fn consumer_lag(&self) -> Result<Cluster<ConsumerLag>, LogError> {
        let (lag, view) = tokio::join!(self.control.parts().log.lag(), self.cluster());
        let mut items = lag?;
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
