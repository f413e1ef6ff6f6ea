//! What a node does by the clock.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Base;
use crate::daemon::base::config::NodeRole;
use crate::daemon::base::handoff::{ThrottleOrder, ViewerSink as _};
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::directory::Sanctions;
use crate::daemon::node::shutdown::Supervisors;
use crate::daemon::node::warm_start::tombstones::TombstoneRestorer;
use crate::daemon::stages::broadcast::RateOverrides;
use crate::daemon::stages::delivery::DeliveryHandle;
use crate::protocol::CloseCode;

/// Memory views of the metadata are read anew this often, whatever else happens.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn start(base: &Base, viewers: Option<DeliveryHandle>, supervisors: &Supervisors) {
    let reloaded = base.clone();
    supervisors.rest.spawn("reload", move |stop| {
        let (base, viewers) = (reloaded.clone(), viewers.clone());
        every(RELOAD_INTERVAL, stop, async move || {
            let read = base.engines.metadata_breaker.observe(reload(&base).await);
            match read {
                Ok(()) => disconnect_banned(&base.sanctions, viewers.as_ref()).await,
                Err(error) => warn!(%error, "metadata not read anew; the last answers stay"),
            }
        })
    });
    if base.has_role(NodeRole::Coordinator) && base.shares_recent() {
        let restorer = TombstoneRestorer {
            log: base.engines.log.clone(),
            comments: base.engines.comments.clone(),
            recent: base.engines.recent.clone(),
            clock: base.clock.clone(),
        };
        supervisors.rest.spawn("tombstones", move |stop| {
            let restorer = restorer.clone();
            async move {
                restorer.run(stop).await;
                Ok(())
            }
        });
    }
    start_health_checks(base, supervisors);
    if let Some(log) = base.engines.embedded_log.clone() {
        supervisors.rest.spawn("retention", move |stop| {
            let log = log.clone();
            every(RETENTION_INTERVAL, stop, async move || log.enforce_retention())
        });
    }
}

/// A quiet node may have nothing to ask a dependency, and would show it as down long after it is back.
fn start_health_checks(base: &Base, supervisors: &Supervisors) {
    if !base.shares_recent() {
        return;
    }
    let recent = base.engines.recent.clone();
    supervisors.rest.spawn("health", move |stop| {
        let recent = recent.clone();
        every(TRIAL_INTERVAL / 2, stop, async move || {
            // The breaker in front of it takes note of the answer.
            if let Err(error) = recent.is_complete().await {
                debug!(%error, "the recent cache does not answer");
            }
        })
    });
}

async fn reload(base: &Base) -> Result<(), StoreError> {
    base.streams.reload().await?;
    base.sanctions.reload().await?;
    base.overrides.replace(base.engines.metadata.throttle_overrides().await?);
    Ok(())
}

/// A ban takes effect at once by a command to the nodes that hold the user; here it does for a node
/// that no command reached.
async fn disconnect_banned(sanctions: &Sanctions, viewers: Option<&DeliveryHandle>) {
    let Some(viewers) = viewers else { return };
    for user_id in sanctions.newly_banned() {
        let closed = viewers.disconnect_user(user_id, CloseCode::Banned).await;
        if closed > 0 {
            info!(%user_id, closed, "closed connections of a user whose ban was told late");
        }
    }
}

async fn every(
    interval: Duration,
    stop: CancellationToken,
    act: impl AsyncFn(),
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => act().await,
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Hands operators' words on to the broadcast stage, which looks at them at its next tick.
pub(super) async fn take_throttle_orders(
    mut orders: mpsc::Receiver<ThrottleOrder>,
    overrides: RateOverrides,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => overrides.set(order.stream_id, order.sample_rate),
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}
