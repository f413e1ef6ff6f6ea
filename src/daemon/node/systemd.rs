//! What a service manager (systemd) is told, and what it asks for. Without one all of this is silent.
//!
//! Told: ready, reloading, stopping, and within `WatchdogSec` that the node still works. That last
//! word is kept back when the delivery workers or the threads for blocking work do not answer; then
//! the manager restarts the daemon. Asked for: SIGHUP reads the certificate again, and nothing else.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::daemon::base::supervise::Supervisor;
use crate::daemon::edge::gateway::CertificateRenewal;
use crate::daemon::stages::delivery::DeliveryHandle;

/// Says one thing to the service manager.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager was not told");
    }
}

/// Reads anew what can change while the node runs: the files of `gateway.tls`. What cannot be used
/// changes nothing.
pub(super) async fn reload(certificate: Option<CertificateRenewal>) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "no clock to tell the service manager of a reload"),
    }
    match certificate {
        None => info!("reload: there is no gateway.tls, so nothing to read again"),
        Some(certificate) => match tokio::task::spawn_blocking(move || certificate.renew()).await {
            Ok(Ok(())) => info!("reload: new connections get the renewed certificate"),
            Ok(Err(error)) => error!(%error, "reload: the certificate in use stays"),
            Err(error) => error!(%error, "reload: the certificate in use stays"),
        },
    }
    tell(&[NotifyState::Ready]);
}

/// Starts the task that keeps the watchdog quiet, if the service manager has one.
pub(super) fn start_watchdog(supervisor: &Supervisor, delivery: Option<DeliveryHandle>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    supervisor.spawn("watchdog", move |stop| {
        let delivery = delivery.clone();
        let works = async move || {
            let blocking = tokio::task::spawn_blocking(|| {});
            let workers_answer = match &delivery {
                Some(delivery) => delivery.workers_answer().await,
                None => true,
            };
            workers_answer && blocking.await.is_ok()
        };
        async move {
            keep_quiet(limit, stop, works, || tell(&[NotifyState::Watchdog])).await;
            Ok(())
        }
    });
}

/// Pings every half of the limit, each time after `works` has said so within a quarter of it: the
/// longest way between two pings of a node that works stays below the limit.
async fn keep_quiet(
    limit: Duration,
    stop: CancellationToken,
    works: impl AsyncFn() -> bool,
    ping: impl Fn(),
) {
    let mut ticks = tokio::time::interval(limit / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if timeout(limit / 4, works()).await == Ok(true) {
            ping();
        } else {
            error!("threads do not answer: the watchdog is not pinged");
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
    async fn the_watchdog_is_pinged_in_time_while_the_node_works_and_never_when_it_hangs() {
        let (pings, mut pinged) = mpsc::unbounded_channel();
        let hangs = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let (asked, ending) = (hangs.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let works = async move || {
                // The slowest answer that still counts.
                tokio::time::sleep(LIMIT / 4 - Duration::from_millis(1)).await;
                if asked.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                true
            };
            keep_quiet(LIMIT, ending, works, move || pings.send(Instant::now()).unwrap()).await;
        });
        let mut last = Instant::now();
        for _ in 0..5 {
            let at = pinged.recv().await.unwrap();
            assert!(at - last < LIMIT, "{:?}", at - last);
            last = at;
        }
        hangs.store(true, Ordering::SeqCst);
        assert!(timeout(LIMIT * 10, pinged.recv()).await.is_err(), "it hangs, nothing is said");
        hangs.store(false, Ordering::SeqCst);
        assert!(pinged.recv().await.is_some(), "it works again");
        stop.cancel();
        task.await.unwrap();
    }
}
