//! What groups have committed, and how far they are behind.
//!
//! The library tells a client the commits of its own group alone, so there is one idle client a group;
//! it never joins. Answers about all groups are kept for [`FRESH`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::assignment::{ends, offsets};
use super::client::Clients;
use super::failure::unavailable;
use super::place::{log_offset, position};
use super::reader::Quiet;
use super::topics::Topics;
use crate::daemon::config::Guarantee;
use crate::daemon::eventlog::{LogError, Position, Topic};
use crate::protocol::admin::ConsumerLag;

const FRESH: Duration = Duration::from_secs(1);
/// Groups of other nodes are looked for this often.
const LISTED_EVERY: Duration = Duration::from_secs(5);

type Client = Arc<BaseConsumer<Quiet>>;

pub(super) struct Groups {
    clients: Clients,
    topics: Arc<Topics>,
    known: Mutex<Known>,
    /// Each transaction leaves its mark behind its records.
    transactions: bool,
    /// Held while it is being found out, so that it is found out once.
    lag: tokio::sync::Mutex<Option<(Instant, Vec<ConsumerLag>)>>,
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
        let (clients, known, lag) = (clients.clone(), Mutex::default(), Default::default());
        let transactions = guarantee == Guarantee::ExactlyOnce;
        Arc::new(Self { clients, topics, transactions, known, lag })
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
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
            .committed_offsets(&client, topic)
            .map_err(|error| unavailable(&format!("asking what {group} committed"), &error))?;
        Ok(committed.into_iter().map(|(partition, offset)| position(partition, offset)).collect())
    }

    fn committed_offsets(&self, client: &Client, topic: Topic) -> KafkaResult<BTreeMap<i32, i64>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.topics.partitions(topic) as i32 {
            list.add_partition_offset(self.topics.name(topic), partition, Offset::Invalid)?;
        }
        offsets(&client.committed_offsets(list, self.clients.timeout)?)
    }

    pub(super) async fn lag(self: &Arc<Self>) -> Result<Vec<ConsumerLag>, LogError> {
        let mut kept = self.lag.lock().await;
        if let Some((found_at, lags)) = &*kept
            && found_at.elapsed() < FRESH
        {
            return Ok(lags.clone());
        }
        let groups = self.clone();
        let found = tokio::task::spawn_blocking(move || groups.find_lag()).await;
        let lags = found.unwrap_or_else(|error| Err(LogError::Unavailable(error.to_string())))?;
        *kept = Some((Instant::now(), lags.clone()));
        Ok(lags)
    }

    fn find_lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let mut lags = Vec::new();
        for group in self.names()? {
            let client = self.client(&group)?;
            for topic in Topic::ALL {
                let failed = |error| unavailable(&format!("the lag of {group}"), &error);
                let committed = self.committed_offsets(&client, topic).map_err(failed)?;
                if committed.is_empty() {
                    continue;
                }
                let partitions: Vec<i32> = committed.keys().copied().collect();
                let (name, timeout) = (self.topics.name(topic), self.clients.timeout);
                let end = ends(&client, name, &partitions, Offset::End, timeout).map_err(failed)?;
                lags.extend(committed.into_iter().map(|(partition, offset)| ConsumerLag {
                    group: group.clone(),
                    topic: topic.name().to_owned(),
                    partition: partition as u32,
                    position: log_offset(offset),
                    end: log_offset(end[&partition]),
                    lag: self.behind(offset, end[&partition]),
                }));
            }
        }
        Ok(lags)
    }

    /// The groups of this system that the cluster knows.
    fn names(&self) -> Result<BTreeSet<String>, LogError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: BTreeSet<String> = known.by_group.keys().cloned().collect();
        let listed = known.listed_at.is_some_and(|at| at.elapsed() < LISTED_EVERY);
        let any = known.by_group.values().next().cloned();
        drop(known);
        if listed {
            return Ok(names);
        }
        // Any group's client can ask.
        let client = any.map_or_else(|| self.client(PROBE), Ok)?;
        let list = client
            .fetch_group_list(None, self.clients.timeout)
            .map_err(|error| unavailable("listing consumer groups", &error))?;
        names.extend(
            list.groups().iter().filter_map(|g| self.clients.own_name(g.name()).map(str::to_owned)),
        );
        self.known.lock().unwrap_or_else(PoisonError::into_inner).listed_at = Some(Instant::now());
        Ok(names)
    }
}

/// The name under which a client lists groups before it knows any.
const PROBE: &str = "lister";
