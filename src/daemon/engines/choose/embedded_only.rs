//! Stands in for [`distributed`](super) in a build without the cargo feature `engines`.

use anyhow::bail;

use super::{Distributed, Probe};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::Config;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::eventlog::SharedLog;

/// Fails if the configuration names an engine on a server.
pub(super) async fn open_log(config: &Config) -> anyhow::Result<Option<SharedLog>> {
    let distributed = config.engines.distributed();
    if !distributed.is_empty() {
        bail!(
            "this lcd was built with the embedded engines only, and the engine of {} is on a server: \
             build it with `--features engines`",
            distributed.join(", ")
        );
    }
    Ok(None)
}

pub(crate) async fn probe_servers(_: &Config) -> anyhow::Result<Vec<Probe>> {
    Ok(Vec::new())
}

impl Distributed {
    pub(super) async fn open(
        _: &Config,
        _: &SharedClock,
        _: &StatusBoard,
        _: &SharedLog,
    ) -> anyhow::Result<Self> {
        Ok(Self::default())
    }
}
