//! Committed offsets of consumer groups, and their lag.
//!
//! The library shows a client only the commits of its own group, so there is one idle client per
//! group. It never joins the group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::groups::GroupInfo;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::debug;

use super::client::{ClientSettings, LogOnlyContext, unavailable};
use super::offsets::{Offsets, listed_commits, log_offset, log_position, partition_ends};
use super::owners::{Owners, owners_in};
use super::reader::{PageRequest, ReaderPool};
use super::resume::is_mark_of;
use super::topics::Topics;
use crate::daemon::base::clock::{Clock as _, SystemClock};
use crate::daemon::base::config::Guarantee;
use crate::daemon::base::supervise::early_end;
use crate::daemon::engines::eventlog::{LagHistory, LogError, Position, Topic};
use crate::protocol::admin::ConsumerLag;

/// Interval at which the groups on the cluster are listed, to find those of other nodes.
const LIST_INTERVAL: Duration = Duration::from_secs(5);
/// Timeout of the list when groups are known already, so that a broker that hangs delays their lag
/// by no more than this.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for which a lag stays valid.
const LAG_VALIDITY: Duration = Duration::from_secs(1);
/// Records that one look reads to learn their age.
const MAX_RECORDS_READ: usize = 8;
/// Time limit for all of them.
const READ_TIMEOUT: Duration = Duration::from_millis(300);
/// Group name of the client that lists groups and finds the ends of topics. It joins no group.
const LISTER: &str = "lister";

type Client = Arc<BaseConsumer<LogOnlyContext>>;

pub(super) struct GroupOffsets {
    clients: ClientSettings,
    topics: Arc<Topics>,
    known: Mutex<KnownGroups>,
    /// True if appends are transactions, each of which writes a marker behind its records.
    has_transactions: bool,
    lag_cache: LagCache,
    history: LagHistory,
    /// Reads single records, to learn their age. They have readers of their own, so that a hanging
    /// broker leaves those of viewers' pages alone.
    readers: ReaderPool,
}

#[derive(Default)]
struct KnownGroups {
    clients: BTreeMap<String, Client>,
    listed_at: Option<Instant>,
    /// As they were listed last.
    owners: Arc<Owners>,
}

impl std::fmt::Debug for GroupOffsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupOffsets").finish_non_exhaustive()
    }
}

impl GroupOffsets {
    pub(super) fn new(
        clients: &ClientSettings,
        topics: Arc<Topics>,
        guarantee: Guarantee,
    ) -> Arc<Self> {
        Arc::new(Self {
            clients: clients.clone(),
            topics,
            known: Mutex::default(),
            has_transactions: guarantee == Guarantee::ExactlyOnce,
            lag_cache: LagCache::default(),
            history: LagHistory::default(),
            readers: ReaderPool::new(clients),
        })
    }

    /// Refuses further reads.
    pub(super) fn close(&self) {
        self.readers.close();
    }

    /// Returns the number of records between a commit and the end. With transactions the last
    /// offset is a marker, which consumers never receive. So a group that is one behind has read
    /// everything, unless a transaction is open: an unread record would have its marker behind it.
    fn records_behind(&self, committed: i64, end: i64, is_open: bool) -> u64 {
        match end.saturating_sub(committed).max(0) as u64 {
            1 if self.has_transactions && !is_open => 0,
            lag => lag,
        }
    }

    /// Returns the client of a group. It connects at its first use.
    fn client(&self, group: &str) -> Result<Client, LogError> {
        let mut known = self.known.lock();
        if let Some(client) = known.clients.get(group) {
            return Ok(client.clone());
        }
        let mut config = self.clients.consumer(group);
        if group == LISTER {
            // Records behind a transaction that does not end are still to be read, so they count.
            config.set("isolation.level", "read_uncommitted");
        }
        let client = BaseConsumer::from_config_and_context(&config, LogOnlyContext)
            .map_err(|error| unavailable("creating a client", &error))?;
        let client = Arc::new(client);
        known.clients.insert(group.to_owned(), client.clone());
        Ok(client)
    }

    /// Returns the positions that a group committed in a topic. Blocks.
    pub(super) fn committed(&self, topic: Topic, group: &str) -> Result<Vec<Position>, LogError> {
        let client = self.client(group)?;
        let committed = self
            .committed_offsets(&client, &[topic])
            .map_err(|error| unavailable(&format!("fetching the commits of {group}"), &error))?;
        let positions = committed.into_iter().map(|((_, at), offset)| log_position(at, offset));
        Ok(positions.collect())
    }

    /// Blocks for at most `kafka.append_timeout`.
    fn committed_offsets(&self, client: &Client, topics: &[Topic]) -> KafkaResult<Offsets> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in self.partitions(topics) {
            list.add_partition_offset(topic, partition, Offset::Invalid)?;
        }
        let id = |name: &str| {
            let topic = topics.iter().find(|topic| self.topics.name(**topic) == name)?;
            self.topics.id(*topic)
        };
        let committed = client.committed_offsets(list, self.clients.timeout)?;
        listed_commits(&committed, |topic, mark| is_mark_of(mark, id(topic)))
    }

    fn partitions<'a>(&'a self, topics: &'a [Topic]) -> impl Iterator<Item = (&'a str, i32)> {
        topics.iter().flat_map(move |&topic| {
            let partitions = 0..self.topics.partitions(topic) as i32;
            partitions.map(move |partition| (self.topics.name(topic), partition))
        })
    }

    pub(super) async fn lag(self: &Arc<Self>) -> Result<Vec<ConsumerLag>, LogError> {
        let groups = self.clone();
        self.lag_cache.get(move || groups.find_lag()).await
    }

    /// Sends one request per group, and one for the ends of the partitions in which any group has
    /// committed: a partition that nobody reads may have no leader. Reads at most
    /// [`MAX_RECORDS_READ`] records. Blocks, on a thread of the runtime.
    fn find_lag(&self) -> Result<Vec<ConsumerLag>, LogError> {
        let mut committed = Vec::new();
        for group in self.names()? {
            let offsets = self
                .committed_offsets(&self.client(&group)?, &Topic::ALL)
                .map_err(|error| unavailable(&format!("finding the lag of {group}"), &error))?;
            committed.push((group, offsets));
        }
        let partitions: BTreeSet<_> =
            committed.iter().flat_map(|(_, offsets)| offsets.keys()).collect();
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        // Fetched after the commits, so that no end is before a commit.
        let ends = |client: &Client, end| {
            let partitions =
                partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition));
            partition_ends(client, partitions, end, self.clients.timeout)
                .map_err(|error| unavailable("finding the lag of consumers", &error))
        };
        let lister = self.client(LISTER)?;
        let earliest = ends(&lister, Offset::Beginning)?;
        let committed_ends = match committed.first().filter(|_| self.has_transactions) {
            Some((group, _)) => ends(&self.client(group)?, Offset::End)?,
            None => Offsets::default(),
        };
        let ends = ends(&lister, Offset::End)?;
        let is_open = |of: &(String, i32)| committed_ends.get(of).is_some_and(|it| *it < ends[of]);
        let owners = self.known.lock().owners.clone();
        let owner_of = |group: &str, (topic, partition): &(String, i32)| {
            owners.get(&(group.to_owned(), topic.clone(), *partition)).cloned()
        };
        let lag_of = |group: &str, of: &(String, i32), offset: i64| ConsumerLag {
            group: group.to_owned(),
            topic: self.clients.without_prefix(&of.0).unwrap_or(&of.0).to_owned(),
            partition: of.1 as u32,
            position: log_offset(offset),
            end: log_offset(ends[of]),
            lag: self.records_behind(offset.max(earliest[of]), ends[of], is_open(of)),
            expired: earliest[of].saturating_sub(offset).max(0) as u64,
            owner: owner_of(group, of),
            ..ConsumerLag::default()
        };
        let lags = committed.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(move |(of, &offset)| lag_of(group, of, offset))
        });
        let mut lags: Vec<_> = lags.collect();
        self.history.observe(&mut lags);
        self.set_ages(&mut lags);
        Ok(lags)
    }

    /// Sets the ages of the oldest unread records: from the ends that were seen, and, of the
    /// partitions where these do not tell, from the record itself, the largest lags first. What is
    /// read now is remembered, so the next look reads others.
    fn set_ages(&self, lags: &mut [ConsumerLag]) {
        let mut unknown = Vec::new();
        for (index, lag) in lags.iter_mut().enumerate() {
            if lag.lag == 0 {
                lag.oldest_ms = Some(0);
                continue;
            }
            let age = self.history.age(&lag.topic, lag.partition, lag.next_unread());
            lag.oldest_ms = age.map(|age| age.age.as_millis() as u64);
            if age.is_none_or(|age| !age.is_close) {
                unknown.push(index);
            }
        }
        unknown.sort_by_key(|index| std::cmp::Reverse(lags[*index].lag));
        let deadline = Instant::now() + READ_TIMEOUT;
        for index in unknown.into_iter().take(MAX_RECORDS_READ) {
            let lag = &mut lags[index];
            let Ok(read) = self.read_timestamp(lag, deadline) else { return };
            // A record of an open transaction is not there yet.
            let Some(timestamp_ms) = read else { continue };
            let age_ms = SystemClock.now_ms().saturating_sub(timestamp_ms);
            let age = Duration::from_millis(age_ms);
            self.history.learn(&lag.topic, lag.partition, lag.next_unread(), age);
            lag.oldest_ms = Some(age_ms);
        }
    }

    /// Reads the timestamp of the oldest record that a group has not read. Blocks.
    fn read_timestamp(
        &self,
        lag: &ConsumerLag,
        deadline: Instant,
    ) -> Result<Option<u64>, LogError> {
        let request = PageRequest {
            topic: self.clients.prefixed(&lag.topic),
            partition: lag.partition,
            key: None,
            offset: lag.next_unread(),
            max_records: 1,
            acknowledged_end: 0,
        };
        let page = tokio::time::timeout_at(deadline, self.readers.page(request));
        let page = Handle::current().block_on(page);
        let page = page.unwrap_or_else(|_| Err(LogError::Unavailable("no answer".to_owned())))?;
        Ok(page.records.first().map(|record| record.timestamp_ms))
    }

    /// Returns the names of this system's groups on the cluster.
    fn names(&self) -> Result<BTreeSet<String>, LogError> {
        let (mut names, is_listed) = {
            let known = self.known.lock();
            let is_listed = known.listed_at.is_some_and(|at| at.elapsed() < LIST_INTERVAL);
            (known.clients.keys().cloned().collect::<BTreeSet<_>>(), is_listed)
        };
        names.remove(LISTER);
        if !is_listed {
            self.add_listed(&mut names)?;
        }
        Ok(names)
    }

    /// Asks every broker. If one does not answer, the groups known already are used.
    fn add_listed(&self, names: &mut BTreeSet<String>) -> Result<(), LogError> {
        let timeout = if names.is_empty() {
            self.clients.timeout
        } else {
            self.clients.timeout.min(LIST_TIMEOUT)
        };
        let own_name =
            |group: &GroupInfo| self.clients.without_prefix(group.name()).map(str::to_owned);
        match self.client(LISTER)?.fetch_group_list(None, timeout) {
            Ok(list) => {
                names.extend(list.groups().iter().filter_map(own_name));
                self.known.lock().owners = Arc::new(owners_in(&list, &self.clients));
            }
            Err(error) if names.is_empty() => {
                return Err(unavailable("listing consumer groups", &error));
            }
            Err(error) => debug!(%error, "consumer groups cannot be listed on every broker"),
        }
        self.known.lock().listed_at = Some(Instant::now());
        Ok(())
    }
}

type LagResult = Result<Vec<ConsumerLag>, LogError>;

/// The last lag, or the query that runs. Callers share one query, and its result for
/// [`LAG_VALIDITY`]. A query continues when its callers have gone, so on a cluster slower than
/// their timeout the next caller gets the result.
#[derive(Default)]
struct LagCache {
    last: Mutex<Option<LagQuery>>,
}

struct LagQuery {
    result: Shared<BoxFuture<'static, LagResult>>,
    finished_at: Arc<OnceLock<Instant>>,
}

impl LagQuery {
    fn start(find: impl FnOnce() -> LagResult + Send + 'static) -> Self {
        let finished_at = Arc::<OnceLock<Instant>>::default();
        let finished = finished_at.clone();
        let found = tokio::task::spawn_blocking(move || {
            let result = find();
            let _ = finished.set(Instant::now());
            result
        });
        let result = found
            .map(|found| {
                found.unwrap_or_else(|error| {
                    Err(LogError::Unavailable(format!("the query {}", early_end(&error))))
                })
            })
            .boxed()
            .shared();
        Self { result, finished_at }
    }

    /// Returns whether it runs, or finished within [`LAG_VALIDITY`].
    fn is_valid(&self) -> bool {
        // A query that panicked has no time of finishing.
        let ended = self.result.peek().is_some();
        self.finished_at.get().map_or(!ended, |at| at.elapsed() < LAG_VALIDITY)
    }
}

impl LagCache {
    /// Calls `find`, which blocks, if there is no valid result.
    async fn get(&self, find: impl FnOnce() -> LagResult + Send + 'static) -> LagResult {
        let result = {
            let mut last = self.last.lock();
            match &*last {
                Some(query) if query.is_valid() => query.result.clone(),
                _ => last.insert(LagQuery::start(find)).result.clone(),
            }
        };
        result.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn behind(lag: u64) -> Vec<ConsumerLag> {
        vec![ConsumerLag {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition: 0,
            position: 1,
            end: 1 + lag,
            lag,
            ..ConsumerLag::default()
        }]
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_query() {
        let lags = LagCache::default();
        let (first, second) =
            tokio::join!(lags.get(|| Ok(behind(1))), lags.get(|| panic!("queried twice")));
        assert_eq!((first.unwrap(), second.unwrap()), (behind(1), behind(1)));
        tokio::time::pause();
        tokio::time::advance(LAG_VALIDITY).await;
        assert_eq!(lags.get(|| Ok(behind(2))).await.unwrap(), behind(2));
    }

    #[tokio::test]
    async fn next_caller_gets_the_result_of_a_slow_query() {
        let lags = LagCache::default();
        let (finish, wait) = mpsc::channel();
        let slow = lags.get(move || {
            wait.recv().unwrap();
            Ok(behind(3))
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), slow).await.is_err());
        finish.send(()).unwrap();
        assert_eq!(lags.get(|| panic!("queried twice")).await.unwrap(), behind(3));
    }

    #[tokio::test]
    async fn query_that_panics_is_repeated() {
        let lags = LagCache::default();
        assert!(lags.get(|| panic!("on purpose")).await.is_err());
        assert_eq!(lags.get(|| Ok(behind(4))).await.unwrap(), behind(4));
    }
}
