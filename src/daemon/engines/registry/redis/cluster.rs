//! Who is there: beats, reports, viewers. Everything is written to every Redis node, so that each of
//! them alone shows the whole cluster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{FromRedisValue, Value};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::link::Link;
use super::roster::{Heard, Sign};
use super::{Core, keeper};
use crate::daemon::engines::registry::{ALIVE_FOR, KNOWN_FOR, KnownNode, RegistryError};
use crate::protocol::admin::NodeReport;
use crate::protocol::{NodeId, StreamId};

/// A Redis node that takes longer does not hold up the others: less than a second, the
/// interval of reports, and a quarter of [`ALIVE_FOR`].
const WRITE_TIMEOUT: Duration = Duration::from_millis(800);
/// A Redis node that came back has what every node reports after this time, so it is asked for sums
/// only then, unless there is no other.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Removing what is left at the end takes no longer.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What this node last said of itself.
#[derive(Debug, Default)]
pub(super) struct Own {
    inner: Mutex<OwnInner>,
}

#[derive(Debug, Default)]
struct OwnInner {
    report: Option<Arc<NodeReport>>,
    viewers: Vec<(StreamId, u64)>,
    has_left: bool,
}

impl Own {
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
        // A link that is down is its keeper's, which beats as soon as it answers.
        let beats = self.links.iter().map(|link| async {
            match link.outage() {
                None => in_time(link, self.beat_on(link)).await,
                Some(outage) => Err(outage),
            }
        });
        one_is_enough(&join_all(beats).await)
    }

    /// Says on one Redis node that this node lives; that it answers brings the link up.
    pub(super) async fn beat_on(&self, link: &Link) -> Result<(), RegistryError> {
        let first = link.awaits_first_beat();
        let report = self.own.with(|own| own.report.clone());
        let report = report.map(|report| encode(&*report)).unwrap_or_default();
        if self.own.has_left() {
            return Ok(());
        }
        let mut invocation = self.scripts.beat.key(self.keys.life(self.life));
        invocation.key(&self.keys.nodes).key(&self.keys.left).key(self.keys.node(&self.node));
        invocation.arg(self.node.as_str()).arg(self.life.to_string());
        invocation.arg(ALIVE_FOR.as_millis() as u64).arg(KNOWN_FOR.as_millis() as u64);
        invocation.arg(&self.keys.lives).arg(u8::from(first)).arg(report);
        let answer: Vec<Value> = link.probe(&invocation).await?;
        let now = Instant::now();
        let mut answer = answer.into_iter();
        let mut flag = || answer.next().and_then(take::<i64>).is_some_and(|flag| flag == 1);
        let (was_known, is_shared) = (flag(), flag());
        while let (Some(name), Some(age)) = (answer.next(), answer.next()) {
            let at = take(age).and_then(|age_ms| before(now, age_ms));
            if let Some((name, at)) = take::<String>(name).zip(at) {
                self.roster.note(NodeId::new(&name), at);
            }
        }
        link.first_beat_done();
        if !was_known {
            // The server is new or this node was thought dead: others may have removed its entries.
            link.mark_incomplete();
        }
        link.restore();
        if is_shared && self.roster.notice_shared_name() {
            warn!(node = %self.node, "another process runs under the same `node.name`");
        }
        Ok(())
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
                Ok(others) => return Ok(self.sum(&others)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn sum(&self, others: &[Vec<u8>]) -> Vec<(StreamId, u64)> {
        let mut totals = std::collections::BTreeMap::<StreamId, u64>::new();
        let others = others.iter().filter_map(|text| decode::<Vec<(StreamId, u64)>>(text));
        let own = self.own.with(|own| own.viewers.clone());
        for (stream_id, count) in others.flatten().chain(own) {
            let total = totals.entry(stream_id).or_default();
            *total = total.saturating_add(count);
        }
        totals.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Those that answer; first those that have for a while, from this node's own on, so that the
    /// nodes do not all ask the same one.
    fn links_to_read(&self) -> Vec<&Arc<Link>> {
        let first = self.nodes.index_of(self.node.as_str().as_bytes());
        let count = self.links.len();
        let turn = |link: &Arc<Link>| (link.index + count - first) % count;
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
        let asked = self.links.iter().map(|link| link.script::<Vec<Value>>(&invocation));
        let answers = join_all(asked).await.into_iter().flatten();
        self.roster.take_in(answers.flat_map(read_nodes).collect());
        let report = self.own.with(|own| own.report.clone());
        let this = KnownNode { node: self.node.clone(), alive: true, report };
        self.roster.nodes_beside(this)
    }

    pub(super) async fn leave(&self) -> Result<(), RegistryError> {
        self.own.with(|own| own.has_left = true);
        let mut invocation = self.scripts.leave.key(self.keys.life(self.life));
        invocation.key(&self.keys.nodes).key(&self.keys.left).key(self.keys.node(&self.node));
        invocation.arg(self.node.as_str()).arg(self.life.to_string());
        let writes = self.links.iter().map(|link| in_time(link, link.script(&invocation)));
        let left = one_is_enough(&join_all(writes).await);
        // Nobody finds the entries any more; to remove them only saves memory.
        join_all(self.links.iter().map(|link| async {
            link.held.owe_all();
            if !matches!(timeout(LEAVE_TIMEOUT, keeper::pay(self, link)).await, Ok(Ok(()))) {
                debug!(address = link.address(), "entries are left to expire");
            }
        }))
        .await;
        left
    }

    /// Sees whether a Redis node answers again; if so, it knows at once that this node lives.
    pub(super) async fn try_again(&self, link: &Link) -> Result<(), RegistryError> {
        if self.own.has_left() {
            link.ping().await?;
            link.restore();
            return Ok(());
        }
        self.beat_on(link).await
    }
}

/// A write to one Redis node; one that takes too long has failed.
async fn in_time(
    link: &Link,
    write: impl Future<Output = Result<(), RegistryError>>,
) -> Result<(), RegistryError> {
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(outcome) => outcome,
        Err(_) => Err(link.fail(&format!("no answer within {WRITE_TIMEOUT:?}"))),
    }
}

/// One Redis node is enough: each alone shows the whole cluster.
pub(super) fn one_is_enough(outcomes: &[Result<(), RegistryError>]) -> Result<(), RegistryError> {
    match outcomes.iter().find_map(|outcome| outcome.clone().err()) {
        Some(failure) if outcomes.iter().all(Result::is_err) => Err(failure),
        _ => Ok(()),
    }
}

fn read_nodes(answer: Vec<Value>) -> Vec<Heard> {
    let now = Instant::now();
    let mut heard = Vec::new();
    let mut answer = answer.into_iter();
    while let (Some(name), Some(age), Some(listed), Some(report)) =
        (answer.next(), answer.next(), answer.next(), answer.next())
    {
        let at = take(age).and_then(|age_ms| before(now, age_ms));
        let Some((name, at)) = take::<String>(name).zip(at) else { continue };
        let report = take::<Vec<u8>>(report).filter(|report| !report.is_empty());
        let what = match take::<i64>(listed) {
            Some(1) => Sign::Lives(report.and_then(|report| decode(&report)).map(Arc::new)),
            _ => Sign::Left,
        };
        heard.push(Heard { node: NodeId::new(&name), at, what });
    }
    heard
}

/// `None` if this machine was started later: its clock has no such time.
fn before(now: Instant, age_ms: u64) -> Option<Instant> {
    now.checked_sub(Duration::from_millis(age_ms))
}

fn take<T: FromRedisValue>(value: Value) -> Option<T> {
    redis::from_redis_value(value).ok()
}

/// With names of fields: nodes of two versions run side by side during an upgrade.
pub(super) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("types of numbers, texts and lists are always encoded")
}

/// `None` for what this version does not understand.
pub(super) fn decode<T: serde::de::DeserializeOwned>(text: &[u8]) -> Option<T> {
    rmp_serde::from_slice(text)
        .inspect_err(|error| debug!(%error, "another node's words are not understood"))
        .ok()
}
