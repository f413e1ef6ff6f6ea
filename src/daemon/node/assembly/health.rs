//! Health checks: a node asks everything that its roles need whether it answers, so that
//! `lc status` and `/readyz` say what is down also on a node that is quiet.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::debug;

use super::NodeBase;
use super::timers::every;
use crate::daemon::base::config::{BusEngine, CommentsEngine, Config, NodeRole};
use crate::daemon::base::problems::Problems;
use crate::daemon::base::status::{COMMENT_STORE, EVENT_LOG, METADATA_STORE};
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::base::supervise::breaker::{Breaker, BreakerHalf, TRIAL_INTERVAL};
use crate::daemon::engines::eventlog::{LogError, SharedLog, Topic};
use crate::protocol::StreamId;
use crate::protocol::admin::ProblemCode;
use crate::protocol::quantity::counted;

const INTERVAL: Duration = Duration::from_secs(1);
/// A dependency that takes longer has failed the check.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// Partitions that the text of a problem lists.
const LISTED_PARTITIONS: usize = 8;
/// Checks that must fail one after the other, so that one slow answer is no outage.
const ATTEMPTS: u32 = 2;

/// Time that an outcome may be late, beyond the limit of its call.
const OUTCOME_MARGIN: Duration = Duration::from_secs(2);
/// No stream has this id, so reading its newest comment costs one look into an empty place.
const NO_STREAM: StreamId = StreamId(0);

/// Names the dependencies without which a node of these roles cannot do its work.
///
/// A node that serves viewers does so as long as the log takes comments: everything else has a
/// substitute or costs only a part of its service, for which no viewer should be sent away.
pub(super) fn essential(roles: &[NodeRole]) -> Vec<&'static str> {
    let has = |role| roles.contains(&role);
    let mut essential = vec![EVENT_LOG];
    if !has(NodeRole::Edge) {
        essential.extend(has(NodeRole::Archiver).then_some(COMMENT_STORE));
        essential.extend(has(NodeRole::Moderator).then_some(METADATA_STORE));
    }
    essential
}

/// Starts a task per dependency.
pub(super) fn start(base: &NodeBase, group: &Supervisor) {
    start_log_check(base, group);
    let metadata = base.engines.metadata.clone();
    let calls = LongestCalls::of(&base.config);
    let check = HealthCheck::new(&base.engines.metadata_breaker, calls.metadata);
    check.start(group, "metadata store health", move || {
        let metadata = metadata.clone();
        async move { metadata.ping().await }
    });
    let comments = base.engines.comments.clone();
    let check = HealthCheck::new(&base.engines.comments_breaker, calls.comments);
    check.start(group, "comment store health", move || {
        let comments = comments.clone();
        async move { comments.ping().await }
    });
    if base.has_role(NodeRole::Edge) {
        let comments = base.engines.comments.clone();
        let breaker = base.board.add_breaker("comment store (history)");
        let check = HealthCheck::new(&breaker, calls.comments);
        check.start(group, "history health", move || {
            let comments = comments.clone();
            async move { comments.page(NO_STREAM, None, 1).await.map(drop) }
        });
    }
    if base.config.engines.bus != BusEngine::InProcess {
        start_bus_probe(base, group);
    }
    if base.shares_recent() {
        start_recent_probe(base, group);
    }
    if base.pipeline.concurrent_checks().is_some() {
        start_moderation_probe(base, group);
    }
    warm_up_lag(base, group);
}

/// The limits of the longest calls that open the breakers of the dependencies.
struct LongestCalls {
    log: Duration,
    comments: Duration,
    metadata: Duration,
}

impl LongestCalls {
    fn of(config: &Config) -> Self {
        let stores = config.postgres.timeout;
        let comments = match config.engines.comments {
            CommentsEngine::Cassandra => config.cassandra.timeout,
            CommentsEngine::Sqlite | CommentsEngine::Postgres => stores,
        };
        Self { log: config.kafka.append_timeout, comments, metadata: stores }
    }
}

fn start_log_check(base: &NodeBase, group: &Supervisor) {
    let log = base.engines.log.clone();
    let breaker = base.board.add_breaker(EVENT_LOG);
    let board = base.board.clone();
    let suspected = Arc::<Mutex<Vec<u32>>>::default();
    let check = HealthCheck::new(&breaker, LongestCalls::of(&base.config).log);
    let quiet_after = check.quiet_after;
    check.start(group, "event log health", move || {
        let log = log.clone();
        let breaker = breaker.clone();
        let board = board.clone();
        let suspected = suspected.clone();
        async move {
            check_partitions(&log, board.problems(), &suspected).await?;
            log.ping().await?;
            if breaker.is_quiet(quiet_after) {
                board.problems().clear(ProblemCode::DiskFull, EVENT_LOG);
            }
            Ok::<_, LogError>(())
        }
    });
}

/// Asks the log for every partition of the comments. A part of them is a problem for operators: the
/// streams of the others go on, so the node stays ready. Fails if none answers. `suspected` holds
/// the partitions that did not answer the check before: one slow answer is no outage.
async fn check_partitions(
    log: &SharedLog,
    problems: &Problems,
    suspected: &Mutex<Vec<u32>>,
) -> Result<(), LogError> {
    let silent = log.unreachable_partitions().await?;
    let before = std::mem::replace(&mut *suspected.lock(), silent.clone());
    let unreachable: Vec<u32> =
        silent.into_iter().filter(|partition| before.contains(partition)).collect();
    if unreachable.is_empty() {
        problems.clear(ProblemCode::PartitionsUnreachable, EVENT_LOG);
        return Ok(());
    }
    let total = log.partitions(Topic::CommentEvents);
    let listed = unreachable.iter().take(LISTED_PARTITIONS).map(u32::to_string);
    let listed = listed.collect::<Vec<_>>().join(", ");
    let more = if unreachable.len() > LISTED_PARTITIONS { ", …" } else { "" };
    problems.raise(
        ProblemCode::PartitionsUnreachable,
        EVENT_LOG,
        format!(
            "no answer from {} of {} of the event log ({listed}{more}): comments of the streams in \
             them are refused or not shown; look for brokers that are down",
            unreachable.len(),
            counted(u64::from(total), "partition")
        ),
    );
    Ok(())
}

/// A question that is asked once per interval. The outcome is a half of a breaker: it opens the
/// breaker for operators, and refuses no call.
#[derive(Debug)]
struct HealthCheck {
    breaker: Arc<Breaker>,
    half: BreakerHalf,
    /// Time after the last failure or the start of the last trial from which on calls say nothing
    /// about now. While calls are made and fail, one fails at least this often: a trial begins at
    /// most [`TRIAL_INTERVAL`] after the last one failed, and its outcome follows within the limit
    /// of the longest call.
    quiet_after: Duration,
}

impl HealthCheck {
    fn new(breaker: &Arc<Breaker>, longest_call: Duration) -> Self {
        Self {
            breaker: breaker.clone(),
            half: breaker.half("health check"),
            quiet_after: TRIAL_INTERVAL + longest_call + OUTCOME_MARGIN,
        }
    }

    fn start<Fut, E>(
        self,
        group: &Supervisor,
        task: &'static str,
        ask: impl Fn() -> Fut + Clone + Send + Sync + 'static,
    ) where
        Fut: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send + 'static,
    {
        let check = Arc::new(self);
        group.spawn(task, move |stop| {
            let check = check.clone();
            let ask = ask.clone();
            async move {
                every(INTERVAL, stop, async move || check.record(|| in_time(ask())).await).await
            }
        });
    }

    /// Records a failure only if all attempts fail. A success does not end an outage that calls
    /// found while they still fail. When nobody calls any more, it does: otherwise a node to which
    /// no viewer is sent, because it is not ready, would never be ready again.
    async fn record<Fut>(&self, ask: impl Fn() -> Fut)
    where
        Fut: Future<Output = Result<(), String>>,
    {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match ask().await {
                Ok(()) => {
                    self.half.succeeded();
                    if self.breaker.is_quiet(self.quiet_after) {
                        self.breaker.succeeded();
                    }
                    return;
                }
                Err(error) => last = error,
            }
        }
        self.half.failed(&last);
    }
}

async fn in_time<E: std::fmt::Display>(
    asked: impl Future<Output = Result<(), E>>,
) -> Result<(), String> {
    match timeout(TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", TIMEOUT.as_millis())),
    }
}

/// A node that publishes seldom learns here that it may publish again, or not.
fn start_bus_probe(base: &NodeBase, group: &Supervisor) {
    let bus = base.engines.bus.clone();
    group.spawn("bus health", move |stop| {
        let bus = bus.clone();
        every(TRIAL_INTERVAL / 2, stop, async move || {
            // The breaker of the bus records the outcome.
            if let Err(error) = bus.probe().await {
                debug!(%error, "cannot publish on the bus");
            }
        })
    });
}

/// A quiet node makes no calls to the recent cache, and its breaker would stay open long after the
/// cache is back.
fn start_recent_probe(base: &NodeBase, group: &Supervisor) {
    let recent = base.engines.recent.clone();
    group.spawn("recent cache health", move |stop| {
        let recent = recent.clone();
        every(TRIAL_INTERVAL / 2, stop, async move || {
            // The breaker in front of the cache records the outcome.
            if let Err(error) = recent.is_complete().await {
                debug!(%error, "recent cache does not answer");
            }
        })
    });
}

/// On a node without comments nothing would find out that a service works again.
fn start_moderation_probe(base: &NodeBase, group: &Supervisor) {
    let pipeline = base.pipeline.clone();
    group.spawn("moderation health", move |stop| {
        let pipeline = pipeline.clone();
        every(TRIAL_INTERVAL / 2, stop, async move || pipeline.probe().await)
    });
}

/// The first question for the consumers' lag opens connections, which takes longer than an
/// operator should wait. It is asked here.
fn warm_up_lag(base: &NodeBase, group: &Supervisor) {
    let log = base.engines.log.clone();
    group.spawn("first lag", move |_| {
        let log = log.clone();
        async move {
            if let Err(error) = log.lag().await {
                debug!(%error, "consumer lag unknown");
            }
            Ok(())
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::daemon::base::status::StatusBoard;
    use crate::daemon::testing::event_log::InMemoryLog;
    use crate::protocol::admin::BreakerState;

    #[tokio::test]
    async fn partition_silent_in_two_checks_is_told() {
        let log = InMemoryLog::shaped(4, 1);
        let shared: SharedLog = Arc::new(log.clone());
        let board = StatusBoard::default();
        let suspected = Mutex::default();
        for (silent, told) in
            [(&[2][..], None), (&[1, 2], Some("(2)")), (&[1, 2], Some("(1, 2)")), (&[3], None)]
        {
            log.set_unreachable(silent);
            check_partitions(&shared, board.problems(), &suspected).await.unwrap();
            let texts: Vec<_> = board.problems().list().into_iter().map(|it| it.text).collect();
            assert_eq!(texts.len(), usize::from(told.is_some()), "{silent:?}: {texts:?}");
            assert!(told.is_none_or(|told| texts[0].contains(told)), "{silent:?}: {texts:?}");
        }
    }

    #[test]
    fn viewers_are_sent_away_only_without_the_log() {
        assert_eq!(essential(&NodeRole::ALL), [EVENT_LOG]);
        assert_eq!(essential(&[NodeRole::Coordinator]), [EVENT_LOG]);
        assert_eq!(essential(&[NodeRole::Archiver]), [EVENT_LOG, COMMENT_STORE]);
        assert_eq!(essential(&[NodeRole::Moderator]), [EVENT_LOG, METADATA_STORE]);
    }

    const LONGEST_CALL: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn an_answer_closes_nothing_while_writes_hang() {
        let node = QuietNode::start();
        (0..3).for_each(|_| node.log.failed(&"no answer to a write"));
        for round in 1..=6 {
            tokio::time::sleep(TRIAL_INTERVAL).await;
            assert!(node.log.permits(), "a trial is due");
            tokio::time::sleep(LONGEST_CALL).await;
            assert_ne!(node.log.state(), BreakerState::Closed);
            node.log.failed(&"no answer to a write");
            let status = node.log.status();
            assert_eq!(status.since_ms, round * 10_000, "one outage");
        }
        assert!(!node.board.serves());
    }

    /// A node whose log does not answer while it is away.
    struct QuietNode {
        board: StatusBoard,
        is_away: Arc<AtomicBool>,
        log: Arc<Breaker>,
        _group: Supervisor,
    }

    impl QuietNode {
        fn start() -> Self {
            let board = StatusBoard::default();
            board.set_ready(true);
            board.set_essential(vec![EVENT_LOG]);
            let group = Supervisor::new(CancellationToken::new());
            let is_away = Arc::<AtomicBool>::default();
            let away = is_away.clone();
            let log = board.add_breaker(EVENT_LOG);
            HealthCheck::new(&log, LONGEST_CALL).start(&group, "event log health", move || {
                let away = away.clone();
                async move {
                    if away.load(Ordering::SeqCst) {
                        std::future::pending::<()>().await;
                    }
                    Ok::<(), String>(())
                }
            });
            Self { board, is_away, log, _group: group }
        }

        async fn set_away(&self, is_away: bool) {
            self.is_away.store(is_away, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_node_notices_what_does_not_answer() {
        let node = QuietNode::start();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(node.board.serves());
        node.set_away(true).await;
        assert!(!node.board.serves());
        node.log.succeeded();
        assert!(!node.board.serves(), "a call that works does not close what the check opened");
        assert!(node.log.permits(), "a check refuses no call");
        node.set_away(false).await;
        assert!(node.board.serves());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_an_outage_of_absent_calls() {
        let node = QuietNode::start();
        for _ in 0..30 {
            node.log.failed(&"the disk is full");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        assert!(!node.board.serves(), "calls still fail, whatever the check says");
        let quiet_after = TRIAL_INTERVAL + LONGEST_CALL + OUTCOME_MARGIN;
        tokio::time::sleep(quiet_after + INTERVAL * 2).await;
        assert!(node.board.serves(), "no viewer is sent here, so no call would end the outage");
    }
}
