//! The probes of the stores: a node shows within seconds that a store that it needs is away, also
//! while nobody writes to it or reads from it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::NodeBase;
use crate::daemon::base::config::NodeRole;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::StoreError;
use crate::protocol::StreamId;

const INTERVAL: Duration = Duration::from_secs(1);
/// A store that needs longer than this for a single row is not usable.
const LONGEST_ANSWER: Duration = Duration::from_millis(1500);
/// Failures in a row that open a breaker.
const FAILURES_TO_OPEN: u32 = 2;

/// One way of using a store, and the breaker of that way.
#[derive(Clone)]
struct Probe {
    breaker: Arc<Breaker>,
    ask: Arc<dyn Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>,
    /// Whether an answer closes the breaker that a probe opened. Otherwise the stage that writes
    /// closes it, because only its own writes show that they are accepted.
    closes: bool,
}

/// Starts the probes of the stores that the roles of this node use.
pub(super) fn start(base: &NodeBase, group: &Supervisor) {
    let metadata = base.engines.metadata.clone();
    let write_metadata = move || -> BoxFuture<'static, _> {
        let metadata = metadata.clone();
        Box::pin(async move { metadata.ping().await })
    };
    let breaker = base.engines.metadata_breaker.clone();
    spawn(group, "metadata probe", Probe { breaker, ask: Arc::new(write_metadata), closes: true });

    let comments = base.engines.comments.clone();
    let write_comments = move || -> BoxFuture<'static, _> {
        let comments = comments.clone();
        Box::pin(async move { comments.ping().await })
    };
    let breaker = base.engines.comments_breaker.clone();
    let closes = !base.has_role(NodeRole::Archiver);
    spawn(group, "comments probe", Probe { breaker, ask: Arc::new(write_comments), closes });

    if base.has_role(NodeRole::Edge) {
        let comments = base.engines.comments.clone();
        let read_comments = move || -> BoxFuture<'static, _> {
            let comments = comments.clone();
            Box::pin(async move { comments.page(StreamId(1), None, 1).await.map(drop) })
        };
        let breaker = base.board.add_breaker("comment store (history)");
        spawn(
            group,
            "history probe",
            Probe { breaker, ask: Arc::new(read_comments), closes: true },
        );
    }
}

fn spawn(group: &Supervisor, name: &'static str, probe: Probe) {
    group.spawn(name, move |stop| {
        let probe = probe.clone();
        async move {
            probe.run(stop).await;
            Ok(())
        }
    });
}

impl Probe {
    async fn run(self, stop: CancellationToken) {
        let mut ticks = ticker_from_now(INTERVAL);
        let mut failures = 0;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(answer) = stop.run_until_cancelled(self.answer()).await else { return };
            let Err(error) = answer else {
                if self.closes && failures > 0 {
                    self.breaker.succeeded();
                }
                failures = 0;
                continue;
            };
            failures += 1;
            if failures >= FAILURES_TO_OPEN {
                self.breaker.open(&error);
            } else {
                self.breaker.failed(&error);
            }
        }
    }

    async fn answer(&self) -> Result<(), StoreError> {
        let late = StoreError::Unavailable(format!(
            "no answer within {}",
            humantime::format_duration(LONGEST_ANSWER)
        ));
        timeout(LONGEST_ANSWER, (self.ask)()).await.unwrap_or(Err(late))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::protocol::admin::BreakerState;

    struct Store {
        is_away: Arc<AtomicBool>,
        breaker: Arc<Breaker>,
    }

    /// Starts a probe of a store that does not answer while it is away.
    fn probe(closes: bool) -> Store {
        let is_away = Arc::<AtomicBool>::default();
        let breaker = Arc::new(Breaker::new("store"));
        let away = is_away.clone();
        let ask = move || -> BoxFuture<'static, Result<(), StoreError>> {
            let is_away = away.load(Ordering::SeqCst);
            Box::pin(async move {
                if is_away {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
        };
        let probe = Probe { breaker: breaker.clone(), ask: Arc::new(ask), closes };
        tokio::spawn(probe.run(CancellationToken::new()));
        Store { is_away, breaker }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_is_told_within_five_seconds() {
        let store = probe(true);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(store.breaker.state(), BreakerState::Closed);
        store.is_away.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(store.breaker.state(), BreakerState::Open);
        store.is_away.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(store.breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_does_not_close_what_writes_opened() {
        let written = probe(false);
        written.is_away.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        written.is_away.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(written.breaker.state(), BreakerState::Open, "until a write succeeds");
        let asked = probe(true);
        asked.breaker.open(&"a write failed");
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(asked.breaker.state(), BreakerState::Open);
    }
}
