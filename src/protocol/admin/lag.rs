//! How far consumer groups are behind the end of the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Cluster;
use crate::protocol::{NodeId, StreamId};

/// Lag from which a consumer is behind if the age of its oldest record is not known, in records.
const NOTABLE_LAG: u64 = 1_000;

/// How a lag is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LagState {
    InTime,
    /// It is late, and catches up or keeps its distance.
    Behind,
    /// It is late, and more so every second.
    FallsBack,
}

/// `GET /v1/lag`: the lag of a consumer group behind the end of one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsumerLag {
    pub group: String,
    pub topic: String,
    pub partition: u32,
    pub position: u64,
    pub end: u64,
    /// Records that it has still to read.
    pub lag: u64,
    /// Records that were removed before it read them: it will never see them.
    #[serde(default)]
    pub expired: u64,
    /// Age of the oldest record that it has still to read, in milliseconds; 0 if it has read all.
    /// Exact on the embedded engine, within about two seconds on Kafka. Absent if not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// The node that reads the partition. Absent if none does, or if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<NodeId>,
    /// Change of `lag` per second, over at most the last 30 s. Absent until it is known: the node
    /// that answers must have looked twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_per_s: Option<f64>,
    /// The busiest streams of the partition, at most three. Only for the partition in which a group
    /// is furthest behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamId>,
}

impl ConsumerLag {
    /// Returns the offset of the oldest record that it has still to read and that is there.
    pub fn next_unread(&self) -> u64 {
        self.position.saturating_add(self.expired)
    }

    /// Leaves out records that it has read and holds back on purpose. The age of the oldest record
    /// behind them and the change without them are left open.
    pub fn leave_out_held(&mut self, held: u64) {
        let held = held.min(self.lag);
        if held == 0 {
            return;
        }
        self.position += held;
        self.lag -= held;
        self.oldest_ms = (self.lag == 0).then_some(0);
        self.change_per_s = None;
    }
}

/// The lag of a consumer group over all partitions of a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupLag {
    pub group: String,
    pub topic: String,
    /// Records that it has still to read.
    pub lag: u64,
    /// Records that were removed before it read them.
    #[serde(default)]
    pub expired: u64,
    /// Age of the oldest record that it has still to read, in milliseconds, as far as it is known;
    /// 0 if it has read all. Absent if it is known of no partition in which the group is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// The change of `lag` per second, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_per_s: Option<f64>,
    /// The nodes that read its partitions, with the number of partitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<NodeId, u64>,
    /// The lag of each partition, by number.
    pub partitions: Vec<(u32, u64)>,
    /// The busiest streams of the partition with the largest lag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worst_streams: Vec<StreamId>,
}

impl GroupLag {
    /// Adds up partitions by group and topic, the largest lag first.
    pub fn of(partitions: &[ConsumerLag]) -> Vec<Self> {
        let mut groups: BTreeMap<(&str, &str), Self> = BTreeMap::new();
        for partition in partitions {
            groups
                .entry((&partition.group, &partition.topic))
                .or_insert_with(|| Self::empty(partition))
                .add(partition);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.iter_mut().for_each(|group| group.partitions.sort_unstable());
        groups.sort_by_key(|group| std::cmp::Reverse(group.lag));
        groups
    }

    fn empty(of: &ConsumerLag) -> Self {
        Self {
            group: of.group.clone(),
            topic: of.topic.clone(),
            lag: 0,
            expired: 0,
            oldest_ms: None,
            change_per_s: None,
            owners: BTreeMap::new(),
            partitions: Vec::new(),
            worst_streams: Vec::new(),
        }
    }

    fn add(&mut self, partition: &ConsumerLag) {
        // A partition that is read to its end says nothing about the age of what waits in others.
        let was_behind = self.lag > 0;
        self.oldest_ms = match (was_behind, partition.lag > 0) {
            (true, false) => self.oldest_ms,
            (false, true) => partition.oldest_ms,
            (true, true) | (false, false) => self.oldest_ms.max(partition.oldest_ms),
        };
        self.lag += partition.lag;
        self.expired += partition.expired;
        if let Some(change) = partition.change_per_s {
            self.change_per_s = Some(self.change_per_s.unwrap_or_default() + change);
        }
        if let Some(owner) = &partition.owner {
            *self.owners.entry(owner.clone()).or_default() += 1;
        }
        self.partitions.push((partition.partition, partition.lag));
        if !partition.streams.is_empty() {
            self.worst_streams.clone_from(&partition.streams);
        }
    }

    /// Returns the partition with the largest lag, of several the first, with its lag.
    pub fn worst(&self) -> Option<(u32, u64)> {
        self.partitions.iter().copied().max_by_key(|(number, lag)| (*lag, u32::MAX - number))
    }

    /// Judges the lag, everywhere in the same way: a group is late if its oldest unread record is
    /// older than `limit_ms`, which is `alerts.lag_growing` in milliseconds.
    pub fn state(&self, limit_ms: u64) -> LagState {
        let is_late = match self.oldest_ms {
            Some(oldest_ms) => oldest_ms > limit_ms,
            None => self.lag >= NOTABLE_LAG,
        };
        if !is_late {
            return LagState::InTime;
        }
        let grows = self.change_per_s.is_some_and(|change| change > 0.0);
        if grows { LagState::FallsBack } else { LagState::Behind }
    }

    /// Names the nodes with the number of partitions of each, as `coord-1 50  coord-2 50`.
    pub fn owners_text(&self) -> String {
        let owner = |(node, partitions): (&NodeId, &u64)| format!("{node} {partitions}");
        self.owners.iter().map(owner).collect::<Vec<_>>().join("  ")
    }
}

impl From<Cluster<ConsumerLag>> for Cluster<GroupLag> {
    fn from(answer: Cluster<ConsumerLag>) -> Self {
        Self { items: GroupLag::of(&answer.items), unreachable: answer.unreachable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(group: &str, partition: u32, lag: u64) -> ConsumerLag {
        let topic = "comment_events".to_owned();
        ConsumerLag { group: group.into(), topic, partition, end: lag, lag, ..Default::default() }
    }

    #[test]
    fn lag_is_summed_by_group() {
        let owned = |of: ConsumerLag, owner: &str, oldest_ms, change| ConsumerLag {
            owner: Some(NodeId::new(owner)),
            oldest_ms,
            change_per_s: change,
            ..of
        };
        let worst = ConsumerLag {
            streams: vec![StreamId(7)],
            ..owned(lag("archiver", 1, 30), "b", Some(8_000), Some(2.5))
        };
        let groups = GroupLag::of(&[
            owned(lag("moderator", 0, 1), "a", None, None),
            worst,
            owned(lag("archiver", 0, 2), "a", Some(20), Some(-1.0)),
            owned(lag("archiver", 2, 0), "b", Some(0), None),
        ]);
        let [archiver, moderator] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!(
            (archiver.group.as_str(), archiver.lag, archiver.worst()),
            ("archiver", 32, Some((1, 30)))
        );
        assert_eq!((archiver.oldest_ms, archiver.change_per_s), (Some(8_000), Some(1.5)));
        assert_eq!(archiver.owners_text(), "a 1  b 2");
        assert_eq!(archiver.worst_streams, [StreamId(7)]);
        assert_eq!((moderator.lag, moderator.oldest_ms, moderator.change_per_s), (1, None, None));
    }

    #[test]
    fn a_lag_is_judged_by_its_age_and_change() {
        for (records, oldest_ms, change_per_s, expected) in [
            (14_000, Some(5_000), Some(60.0), LagState::InTime),
            (3, Some(5_001), Some(0.2), LagState::FallsBack),
            (14_000, Some(90_000), Some(-60.0), LagState::Behind),
            (14_000, Some(90_000), Some(0.0), LagState::Behind),
            (14_000, Some(90_000), None, LagState::Behind),
            (999, None, Some(60.0), LagState::InTime),
            (1_000, None, Some(60.0), LagState::FallsBack),
            (1_000, None, None, LagState::Behind),
        ] {
            let of = ConsumerLag { oldest_ms, change_per_s, ..lag("archiver", 0, records) };
            let [group] = &GroupLag::of(&[of])[..] else { panic!("one group") };
            assert_eq!(group.state(5_000), expected, "{group:?}");
        }
    }

    #[test]
    fn an_unknown_age_is_not_that_of_read_partitions() {
        let aged = |partition, behind, oldest_ms| ConsumerLag {
            oldest_ms,
            ..lag("archiver", partition, behind)
        };
        let age = |partitions: &[ConsumerLag]| GroupLag::of(partitions)[0].oldest_ms;
        let read = [aged(0, 0, Some(0)), aged(1, 0, Some(0))];
        assert_eq!(age(&read), Some(0));
        let unknown = aged(2, 14_000, None);
        assert_eq!(age(&[read.as_slice(), std::slice::from_ref(&unknown)].concat()), None);
        assert_eq!(age(&[unknown.clone(), read[0].clone()]), None);
        assert_eq!(age(&[unknown, read[0].clone(), aged(3, 5, Some(40))]), Some(40));
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let text = serde_json::to_string(&lag("a", 0, 5)).unwrap();
        assert!(!text.contains("oldest_ms") && !text.contains("owner"), "{text}");
        let earlier = r#"{"group":"a","topic":"t","partition":0,"position":1,"end":6,"lag":5}"#;
        let read: ConsumerLag = serde_json::from_str(earlier).unwrap();
        assert_eq!((read.lag, read.oldest_ms, read.change_per_s), (5, None, None));
    }
}
