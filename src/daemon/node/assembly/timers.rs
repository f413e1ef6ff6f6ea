//! The periodic tasks of a node.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::NodeBase;
use crate::daemon::base::config::NodeRole;
use crate::daemon::base::handoff::{ThrottleOrder, ViewerSink as _};
use crate::daemon::base::supervise::{Supervisor, early_end};
use crate::daemon::base::telemetry::SAMPLE_INTERVAL;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::directory::{Grants, Sanctions, Streams};
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::node::disk_watch::{self, DiskWatch};
use crate::daemon::node::log_watch::LogWatch;
use crate::daemon::node::moderation_watch::{self, MetadataOutage, ModerationWatch};
use crate::daemon::node::warm_start::tombstones::TombstoneRestorer;
use crate::daemon::stages::broadcast::RateOverrides;
use crate::daemon::stages::control::admission;
use crate::daemon::stages::control::grants::reconnect_changed;
use crate::daemon::stages::delivery::DeliveryHandle;
use crate::protocol::CloseCode;

/// The interval at which the in-memory views of the metadata are read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// The interval at which lost lines of the log are looked for.
const LOG_WATCH_INTERVAL: Duration = Duration::from_secs(1);
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
/// The interval at which the metadata store is rid of what is kept no longer.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Rows of each kind that are removed in one transaction, and the pause after it, in which others
/// write.
const SWEEP_ROWS: usize = 1_000;
const SWEEP_PAUSE: Duration = Duration::from_millis(50);

/// Starts the tasks of the roles and engines this node has.
pub(super) fn start(base: &NodeBase, viewers: Option<DeliveryHandle>, group: &Supervisor) {
    let reloaded = base.clone();
    let reads = base.board.add_breaker("metadata store (reads)");
    group.spawn("reload", move |stop| {
        let base = reloaded.clone();
        let viewers = viewers.clone();
        let reads = reads.clone();
        every(RELOAD_INTERVAL, stop, async move || {
            let read = reads.observe(reload(&base).await);
            // Of what could be read, changes hold at once.
            close_inadmissible(&base, viewers.as_ref()).await;
            if let Err(error) = read {
                warn!(%error, "cannot reload all metadata; the previous data stays in use");
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
        group.spawn("tombstones", move |stop| {
            let restorer = restorer.clone();
            async move {
                restorer.run(stop).await;
                Ok(())
            }
        });
    }
    if base.config.engines.write_to_data_dir() {
        let directory = base.config.node.data_dir.clone();
        let watch = DiskWatch::new(directory, base.board.problems().clone());
        group.spawn("disk", move |stop| {
            let watch = watch.clone();
            every(disk_watch::INTERVAL, stop, async move || watch.probe().await)
        });
    }
    start_moderation_watch(base, group);
    start_log_watch(base, group);
    start_sampling(base, group);
    start_bus_sampling(base, group);
    if base.has_role(NodeRole::Coordinator) {
        let metadata = base.engines.metadata.clone();
        let clock = base.clock.clone();
        group.spawn("sweep", move |stop| {
            let metadata = metadata.clone();
            let clock = clock.clone();
            let stopped = stop.clone();
            every(SWEEP_INTERVAL, stop, async move || {
                if let Err(error) = sweep(&metadata, clock.now_ms(), &stopped).await {
                    debug!(%error, "the metadata store is not swept; trying again later");
                }
            })
        });
    }
    if let Some(log) = base.engines.embedded_log.clone() {
        group.spawn("retention", move |stop| {
            let log = log.clone();
            every(RETENTION_INTERVAL, stop, async move || log.enforce_retention())
        });
    }
}

/// Removes what is kept no longer at a time, until nothing of it is left or `stop`.
async fn sweep(
    metadata: &SharedMetadataStore,
    now_ms: u64,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    while !stop.is_cancelled() && metadata.sweep(now_ms, SWEEP_ROWS).await? {
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
    Ok(())
}

/// Starts the watch of moderation on the nodes that act on it.
fn start_moderation_watch(base: &NodeBase, group: &Supervisor) {
    let watch = ModerationWatch {
        is_moderator: base.has_role(NodeRole::Moderator),
        is_edge: base.has_role(NodeRole::Edge),
        registry: base.engines.registry.clone(),
        log: base.engines.log.clone(),
        streams: base.streams.clone(),
        state: base.moderation.clone(),
        problems: base.board.problems().clone(),
        metadata: MetadataOutage::new(base.engines.metadata_breaker.clone()),
        down_after: base.config.moderation.held.down_after,
    };
    if !watch.is_moderator && !watch.is_edge {
        return;
    }
    group.spawn("moderation watch", move |stop| {
        let watch = watch.clone();
        every(moderation_watch::INTERVAL, stop, async move || watch.look().await)
    });
}

fn start_log_watch(base: &NodeBase, group: &Supervisor) {
    let board = base.board.clone();
    group.spawn("log watch", move |stop| {
        let board = board.clone();
        let watch = Mutex::new(LogWatch::new());
        every(LOG_WATCH_INTERVAL, stop, async move || watch.lock().look(board.problems()))
    });
}

/// Takes the samples of this node. Off the runtime's threads, because they read files.
fn start_sampling(base: &NodeBase, group: &Supervisor) {
    let board = base.board.clone();
    let data_dir = base.config.node.data_dir.clone();
    let registry = base.engines.registry.clone();
    group.spawn("telemetry", move |stop| {
        let board = board.clone();
        let data_dir = data_dir.clone();
        let registry = registry.clone();
        every(SAMPLE_INTERVAL, stop, async move || {
            board.telemetry().set_clock_offset_ms(registry.clock_offset_ms());
            let board = board.clone();
            let data_dir = data_dir.clone();
            let sample = move || board.sample(&data_dir);
            if let Err(error) = tokio::task::spawn_blocking(sample).await {
                warn!("this node was not sampled: the task {}", early_end(&error));
            }
        })
    });
}

/// Measures the load of the servers of the bus, also for `/metrics`. A task of its own, because a
/// server that hangs makes it wait.
fn start_bus_sampling(base: &NodeBase, group: &Supervisor) {
    let bus = base.engines.bus.clone();
    let telemetry = base.board.telemetry().clone();
    group.spawn("bus load", move |stop| {
        let bus = bus.clone();
        let telemetry = telemetry.clone();
        every(SAMPLE_INTERVAL, stop, async move || {
            bus.sample().await;
            telemetry.set_bus(bus.servers());
        })
    });
}

/// Reads all metadata again, also behind some that cannot be read, and returns the first error.
async fn reload(base: &NodeBase) -> Result<(), StoreError> {
    let directories = reload_directories(&base.streams, &base.sanctions, &base.grants).await;
    directories.and(reload_rates(base).await)
}

/// Bans must not depend on streams or given roles that cannot be read.
async fn reload_directories(
    streams: &Streams,
    sanctions: &Sanctions,
    grants: &Grants,
) -> Result<(), StoreError> {
    let streams = streams.reload().await;
    let sanctions = sanctions.reload().await;
    let grants = grants.reload().await;
    streams.and(sanctions).and(grants)
}

async fn reload_rates(base: &NodeBase) -> Result<(), StoreError> {
    let rates_read = base.overrides.begin();
    let fixed = base.engines.metadata.throttle_overrides().await?;
    base.overrides.finish(rates_read, fixed);
    Ok(())
}

/// Closes viewers that would not be admitted any more, where the change reached this node only by
/// the reload. Normally it arrives as a command.
async fn close_inadmissible(base: &NodeBase, viewers: Option<&DeliveryHandle>) {
    let Some(viewers) = viewers else { return };
    for banned in base.sanctions.newly_banned() {
        let ban = base.sanctions.check_ban(banned).map(|ban| ban.error());
        let closed = viewers.disconnect_user(banned, CloseCode::Banned, ban).await;
        if closed > 0 {
            let user_id = banned.user_id;
            info!(%user_id, closed, "closed connections of a banned user that no command had closed");
        }
    }
    let closed = reconnect_changed(&base.grants, viewers).await;
    if closed > 0 {
        info!(closed, "closed connections of users with new roles that no command had closed");
    }
    let closed = admission::close_inadmissible(&base.streams, viewers, base.clock.now_ms()).await;
    if closed > 0 {
        info!(closed, "closed viewers of changed streams that no command had closed");
    }
}

/// Runs `act` at once and then once per interval, until `stop`.
pub(super) async fn every(
    interval: Duration,
    stop: CancellationToken,
    act: impl AsyncFn(),
) -> anyhow::Result<()> {
    let mut ticks = ticker_from_now(interval);
    loop {
        tokio::select! {
            _ = ticks.tick() => act().await,
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Passes operators' throttle orders to the broadcast stage, which applies them at its next tick.
pub(super) async fn apply_throttle_orders(
    mut orders: mpsc::Receiver<ThrottleOrder>,
    overrides: RateOverrides,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => overrides.set(order.stream_id, order.fixed),
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, sanction, stream};
    use crate::daemon::engines::metadata::{NewMessage, RoomLife as _};
    use crate::protocol::admin::{Grant, SanctionKind};
    use crate::protocol::kept_message::KEPT_FOR_MS;
    use crate::protocol::stream::ModerationMode;
    use crate::protocol::{Role, StreamId, UserId, UserScope};

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_stops_no_other() {
        for failing in ["streams", "sanctions", "grants"] {
            let store = Arc::new(InMemoryMetadata::default());
            let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(1_700_000_000)));
            let streams = Streams::load(store.clone()).await.unwrap();
            let sanctions = Sanctions::load(store.clone(), clock).await.unwrap();
            let grants = Grants::load(store.clone()).await.unwrap();
            store.put_stream(stream(1, ModerationMode::Async));
            store.put_sanction(sanction(42, SanctionKind::Ban, None));
            store.put_grant_of(Grant {
                user_id: UserId(42),
                stream_id: StreamId(1),
                role: Role::Moderator,
                name: None,
                created_by: "op".to_owned(),
                created_at: 1,
            });
            store.fail_next(failing);
            reload_directories(&streams, &sanctions, &grants).await.unwrap_err();
            let read = [
                ("streams", streams.get(StreamId(1)).is_some()),
                ("sanctions", sanctions.check_ban(UserScope::everywhere(UserId(42))).is_some()),
                ("grants", grants.role_on(UserId(42), StreamId(1)) == Role::Moderator),
            ];
            for (name, is_read) in read {
                assert_eq!(is_read, name != failing, "{name} while {failing} fail");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_ends_when_nothing_is_left() {
        let store = Arc::new(InMemoryMetadata::default());
        for number in 0..2_500 {
            let message = "hi".to_owned();
            let new = NewMessage { from: "mod".to_owned(), from_user: None, message, sent_at: 1 };
            store.keep_message(UserId(number + 1), new, None).await.unwrap();
        }
        let metadata: SharedMetadataStore = store.clone();
        let stop = CancellationToken::new();
        let calls = store.calls();
        sweep(&metadata, KEPT_FOR_MS, &stop).await.unwrap();
        assert_eq!(store.calls(), calls + 1, "none has run out");
        sweep(&metadata, KEPT_FOR_MS + 1, &stop).await.unwrap();
        assert_eq!(store.calls(), calls + 4);
        assert!(store.kept_messages(UserId(1), 2).await.unwrap().is_empty());
        stop.cancel();
        sweep(&metadata, KEPT_FOR_MS + 1, &stop).await.unwrap();
        assert_eq!(store.calls(), calls + 5, "a node that stops does not sweep");
    }
}
