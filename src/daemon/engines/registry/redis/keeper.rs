//! The task that keeps one Redis node in step with what this node holds: sees when it is back, pays
//! what is owed there, writes everything again when it may be missing, and in any case often enough
//! that no entry of a connection that lasts comes to the end of its time to live.

use std::sync::Arc;
use std::time::Duration;

use redis::Pipeline;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::keys::{field, value};
use super::link::Link;
use super::{Core, ENTRY_TTL};
use crate::daemon::engines::registry::{RegistrationId, RegistryError};
use crate::protocol::UserId;

/// Between two tries while the node does not answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Everything is written anew this often: three may fail before an entry expires.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Users in one pipeline. One is under way at a time, so others' calls wait for no more than this.
const BATCH: usize = 256;

/// Runs until `stop`.
pub(super) async fn keep(core: Arc<Core>, link: Arc<Link>, stop: CancellationToken) {
    tokio::select! {
        () = watch(&core, &link) => {}
        () = stop.cancelled() => {}
    }
}

async fn watch(core: &Core, link: &Link) {
    let mut refresh_at = Instant::now() + REFRESH_INTERVAL;
    loop {
        if !link.is_up() && core.try_again(link).await.is_err() {
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
        if let Err(error) = outcome.and(pay(core, link).await) {
            debug!(%error, "bringing the registry up to date was interrupted");
            sleep(PROBE_INTERVAL).await;
            continue;
        }
        tokio::select! {
            () = link.attention.notified() => {}
            () = sleep_until(refresh_at) => link.mark_incomplete(),
        }
    }
}

/// Writes every connection of this node, and the time to live of its user's hash.
async fn rewrite(core: &Core, link: &Link) -> Result<(), RegistryError> {
    let users = link.held.users();
    for batch in users.chunks(BATCH) {
        let mut pipeline = Pipeline::new();
        for user_id in batch {
            add_entries(core, link, *user_id, &mut pipeline);
        }
        send(link, &pipeline).await?;
        // Here, not only at the end: at a high rate of removals they would pile up.
        pay(core, link).await?;
    }
    if !users.is_empty() {
        info!(address = link.address(), users = users.len(), "the registry's entries are written");
    }
    Ok(())
}

fn add_entries(core: &Core, link: &Link, user_id: UserId, pipeline: &mut Pipeline) {
    let held = link.held.of(user_id);
    if held.is_empty() {
        return;
    }
    let key = core.keys.user(user_id);
    for (id, info) in &held {
        pipeline.hset(&key, field(core.life, *id), value(info)).ignore();
    }
    pipeline.pexpire(&key, ENTRY_TTL.as_millis() as i64).ignore();
}

/// Removes what is owed. What could not be sent stays owed.
pub(super) async fn pay(core: &Core, link: &Link) -> Result<(), RegistryError> {
    loop {
        let debts = Debts { link, debts: link.held.take_debts(BATCH) };
        if debts.debts.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::new();
        for (user_id, id) in &debts.debts {
            pipeline.hdel(core.keys.user(*user_id), field(core.life, *id)).ignore();
        }
        send(link, &pipeline).await?;
        debts.settle();
    }
}

async fn send(link: &Link, pipeline: &Pipeline) -> Result<(), RegistryError> {
    match pipeline.is_empty() {
        true => Ok(()),
        false => link.pipeline(pipeline).await,
    }
}

/// Debts taken to be paid; owed again if that does not happen.
struct Debts<'a> {
    link: &'a Link,
    debts: Vec<(UserId, RegistrationId)>,
}

impl Debts<'_> {
    fn settle(mut self) {
        self.debts.clear();
    }
}

impl Drop for Debts<'_> {
    fn drop(&mut self) {
        for (user_id, id) in self.debts.drain(..) {
            self.link.held.owe(user_id, id);
        }
    }
}
