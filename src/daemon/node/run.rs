//! A node's life: built (`assembly`), started, waited for, drained (`shutdown`). The service manager
//! hears of each step (`service_manager`).

use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::assembly::Node;
use super::first_start;
use super::shutdown::Running;
use crate::daemon::base::config::Config;
use crate::daemon::node::systemd::{reload, start_watchdog, tell};

/// Resolves on SIGTERM or SIGINT.
pub async fn termination() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (mut terminate, mut interrupt) = match signals {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            warn!(%error, "cannot listen for signals");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Runs a node until `stop` resolves, then drains it.
///
/// # Errors
/// What kept it from starting, or the failure of a part without which it cannot go on.
pub async fn run(mut config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let viewers_that_fit = first_start::raise_file_limit();
    let connections = &mut config.gateway.max_connections;
    *connections = first_start::fit_connections(*connections, viewers_that_fit);
    let config = Arc::new(config);
    report_file_size_limit()?;
    let hangups = hangups()?;
    first_start::make_data_dir(&config.node.data_dir)?;
    let (fatal, fatal_reason) = mpsc::channel(1);
    let node = Node::assemble(config.clone(), fatal).await?;
    let greeting = first_start::greeting(&config, node.address());
    let running = node.start();
    // Printed for people and scripts alike: words on standard output mean "ready".
    print!("{greeting}");
    start_watchdog(&running.supervisors.rest, running.delivery.clone());
    tell(&[NotifyState::Ready]);
    let outcome = wait(stop, fatal_reason, hangups, &running).await;
    info!("draining");
    tell(&[NotifyState::Stopping]);
    running.drain(&config.shutdown).await;
    outcome
}

/// Makes a limit on file sizes an error of the write that meets it, which the event log answers as a
/// full disk. Left alone, its signal (SIGXFSZ) ends the process.
fn report_file_size_limit() -> std::io::Result<()> {
    let number = nix::sys::signal::Signal::SIGXFSZ as i32;
    signal(SignalKind::from_raw(number)).map(drop)
}

/// SIGHUP as a request to reload. On a terminal it means that the terminal is gone, and ends the
/// daemon as it would any program.
fn hangups() -> std::io::Result<Option<Signal>> {
    if std::io::stdin().is_terminal() {
        return Ok(None);
    }
    signal(SignalKind::hangup()).map(Some)
}

async fn next_hangup(hangups: &mut Option<Signal>) {
    let Some(hangups) = hangups else { return std::future::pending().await };
    if hangups.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn wait(
    stop: impl Future<Output = ()>,
    mut fatal: mpsc::Receiver<String>,
    mut hangups: Option<Signal>,
    running: &Running,
) -> anyhow::Result<()> {
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(reason) = fatal.recv() => return Err(anyhow::anyhow!(reason)),
            () = next_hangup(&mut hangups) => reload(running.certificate.clone()).await,
        }
    }
}
