//! Asks the leaders of a topic's partitions whether they answer, for the health check.
//!
//! One ask runs at a time, with a client of its own, so that it takes no reader of pages. While one
//! runs, the answer of the ask before it stands. An ask continues after its caller has gone.
//!
//! Bounded: an ask takes at most [`METADATA_TIMEOUT`] and [`LEADERS_TIMEOUT`], or
//! [`CONNECT_TIMEOUT`] instead of the first while its client has no connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Semaphore, TryAcquireError};
use tracing::debug;

use super::client::{ClientSettings, LogOnlyContext, unavailable};
use super::health::PROBE_TIMEOUT;
use super::offsets::listed_offsets;
use crate::daemon::engines::eventlog::{LogError, run_blocking};

/// Timeout of the question which broker leads which partition. Without an answer, for example
/// because the broker that was asked is silent, the leaders known before are asked.
const METADATA_TIMEOUT: Duration = PROBE_TIMEOUT;
/// Timeout of that question while the client has no connection. Connecting takes long on a busy
/// machine. It is longer than a health check waits, which finds the answer at its next turn.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for all leaders of one ask together.
const LEADERS_TIMEOUT: Duration = Duration::from_millis(750);

/// The partitions that each broker leads.
type Leaders = BTreeMap<i32, Vec<i32>>;
type Answer = Result<Vec<u32>, LogError>;

#[derive(Clone)]
pub(super) struct LeaderCheck {
    clients: ClientSettings,
    topic: String,
    /// Has one permit.
    permit: Arc<Semaphore>,
    state: Arc<Mutex<CheckState>>,
}

#[derive(Default)]
struct CheckState {
    /// `None` while an ask uses it, and after one that failed.
    client: Option<LeaderClient>,
    last_answer: Option<Answer>,
}

struct LeaderClient {
    client: BaseConsumer<LogOnlyContext>,
    /// The last known leaders; `None` until the client has connected.
    leaders: Option<Leaders>,
}

impl std::fmt::Debug for LeaderCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaderCheck").finish_non_exhaustive()
    }
}

impl LeaderCheck {
    pub(super) fn new(clients: &ClientSettings, topic: &str) -> Self {
        Self {
            clients: clients.clone(),
            topic: topic.to_owned(),
            permit: Arc::new(Semaphore::new(1)),
            state: Arc::default(),
        }
    }

    /// Returns the partitions whose leader does not answer. Fails if none does.
    pub(super) async fn unreachable_partitions(&self) -> Answer {
        let permit = match self.permit.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(LogError::Closed),
            Err(TryAcquireError::NoPermits) => {
                let last = self.state.lock().last_answer.clone();
                if let Some(last) = last {
                    return last;
                }
                self.permit.clone().acquire_owned().await.map_err(|_| LogError::Closed)?
            }
        };
        let check = self.clone();
        run_blocking(move || {
            let answer = check.ask();
            check.state.lock().last_answer = Some(answer.clone());
            drop(permit);
            answer
        })
        .await
    }

    /// Refuses further asks.
    pub(super) fn close(&self) {
        self.permit.close();
        let client = self.state.lock().client.take();
        drop(client);
    }

    /// Blocks. A client that got no answer is not used again.
    fn ask(&self) -> Answer {
        let topic = &*self.topic;
        let known = self.state.lock().client.take();
        let mut client = known.map_or_else(|| LeaderClient::new(&self.clients), Ok)?;
        let leaders = client.leaders(topic)?;
        let unreachable = ask_leaders(&leaders, Instant::now, |leader, partitions, timeout| {
            ask_leader(&client.client, topic, leader, partitions, timeout)
        });
        let Some(unreachable) = unreachable else {
            let text = format!("no leader of a partition of topic {topic} answers");
            return Err(LogError::Unavailable(text));
        };
        self.state.lock().client = Some(client);
        Ok(unreachable)
    }
}

impl LeaderClient {
    fn new(clients: &ClientSettings) -> Result<Self, LogError> {
        let config = clients.consumer("reader");
        let client = BaseConsumer::from_config_and_context(&config, LogOnlyContext)
            .map_err(|error| unavailable("creating a client for the leaders", &error))?;
        Ok(Self { client, leaders: None })
    }

    fn leaders(&mut self, topic: &str) -> Result<Leaders, LogError> {
        let known = &self.leaders;
        let timeout = if known.is_some() { METADATA_TIMEOUT } else { CONNECT_TIMEOUT };
        match (self.client.fetch_metadata(Some(topic), timeout), known) {
            (Ok(metadata), _) => {
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                let mut leaders = Leaders::new();
                for partition in found.map_or(&[][..], |found| found.partitions()) {
                    leaders.entry(partition.leader()).or_default().push(partition.id());
                }
                self.leaders = Some(leaders.clone());
                Ok(leaders)
            }
            (Err(error), Some(known)) => {
                debug!(%error, topic, "asking the leaders known before");
                Ok(known.clone())
            }
            (Err(error), None) => {
                Err(unavailable(&format!("finding the leaders of {topic}"), &error))
            }
        }
    }
}

/// Asks each leader once. Each may use its share of the time that is left, so that silent leaders
/// together take no longer than one. Returns the partitions of those that do not answer, in order;
/// `None` if none answers.
fn ask_leaders(
    leaders: &Leaders,
    now: impl Fn() -> Instant,
    ask: impl Fn(i32, &[i32], Duration) -> KafkaResult<()>,
) -> Option<Vec<u32>> {
    let deadline = now() + LEADERS_TIMEOUT;
    let mut unreachable = Vec::new();
    let mut answers = 0;
    for (asked, (&leader, partitions)) in (0..).zip(leaders) {
        let remaining = leaders.len() as u32 - asked;
        let share = deadline.saturating_duration_since(now()) / remaining;
        match ask(leader, partitions, share) {
            Ok(()) => answers += 1,
            Err(error) => {
                debug!(%error, leader, ?partitions, "the leader of partitions does not answer");
                unreachable.extend(partitions.iter().map(|partition| *partition as u32));
            }
        }
    }
    unreachable.sort_unstable();
    (answers > 0).then_some(unreachable)
}

/// Asks a leader for the ends of all its partitions.
fn ask_leader(
    client: &BaseConsumer<LogOnlyContext>,
    topic: &str,
    leader: i32,
    partitions: &[i32],
    timeout: Duration,
) -> KafkaResult<()> {
    if leader < 0 {
        return Err(KafkaError::OffsetFetch(Code::LeaderNotAvailable));
    }
    let mut list = TopicPartitionList::new();
    for &partition in partitions {
        list.add_partition_offset(topic, partition, Offset::End)?;
    }
    let ends = client.offsets_for_times(list, timeout)?;
    let answers = listed_offsets(&ends)?.len();
    if answers == partitions.len() {
        Ok(())
    } else {
        Err(KafkaError::OffsetFetch(Code::LeaderNotAvailable))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::daemon::base::config::KafkaConfig;
    use crate::protocol::NodeId;

    fn check() -> LeaderCheck {
        let clients = ClientSettings::new(&KafkaConfig::default(), &NodeId::new("test"));
        LeaderCheck::new(&clients.expect("settings"), "comment_events")
    }

    #[test]
    fn silent_leaders_share_the_time_of_one_ask() {
        let leaders: Leaders = (1..=8).map(|leader| (leader, vec![leader - 1])).collect();
        let began = Instant::now();
        let answer_of = |silent: fn(i32) -> bool| {
            let now = Cell::new(began);
            let answer = ask_leaders(
                &leaders,
                || now.get(),
                |leader, _, timeout| {
                    assert!(!timeout.is_zero(), "every leader is asked");
                    if silent(leader) {
                        now.set(now.get() + timeout);
                        return Err(KafkaError::OffsetFetch(Code::OperationTimedOut));
                    }
                    Ok(())
                },
            );
            assert!(now.get() - began <= LEADERS_TIMEOUT, "{:?}", now.get() - began);
            answer
        };
        assert_eq!(answer_of(|_| false), Some(Vec::new()));
        assert_eq!(answer_of(|leader| leader != 8), Some((0..7).collect()));
        assert_eq!(answer_of(|leader| leader == 8), Some(vec![7]));
        assert_eq!(answer_of(|_| true), None);
    }

    #[tokio::test(start_paused = true)]
    async fn last_answer_stands_while_an_ask_runs() {
        let check = check();
        let running = check.permit.clone().acquire_owned().await.expect("the permit");
        let asking = check.unreachable_partitions();
        let first = tokio::time::timeout(Duration::from_secs(3600), asking).await;
        assert!(first.is_err(), "there is no answer to stand: the ask waits");
        check.state.lock().last_answer = Some(Ok(vec![3]));
        assert_eq!(check.unreachable_partitions().await.expect("an answer"), [3]);
        drop(running);
        check.close();
        let closed = check.unreachable_partitions().await;
        assert!(matches!(closed, Err(LogError::Closed)), "{closed:?}");
    }
}
