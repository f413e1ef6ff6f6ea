//! The task that keeps one Redis node in step with the connections of this node: it finds out when
//! the Redis node is back, sends pending removals, writes all entries again when some may be
//! missing, and does so often enough that the entry of a long connection does not expire.

use std::sync::Arc;
use std::time::Duration;

use redis::Pipeline;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::keys::{EntryName, encode_connection, field};
use super::node_link::NodeLink;
use super::{Core, ENTRY_TTL};
use crate::daemon::engines::registry::RegistryError;
use crate::protocol::UserId;

/// Time between two probes while the node does not answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two rewrites: three may fail before an entry expires.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Users per pipeline. One pipeline is in flight at a time, so other calls wait for no more than
/// this.
const BATCH: usize = 256;

/// Runs until `stop`.
pub(super) async fn run(core: Arc<Core>, link: Arc<NodeLink>, stop: CancellationToken) {
    tokio::select! {
        () = reconcile(&core, &link) => {}
        () = stop.cancelled() => {}
    }
}

async fn reconcile(core: &Core, link: &NodeLink) {
    let mut refresh_at = Instant::now() + REFRESH_INTERVAL;
    loop {
        if !link.is_up() && core.probe(link).await.is_err() {
            sleep(PROBE_INTERVAL).await;
            continue;
        }
        if core.links.iter().all(|link| link.is_up()) {
            core.breaker.succeeded();
        }
        let mut outcome = Ok(());
        if link.begin_rewrite() {
            refresh_at = Instant::now() + REFRESH_INTERVAL;
            outcome = rewrite(core, link).await;
            link.end_rewrite();
        }
        if let Err(error) = outcome.and(flush_removals(core, link).await) {
            debug!(%error, "rewrite of the registry entries interrupted");
            sleep(PROBE_INTERVAL).await;
            continue;
        }
        tokio::select! {
            () = link.wake.notified() => {}
            () = sleep_until(refresh_at) => link.request_rewrite(),
        }
    }
}

/// Writes every connection of this node, and the time to live of its user's hash.
async fn rewrite(core: &Core, link: &NodeLink) -> Result<(), RegistryError> {
    let users = link.connections.users();
    for batch in users.chunks(BATCH) {
        let mut pipeline = Pipeline::new();
        for user_id in batch {
            add_entries(core, link, *user_id, &mut pipeline);
        }
        send(link, &pipeline).await?;
        // Not only at the end: at a high rate of removals they would pile up.
        flush_removals(core, link).await?;
    }
    if !users.is_empty() {
        info!(address = link.address(), users = users.len(), "registry entries written");
    }
    Ok(())
}

fn add_entries(core: &Core, link: &NodeLink, user_id: UserId, pipeline: &mut Pipeline) {
    let connections = link.connections.of_user(user_id);
    if connections.is_empty() {
        return;
    }
    let key = core.keys.user(user_id);
    for (id, info) in &connections {
        let entry = EntryName::new(*id, info);
        pipeline.hset(&key, field(core.run, entry), encode_connection(info)).ignore();
    }
    pipeline.pexpire(&key, ENTRY_TTL.as_millis() as i64).ignore();
}

/// Sends the pending removals. Those that fail stay pending.
pub(super) async fn flush_removals(core: &Core, link: &NodeLink) -> Result<(), RegistryError> {
    loop {
        let batch = RemovalBatch { link, removals: link.connections.take_removals(BATCH) };
        if batch.removals.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::new();
        for (user_id, entry) in &batch.removals {
            pipeline.hdel(core.keys.user(*user_id), field(core.run, *entry)).ignore();
        }
        send(link, &pipeline).await?;
        batch.confirm();
    }
}

async fn send(link: &NodeLink, pipeline: &Pipeline) -> Result<(), RegistryError> {
    if pipeline.is_empty() {
        return Ok(());
    }
    link.pipeline(pipeline).await
}

/// Removals in flight. They are queued again if the batch is dropped without [`Self::confirm`].
struct RemovalBatch<'a> {
    link: &'a NodeLink,
    removals: Vec<(UserId, EntryName)>,
}

impl RemovalBatch<'_> {
    fn confirm(mut self) {
        self.removals.clear();
    }
}

impl Drop for RemovalBatch<'_> {
    fn drop(&mut self) {
        for (user_id, entry) in self.removals.drain(..) {
            self.link.connections.queue_removal(user_id, entry);
        }
    }
}
