//! The life of a node: assemble, start, wait, drain. The service manager is told of each step.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use nix::sys::signal::Signal;
use sd_notify::NotifyState;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::assembly::Node;
use super::first_start;
use super::identity::ClaimedIdentity;
use super::preflight;
use super::shutdown::RunningNode;
use super::systemd::{notify, reload, start_watchdog};
use crate::daemon::base::config::Config;
use crate::net::signals::{Termination, exit_code};

/// Resolves on SIGTERM, SIGINT or SIGQUIT, and on SIGHUP from the terminal of the daemon, which has
/// closed then. A second signal during the drain ends the process at once.
pub async fn termination() {
    let mut wanted = vec![Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];
    if std::io::stdin().is_terminal() {
        wanted.push(Signal::SIGHUP);
    }
    let mut termination = match Termination::listen(&wanted) {
        Ok(termination) => termination,
        Err(error) => {
            warn!(%error, "cannot listen for signals");
            return std::future::pending().await;
        }
    };
    let signal = termination.requested().await;
    info!(%signal, "asked to stop");
    tokio::spawn(async move {
        let signal = termination.requested().await;
        std::process::exit(exit_code(signal));
    });
}

/// Runs a node until `stop` resolves, then drains it.
///
/// # Errors
/// [`InvalidConfiguration`](super::InvalidConfiguration), another reason why it could not start, or
/// the failure of an essential task.
pub async fn run(mut config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    first_start::fit_connections_to_file_limit(&mut config.gateway.max_connections);
    let config = Arc::new(config);
    turn_file_size_signal_into_error()?;
    let hangups = hangups()?;
    preflight::require_valid(&config)?;
    first_start::create_data_dir(&config.node.data_dir)?;
    let claimed = ClaimedIdentity::claim(&config)?;
    let (fatal, fatal_reason) = mpsc::channel(1);

    let node = Node::assemble(config.clone(), &claimed.identity, fatal).await?;
    let greeting = first_start::greeting(&config, node.address());
    let running = node.start();
    // Text on standard output means "ready", for people and for scripts.
    print_greeting(greeting);
    start_watchdog(&running.tasks.rest, running.delivery.clone());
    notify(&[NotifyState::Ready]);

    let outcome = wait(stop, fatal_reason, hangups, &running).await;
    info!("draining");
    notify(&[NotifyState::Stopping]);
    running.drain(&config.shutdown).await;
    outcome
}

/// Prints on a thread of its own: nothing may wait for a reader of standard output.
fn print_greeting(greeting: String) {
    let print = move || {
        let mut stdout = std::io::stdout().lock();
        // Without a reader nobody waits for the greeting.
        let _ = stdout.write_all(greeting.as_bytes()).and_then(|()| stdout.flush());
    };
    if let Err(error) = std::thread::Builder::new().name("greeting".to_owned()).spawn(print) {
        warn!(%error, "cannot print that the node is ready");
    }
}

/// Turns a write beyond the limit on file sizes into an error, which the event log handles as a
/// full disk. Without a handler the signal (SIGXFSZ) ends the process.
fn turn_file_size_signal_into_error() -> std::io::Result<()> {
    unix::signal(SignalKind::from_raw(Signal::SIGXFSZ as i32)).map(drop)
}

/// Returns SIGHUP as a request to reload. On a terminal SIGHUP means that the terminal has closed,
/// and is one of the signals of [`termination`].
fn hangups() -> std::io::Result<Option<unix::Signal>> {
    if std::io::stdin().is_terminal() {
        return Ok(None);
    }
    unix::signal(SignalKind::hangup()).map(Some)
}

async fn next_hangup(hangups: &mut Option<unix::Signal>) {
    let Some(hangups) = hangups else { return std::future::pending().await };
    if hangups.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Waits for `stop` or a fatal error, and reloads on each hangup meanwhile.
async fn wait(
    stop: impl Future<Output = ()>,
    mut fatal: mpsc::Receiver<String>,
    mut hangups: Option<unix::Signal>,
    running: &RunningNode,
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
