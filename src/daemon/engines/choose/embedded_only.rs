//! Stands in for [`distributed`](super) in a build without the cargo feature `engines`.

use anyhow::bail;

use super::{Distributed, Probe};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::Config;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::announcements::Announcement;
use crate::daemon::engines::eventlog::{LogTelemetry, SharedLog};
use crate::daemon::engines::registry::NodeIdentity;

/// Fails if the configuration names an engine on a server.
pub(super) async fn open_log(
    config: &Config,
    _: LogTelemetry,
) -> anyhow::Result<Option<SharedLog>> {
    match faults(config).pop() {
        Some(fault) => bail!(fault),
        None => Ok(None),
    }
}

pub(super) async fn probe(_: &Config) -> Vec<Probe> {
    Vec::new()
}

/// Names the engines that this build does not have.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let distributed = config.engines.distributed();
    if distributed.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "this lcd was built with the embedded engines only, and the engine of {} is on a server: \
         build it with `--features engines`",
        distributed.join(", ")
    )]
}

pub(super) async fn running_nodes(_: &Config) -> anyhow::Result<Vec<Announcement>> {
    Ok(Vec::new())
}

/// Does nothing: a node without shared engines is alone.
pub(super) async fn claim_name(_: &Config, _: &NodeIdentity) -> anyhow::Result<()> {
    Ok(())
}

impl Distributed {
    pub(super) async fn open(
        _: &Config,
        _: &SharedClock,
        _: &StatusBoard,
        _: &SharedLog,
        _: &NodeIdentity,
    ) -> anyhow::Result<Self> {
        Ok(Self::default())
    }
}
