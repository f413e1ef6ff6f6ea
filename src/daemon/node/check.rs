//! `lcd check`: tests whether a configuration would start, without starting it.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;

use super::first_start::create_data_dir;
use crate::daemon::base::clock::{SharedClock, SystemClock};
use crate::daemon::base::config::Config;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::choose::{Engines, probe_servers};
use crate::daemon::stages::auth::Verifier;
use crate::protocol::printable::printable;

/// Prints a line of the result. Nobody has to read it to the end: the exit code says the rest.
fn print_line(line: &str) {
    let line = printable(line) + "\n";
    // A reader that is gone, as in `lcd check | head`, is no failure.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Connects to every dependency of the configuration and prints a line for each.
///
/// # Errors
/// The first dependency that does not answer.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    print_line("configuration        ok");
    let clock: SharedClock = Arc::new(SystemClock);
    Verifier::new(&config.auth, None, clock.clone())?;
    print_line(&format!("token keys           ok, {} configured", config.auth.keys.len()));
    let listen = config.gateway.listen;
    std::net::TcpListener::bind(listen).with_context(|| {
        format!("cannot listen on {listen} (gateway.listen): is a daemon running there?")
    })?;
    print_line(&format!("address              ok, {listen} is free"));
    create_data_dir(&config.node.data_dir)?;
    for probe in probe_servers(config).await? {
        print_line(&format!(
            "{:20} ok, {}",
            probe.server,
            probe.result.map_err(anyhow::Error::msg)?
        ));
    }
    let engines = Engines::open(config, &clock, &StatusBoard::default()).await?;
    engines.comments.ping().await?;
    engines.metadata.ping().await?;
    for (contract, engine) in Engines::names(&config.engines) {
        print_line(&format!("{contract:20} ok, {engine}"));
    }
    engines.log.close().await?;
    Ok(())
}
