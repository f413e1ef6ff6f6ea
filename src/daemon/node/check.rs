//! `lcd check`: whether this configuration would start, without starting it.

use std::sync::Arc;

use anyhow::Context as _;

use crate::daemon::base::clock::{SharedClock, SystemClock};
use crate::daemon::base::config::Config;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::choose::{Engines, probe_servers};
use crate::daemon::stages::auth::Verifier;

/// Reaches every dependency the configuration names and prints a line for each; the first that does
/// not answer is the error.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    println!("configuration        ok");
    let clock: SharedClock = Arc::new(SystemClock);
    Verifier::new(&config.auth, None, clock.clone())?;
    println!("token keys           ok, {} configured", config.auth.keys.len());
    let listen = config.gateway.listen;
    std::net::TcpListener::bind(listen).with_context(|| {
        format!("cannot listen on {listen} (gateway.listen): is a daemon running there?")
    })?;
    println!("address              ok, {listen} is free");
    super::first_start::make_data_dir(&config.node.data_dir)?;
    for probe in probe_servers(config).await? {
        println!("{:20} ok, {}", probe.server, probe.result.map_err(anyhow::Error::msg)?);
    }
    let engines = Engines::open(config, &clock, &StatusBoard::default()).await?;
    engines.comments.ping().await?;
    engines.metadata.ping().await?;
    for (contract, engine) in Engines::names(&config.engines) {
        println!("{contract:20} ok, {engine}");
    }
    engines.log.close().await?;
    Ok(())
}
