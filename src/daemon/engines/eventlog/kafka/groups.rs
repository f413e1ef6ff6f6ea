//! What groups have committed, and how far they are behind.
//!
//! The library tells a client the commits of its own group alone, so there is one idle client a group;
//! it never joins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::groups::GroupInfo;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;
use tracing::debug;

use super::client::Clients;
use super::failure::unavailable;
use super::lag::Lags;
use super::leaders::{Offsets, ends, offsets};
use super::place::{log_offset, position};
use super::reader::Quiet;
use super::topics::Topics;
use crate::daemon::base::config::Guarantee;
use crate::daemon::engines::eventlog::{LogError, Position, Topic};
use crate::protocol::admin::ConsumerLag;

/// Groups of other nodes are looked for this often.
const LISTED_EVERY: Duration = Duration::from_secs(5);
/// A broker that hangs costs the lag of groups known already no more than this.
const LIST_PATIENCE: Duration = Duration::from_secs(1);

type Client = Arc<BaseConsumer<Quiet>>;

pub(super) struct Groups {
    clients: Clients,
    topics: Arc<Topics>,
    known: Mutex<Known>,
    /// Each transaction leaves its mark behind its records.
    transactions: bool,
    lags: Lags,
}

#[derive(Default)]
struct Known {
    by_group: BTreeMap<String, Client>,
    listed_at: Option<Instant>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

impl Groups {
    pub(super) fn new(clients: &Clients, topics: Arc<Topics>, guarantee: Guarantee) -> Arc<Self> {
        let (clients, known, lags) = (clients.clone(), Mutex::default(), Lags::default());
        let transactions = guarantee == Guarantee::ExactlyOnce;
        Arc::new(Self { clients, topics, transactions, known, lags })
    }

    /// Records between a commit and the end. With transactions the last offset is a mark, which no
    /// consumer is handed: what is one behind has read everything, as a record that was not read would
    /// have its mark behind it.
    fn behind(&self, committed: i64, end: i64) -> u64 {
        match end.saturating_sub(committed).max(0) as u64 {
            1 if self.transactions => 0,
            lag => lag,
        }
    }

    /// The client of a group. It opens connections at its first use.
    fn client(&self, group: &str) -> Result<Client, LogError> {
        let mut known = self.known.lock();
        if let Some(client) = known.by_group.get(group) {
            return Ok(client.clone());
        }
        let client = BaseConsumer::from_config_and_context(&self.clients.consumer(group), Quiet)
            .map_err(|error| unavailable("setting up a client", &error))?;
        let client = Arc::new(client);
        known.by_group.insert(group.to_owned(), client.clone());
        Ok(client)
    }

    /// What a group committed in a topic. Blocks.
    pub(super) fn committed(&self, topic: Topic, group: &str) -> Result<Vec<Position>, LogError> {
        let client = self.client(group)?;
        let committed = self
            .committed_offsets(&client, &[topic])
            .map_err(|error| unavailable(&format!("asking what {group} committed"), &error))?;
        let positions = committed.into_iter().map(|((_, at), offset)| position(at, offset));
        Ok(positions.collect())
    }

    /// Waits until the cluster answers or `kafka.append_timeout` is over.
    fn committed_offsets(&self, client: &Client, topics: &[Topic]) -> KafkaResult<Offsets> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in self.partitions(topics) {
            list.add_partition_offset(topic, partition, Offset::Invalid)?;
        }
        offsets(&client.committed_offsets(list, self.clients.timeout)?)
    }

    fn partitions<'a>(&'a self, topics: &'a [Topic]) -> impl Iterator<Item = (&'a str, i32)> {
        topics.iter().flat_map(move |&topic| {
            let partitions = 0..self.topics.partitions(topic) as i32;
            partitions.map(move |partition| (self.topics.name(topic), partition))
        })
    }

    pub(super) async fn lag(self: &Arc<Self>) -> Result<Vec<ConsumerLag>, LogError> {
        let groups = self.clone();
        self.lags.get(move || groups.find_lag()).await
    }

    /// One question about each group and one about the places where any of them stands: what nobody
    /// reads may be without a leader. Blocks.
    fn find_lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let mut committed = Vec::new();
        for group in self.names()? {
            let offsets = self
                .committed_offsets(&self.client(&group)?, &Topic::ALL)
                .map_err(|error| unavailable(&format!("the lag of {group}"), &error))?;
            committed.push((group, offsets));
        }
        let places: BTreeSet<_> =
            committed.iter().flat_map(|(_, offsets)| offsets.keys()).collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        // After the commits, so that no end is before one.
        let client = self.client(LISTER)?;
        let places = places.iter().map(|(topic, partition)| (topic.as_str(), *partition));
        let end = ends(&client, places, Offset::End, self.clients.timeout)
            .map_err(|error| unavailable("the lag of consumers", &error))?;
        let lag_of = |group: &str, place: &(String, i32), offset| ConsumerLag {
            group: group.to_owned(),
            topic: self.clients.own_name(&place.0).unwrap_or(&place.0).to_owned(),
            partition: place.1 as u32,
            position: log_offset(offset),
            end: log_offset(end[place]),
            lag: self.behind(offset, end[place]),
        };
        let lags = committed.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(move |(place, &offset)| lag_of(group, place, offset))
        });
        Ok(lags.collect())
    }

    /// The groups of this system that the cluster knows.
    fn names(&self) -> Result<BTreeSet<String>, LogError> {
        let (mut names, is_listed) = {
            let known = self.known.lock();
            let is_listed = known.listed_at.is_some_and(|at| at.elapsed() < LISTED_EVERY);
            (known.by_group.keys().cloned().collect::<BTreeSet<_>>(), is_listed)
        };
        names.remove(LISTER);
        if !is_listed {
            self.list(&mut names)?;
        }
        Ok(names)
    }

    /// Asks each broker. The groups known before are still worth showing without one of them.
    fn list(&self, names: &mut BTreeSet<String>) -> Result<(), LogError> {
        let patience = match names.is_empty() {
            true => self.clients.timeout,
            false => self.clients.timeout.min(LIST_PATIENCE),
        };
        let own_name = |group: &GroupInfo| self.clients.own_name(group.name()).map(str::to_owned);
        match self.client(LISTER)?.fetch_group_list(None, patience) {
            Ok(list) => names.extend(list.groups().iter().filter_map(own_name)),
            Err(error) if names.is_empty() => {
                return Err(unavailable("listing consumer groups", &error));
            }
            Err(error) => debug!(%error, "not all consumer groups can be listed"),
        }
        self.known.lock().listed_at = Some(Instant::now());
        Ok(())
    }
}

/// The name under which a client lists groups and looks where topics end. It is in no group.
const LISTER: &str = "lister";
