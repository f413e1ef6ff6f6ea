//! The service manager (systemd). Without one, nothing here has an effect.
//!
//! The node reports that it is ready, reloading or stopping, and pings the watchdog within
//! `WatchdogSec`. It stops pinging when the delivery workers or the threads for blocking work do
//! not answer; the service manager then restarts it.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::daemon::base::supervise::Supervisor;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::stages::delivery::DeliveryHandle;

/// Reports a state to the service manager.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot notify the service manager");
    }
}

/// Starts the task that pings the watchdog, if the service manager has one.
pub(super) fn start_watchdog(supervisor: &Supervisor, delivery: Option<DeliveryHandle>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    supervisor.spawn("watchdog", move |stop| {
        let delivery = delivery.clone();
        let works = async move || {
            let blocking = tokio::task::spawn_blocking(|| {});
            let workers_respond = match &delivery {
                Some(delivery) => delivery.workers_respond().await,
                None => true,
            };
            workers_respond && blocking.await.is_ok()
        };
        async move {
            ping_while_responsive(limit, stop, works, || notify(&[NotifyState::Watchdog])).await;
            Ok(())
        }
    });
}

/// Pings while the node is built again, which may wait for a server for any time.
pub(super) async fn ping_while_assembling() -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = ticker_from_now(limit / 2);
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Checks every half of `limit` that `works` answers true within a quarter of it, and then pings.
/// The longest time between two pings of a working node is therefore below the limit.
async fn ping_while_responsive(
    limit: Duration,
    stop: CancellationToken,
    works: impl AsyncFn() -> bool,
    ping: impl Fn(),
) {
    let mut ticks = ticker_from_now(limit / 2);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if timeout(limit / 4, works()).await == Ok(true) {
            ping();
        } else {
            error!("threads do not answer; not pinging the watchdog");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_pinged_only_while_the_node_works() {
        let (pings, mut pinged) = mpsc::unbounded_channel();
        let hangs = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let node_hangs = hangs.clone();
        let task_stop = stop.clone();
        let task = tokio::spawn(async move {
            let works = async move || {
                // The slowest answer that is still in time.
                tokio::time::sleep(LIMIT / 4 - Duration::from_millis(1)).await;
                if node_hangs.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                true
            };
            ping_while_responsive(LIMIT, task_stop, works, move || {
                pings.send(Instant::now()).unwrap();
            })
            .await;
        });
        let mut last = Instant::now();
        for _ in 0..5 {
            let at = pinged.recv().await.unwrap();
            assert!(at - last < LIMIT, "{:?}", at - last);
            last = at;
        }
        hangs.store(true, Ordering::SeqCst);
        assert!(timeout(LIMIT * 10, pinged.recv()).await.is_err(), "no ping while it hangs");
        hangs.store(false, Ordering::SeqCst);
        assert!(pinged.recv().await.is_some(), "it works again");
        stop.cancel();
        task.await.unwrap();
    }
}
