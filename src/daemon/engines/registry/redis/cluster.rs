//! The nodes of the cluster: heartbeats, reports, viewers. All of it is written to every Redis
//! node, so that each of them shows the whole cluster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::{FromRedisValue, Value};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::clock_offset::ClockReading;
use super::node_link::NodeLink;
use super::node_list::{NodeObservation, NodeState};
use super::wire::{decode, encode};
use super::{Core, reconciler};
use crate::daemon::base::clock::{Clock as _, SystemClock};
use crate::daemon::engines::registry::{ALIVE_FOR, KNOWN_FOR, KnownNode, RegistryError};
use crate::protocol::admin::NodeReport;
use crate::protocol::{NodeId, StreamId};

/// A slow Redis node must not delay the others. Less than the interval of reports, which is a
/// second and a quarter of [`ALIVE_FOR`].
const WRITE_TIMEOUT: Duration = Duration::from_millis(800);
/// Time that the other Redis nodes get once one has told the nodes. It shows the whole cluster, and
/// an operator's snapshot, which leaves out what takes 500 ms, would lose all nodes at once.
const MORE_ANSWERS: Duration = Duration::from_millis(250);
/// Time after which a Redis node that came back has the reports of every node. Sums are read from
/// it only then, unless there is no other.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Time limit of the removals at the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The last report of this node.
#[derive(Debug, Default)]
pub(super) struct OwnState {
    inner: Mutex<OwnInner>,
}

#[derive(Debug, Default)]
struct OwnInner {
    report: Option<Arc<NodeReport>>,
    viewers: Vec<(StreamId, u64)>,
    has_left: bool,
}

impl OwnState {
    fn with<T>(&self, act: impl FnOnce(&mut OwnInner) -> T) -> T {
        act(&mut self.inner.lock())
    }

    pub(super) fn has_left(&self) -> bool {
        self.with(|own| own.has_left)
    }
}

impl Core {
    pub(super) async fn report(&self, report: NodeReport) -> Result<(), RegistryError> {
        self.own.with(|own| own.report = Some(Arc::new(report)));
        // On a link that is down, the reconciler sends the heartbeat as soon as the node answers.
        let beats = self.links.iter().map(|link| async {
            match link.outage() {
                None => in_time(link, self.send_heartbeat(link)).await,
                Some(outage) => Err(outage),
            }
        });
        one_is_enough(&join_all(beats).await)
    }

    /// Sends a heartbeat to one Redis node. An answer brings the link up.
    pub(super) async fn send_heartbeat(&self, link: &NodeLink) -> Result<(), RegistryError> {
        let first = link.needs_first_heartbeat();
        let report = self.own.with(|own| own.report.clone());
        let report = report.map(|report| encode(&*report)).unwrap_or_default();
        if self.own.has_left() {
            return Ok(());
        }
        let mut invocation = self.scripts.heartbeat.key(self.keys.run_alive(self.run));
        invocation.key(&self.keys.nodes).key(&self.keys.left).key(self.keys.node(&self.node));
        invocation.arg(self.node.as_str()).arg(self.run.to_string());
        invocation.arg(ALIVE_FOR.as_millis() as u64).arg(KNOWN_FOR.as_millis() as u64);
        invocation.arg(&self.keys.alive).arg(u8::from(first)).arg(report);
        invocation.arg(&self.identity).arg(&self.about);
        let clock = SystemClock;
        let asked = Instant::now();
        let asked_at_ms = clock.now_ms();
        let answer: Vec<Value> = link.probe(&invocation).await?;
        let now = Instant::now();
        let mut answer = answer.into_iter();
        let mut flag = || answer.next().and_then(take::<i64>).is_some_and(|flag| flag == 1);
        let was_known = flag();
        let is_shared = flag();
        let other = answer.next().and_then(take::<String>).unwrap_or_default();
        if let Some(server_ms) = answer.next().and_then(take::<u64>) {
            link.clock.record(&ClockReading { asked, answered: now, asked_at_ms, server_ms });
        }
        while let (Some(name), Some(age)) = (answer.next(), answer.next()) {
            let at = take(age).and_then(|age_ms| before(now, age_ms));
            if let Some((name, at)) = take::<String>(name).zip(at) {
                self.node_list.record_heartbeat(NodeId::new(&name), at);
            }
        }
        self.node_list.record_answer(now);
        link.first_heartbeat_sent();
        if !was_known {
            // The server was emptied or considered this node dead: entries may be missing.
            link.request_rewrite();
        }
        link.mark_up();
        if is_shared {
            self.namesake.seen(other);
        }
        Ok(())
    }

    /// Returns the clock of this node minus that of the first Redis node that answers.
    pub(super) fn clock_offset_ms(&self) -> Option<i64> {
        let up = self.links.iter().filter(|link| link.is_up());
        up.filter_map(|link| link.clock.offset_ms()).next()
    }

    pub(super) async fn report_viewers(
        &self,
        node: &NodeId,
        viewers: Vec<(StreamId, u64)>,
    ) -> Result<(), RegistryError> {
        if self.own.has_left() {
            return Ok(());
        }
        let mut command = redis::cmd("HSET");
        command.arg(self.keys.node(node)).arg("viewers").arg(encode(&viewers));
        if *node == self.node {
            self.own.with(|own| own.viewers = viewers);
        }
        let writes = self.links.iter().map(|link| in_time(link, link.command(&command)));
        one_is_enough(&join_all(writes).await)
    }

    pub(super) async fn viewers(&self) -> Result<Vec<(StreamId, u64)>, RegistryError> {
        let mut invocation = self.scripts.viewers.key(&self.keys.nodes);
        invocation.arg(&self.keys.node).arg(ALIVE_FOR.as_millis() as u64).arg(self.node.as_str());
        let mut failure = RegistryError::Unavailable("no redis node answers".to_owned());
        for link in self.links_to_read() {
            match link.script::<Vec<Vec<u8>>>(&invocation).await {
                Ok(others) => return Ok(self.sum_viewers(&others)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn sum_viewers(&self, others: &[Vec<u8>]) -> Vec<(StreamId, u64)> {
        let mut totals = std::collections::BTreeMap::<StreamId, u64>::new();
        let others = others.iter().filter_map(|text| decode::<Vec<(StreamId, u64)>>(text));
        let own = self.own.with(|own| own.viewers.clone());
        for (stream_id, count) in others.flatten().chain(own) {
            let total = totals.entry(stream_id).or_default();
            *total = total.saturating_add(count);
        }
        totals.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Returns the links that are up: first those that have been for a while. The order starts at a
    /// link chosen by this node's name, so that the nodes do not all read from the same one.
    fn links_to_read(&self) -> Vec<&Arc<NodeLink>> {
        let first = self.nodes.index_of(self.node.as_str().as_bytes());
        let count = self.links.len();
        let turn = |link: &Arc<NodeLink>| (link.index + count - first) % count;
        let up = self.links.iter().filter_map(|link| Some((link.up_since()?, link)));
        let mut links: Vec<_> = up.collect();
        let fresh = |since: Instant| (since.elapsed() < SETTLED_AFTER).then_some(since);
        links.sort_by_key(|(since, link)| (fresh(*since), turn(link)));
        links.into_iter().map(|(_, link)| link).collect()
    }

    pub(super) async fn nodes(&self) -> Vec<KnownNode> {
        let mut invocation = self.scripts.nodes.key(&self.keys.nodes);
        invocation.key(&self.keys.left);
        invocation.arg(&self.keys.node).arg(KNOWN_FOR.as_millis() as u64);
        let calls = self.links.iter().map(|link| link.script::<Vec<Value>>(&invocation));
        let answers = answers_of(calls.collect()).await;
        self.node_list.merge(answers.into_iter().flat_map(read_nodes).collect());
        let report = self.own.with(|own| own.report.clone());
        let this = KnownNode { node: self.node.clone(), alive: true, report };
        self.node_list.nodes_with(this)
    }

    pub(super) async fn leave(&self) -> Result<(), RegistryError> {
        self.own.with(|own| own.has_left = true);
        let mut invocation = self.scripts.leave.key(self.keys.run_alive(self.run));
        invocation.key(&self.keys.nodes).key(&self.keys.left).key(self.keys.node(&self.node));
        invocation.arg(self.node.as_str()).arg(self.run.to_string());
        let writes = self.links.iter().map(|link| in_time(link, link.script(&invocation)));
        let left = one_is_enough(&join_all(writes).await);
        // The entries no longer count; removing them only saves memory.
        join_all(self.links.iter().map(|link| async {
            link.connections.queue_all_removals();
            if !matches!(
                timeout(LEAVE_TIMEOUT, reconciler::flush_removals(self, link)).await,
                Ok(Ok(()))
            ) {
                debug!(address = link.address(), "entries left to expire");
            }
        }))
        .await;
        left
    }

    /// Checks whether a Redis node answers again. If it does, it has the heartbeat of this node.
    pub(super) async fn probe(&self, link: &NodeLink) -> Result<(), RegistryError> {
        if self.own.has_left() {
            link.ping().await?;
            link.mark_up();
            return Ok(());
        }
        self.send_heartbeat(link).await
    }
}

/// Awaits a write to one Redis node. One that takes too long has failed.
async fn in_time(
    link: &NodeLink,
    write: impl Future<Output = Result<(), RegistryError>>,
) -> Result<(), RegistryError> {
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(outcome) => outcome,
        Err(_) => Err(link.mark_down(&format!("no answer within {WRITE_TIMEOUT:?}"))),
    }
}

/// Returns the answers of the Redis nodes. Waits for all of them while none has answered, and then
/// for [`MORE_ANSWERS`].
async fn answers_of<T>(
    mut calls: FuturesUnordered<impl Future<Output = Result<T, RegistryError>>>,
) -> Vec<T> {
    let mut answers = Vec::new();
    while answers.is_empty() {
        let Some(answer) = calls.next().await else { return answers };
        answers.extend(answer);
    }
    let others = async {
        while let Some(answer) = calls.next().await {
            answers.extend(answer);
        }
    };
    let _ = timeout(MORE_ANSWERS, others).await;
    answers
}

/// Returns an error if every outcome is one. A single Redis node is enough: each shows the whole
/// cluster.
pub(super) fn one_is_enough(outcomes: &[Result<(), RegistryError>]) -> Result<(), RegistryError> {
    match outcomes.iter().find_map(|outcome| outcome.clone().err()) {
        Some(failure) if outcomes.iter().all(Result::is_err) => Err(failure),
        _ => Ok(()),
    }
}

fn read_nodes(answer: Vec<Value>) -> Vec<NodeObservation> {
    let now = Instant::now();
    let mut observations = Vec::new();
    let mut answer = answer.into_iter();
    while let (Some(name), Some(age), Some(listed), Some(report)) =
        (answer.next(), answer.next(), answer.next(), answer.next())
    {
        let at = take(age).and_then(|age_ms| before(now, age_ms));
        let Some((name, at)) = take::<String>(name).zip(at) else { continue };
        let report = take::<Vec<u8>>(report).filter(|report| !report.is_empty());
        let state = match take::<i64>(listed) {
            Some(1) => NodeState::Listed(report.and_then(|report| decode(&report)).map(Arc::new)),
            _ => NodeState::Left,
        };
        observations.push(NodeObservation { node: NodeId::new(&name), at, state });
    }
    observations
}

/// Returns `None` for a time before the start of this machine, which its clock cannot express.
fn before(now: Instant, age_ms: u64) -> Option<Instant> {
    now.checked_sub(Duration::from_millis(age_ms))
}

fn take<T: FromRedisValue>(value: Value) -> Option<T> {
    redis::from_redis_value(value).ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;

    type Call = BoxFuture<'static, Result<u32, RegistryError>>;

    fn after(ms: u64, answer: Option<u32>) -> Call {
        async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer.ok_or_else(|| RegistryError::Unavailable("refused".to_owned()))
        }
        .boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_do_not_wait_for_a_node_that_hangs() {
        let hangs = || std::future::pending().boxed();
        for (calls, answered, took_ms) in [
            (vec![hangs(), after(30, Some(1)), after(200, Some(2))], vec![1, 2], 280),
            (vec![after(0, None), after(900, Some(1))], vec![1], 900),
            (vec![after(0, None), after(5, None)], vec![], 5),
        ] {
            let began = Instant::now();
            assert_eq!(answers_of(calls.into_iter().collect()).await, answered);
            assert_eq!(began.elapsed(), Duration::from_millis(took_ms));
        }
    }
}
