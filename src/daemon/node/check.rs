//! `lcd check`: tests whether a configuration would start, without starting it.

use std::sync::Arc;

use anyhow::Context as _;

use super::first_start::create_data_dir;
use crate::daemon::base::clock::{SharedClock, SystemClock};
use crate::daemon::base::config::Config;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::choose::{Engines, probe_servers};
use crate::daemon::stages::auth::Verifier;

/// Connects to every dependency of the configuration and prints a line for each.
///
/// # Errors
/// The first dependency that does not answer.
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
    create_data_dir(&config.node.data_dir)?;
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
