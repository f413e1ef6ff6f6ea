//! Health checks: a node asks everything that its roles need whether it answers, so that
//! `lc status` and `/readyz` say what is down also on a node that is quiet.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::NodeBase;
use super::timers::every;
use crate::daemon::base::config::{BusEngine, NodeRole};
use crate::daemon::base::status::{COMMENT_STORE, EVENT_LOG, METADATA_STORE, StatusBoard};
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::base::supervise::breaker::{BreakerHalf, TRIAL_INTERVAL};
use crate::daemon::engines::eventlog::Topic;

const INTERVAL: Duration = Duration::from_secs(1);
/// A dependency that takes longer has failed the check.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// Checks that must fail one after the other, so that one slow answer is no outage.
const ATTEMPTS: u32 = 2;

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

/// Starts a task per dependency except the stores.
pub(super) fn start(base: &NodeBase, group: &Supervisor) {
    let log = base.engines.log.clone();
    check(&base.board, group, "event log health", EVENT_LOG, move || {
        let log = log.clone();
        async move { log.bounds(Topic::CommentEvents, 0).await.map(drop) }
    });
    if base.config.engines.bus != BusEngine::InProcess {
        start_bus_probe(base, group);
    }
    if base.shares_recent() {
        start_recent_probe(base, group);
    }
    warm_up_lag(base, group);
}

/// Asks a dependency once per interval. The outcome is a half of its breaker: it opens the breaker
/// for operators, and does not close what failing writes have opened.
fn check<Fut, E>(
    board: &StatusBoard,
    group: &Supervisor,
    task: &'static str,
    dependency: &'static str,
    ask: impl Fn() -> Fut + Clone + Send + Sync + 'static,
) where
    Fut: Future<Output = Result<(), E>> + Send,
    E: std::fmt::Display + Send + 'static,
{
    let half = board.add_breaker(dependency).half("health check");
    group.spawn(task, move |stop| {
        let half = half.clone();
        let ask = ask.clone();
        async move {
            every(INTERVAL, stop, async move || record(&half, || in_time(ask())).await).await
        }
    });
}

async fn in_time<E: std::fmt::Display>(
    asked: impl Future<Output = Result<(), E>>,
) -> Result<(), String> {
    match timeout(TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", TIMEOUT.as_millis())),
    }
}

/// Records a failure only if all attempts fail.
async fn record<Fut>(half: &BreakerHalf, ask: impl Fn() -> Fut)
where
    Fut: Future<Output = Result<(), String>>,
{
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match ask().await {
            Ok(()) => return half.succeeded(),
            Err(error) => last = error,
        }
    }
    half.failed(&last);
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn viewers_are_sent_away_only_without_the_log() {
        assert_eq!(essential(&NodeRole::ALL), [EVENT_LOG]);
        assert_eq!(essential(&[NodeRole::Coordinator]), [EVENT_LOG]);
        assert_eq!(essential(&[NodeRole::Archiver]), [EVENT_LOG, COMMENT_STORE]);
        assert_eq!(essential(&[NodeRole::Moderator]), [EVENT_LOG, METADATA_STORE]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_node_notices_what_does_not_answer() {
        let board = StatusBoard::default();
        board.set_ready(true);
        board.set_essential(vec![EVENT_LOG]);
        let group = Supervisor::new(CancellationToken::new());
        let answers = Arc::new(AtomicBool::new(true));
        let log = answers.clone();
        check(&board, &group, "event log health", EVENT_LOG, move || {
            let log = log.clone();
            async move {
                if !log.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                Ok::<(), String>(())
            }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(board.serves());
        answers.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!board.serves());
        board.add_breaker(EVENT_LOG).succeeded();
        assert!(!board.serves(), "a call that works does not close what the check opened");
        answers.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(board.serves());
    }
}
