//! The life of a node: assemble, start, wait, drain; and again if the event log was replaced. The
//! service manager is told of each step.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;
use sd_notify::NotifyState;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::assembly::Node;
use super::first_start;
use super::identity::ClaimedIdentity;
use super::preflight;
use super::reload;
use super::shutdown::RunningNode;
use super::systemd::{notify, ping_while_assembling, start_watchdog};
use crate::daemon::base::clock::{SharedClock, SystemClock};
use crate::daemon::base::config::{Config, ShutdownConfig};
use crate::daemon::base::status::StatusBoard;
use crate::net::backoff::BackoffBounds;
use crate::net::signals::{Termination, exit_code};

/// The file in the data directory with the losses that nobody has acknowledged yet.
pub(super) const LOSSES_FILE: &str = "losses.json";
/// Bound of the last write of the losses.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// Viewers reconnect within this time after the event log was replaced.
const REOPEN_JITTER: Duration = Duration::from_millis(500);
const REOPEN_PAUSES: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(200), longest: Duration::from_secs(5) };

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

/// Runs a node until `stop` resolves, then drains it. When the event log was replaced on its
/// servers, drains the node and builds it again on the new one, in the same process.
///
/// # Errors
/// [`InvalidConfiguration`](super::InvalidConfiguration), another reason why it could not start, or
/// the failure of an essential task.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    run_with_clock(config, Arc::new(SystemClock), stop).await
}

/// Like [`run`], with another clock than the system's.
///
/// # Errors
/// Like [`run`].
pub async fn run_with_clock(
    mut config: Config,
    clock: SharedClock,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    first_start::fit_connections_to_file_limit(&mut config.gateway.max_connections);
    turn_file_size_signal_into_error()?;
    let hangups = hangups()?;
    preflight::require_valid(&config)?;
    first_start::create_data_dir(&config.node.data_dir)?;
    let claimed = ClaimedIdentity::claim(&config)?;
    let board = StatusBoard::default();
    board.problems().keep_losses_in(&config.node.data_dir.join(LOSSES_FILE));
    board.telemetry().set_started_at(clock.now_ms());
    let ended = run_until_stopped(config, clock, stop, &board, &claimed, hangups).await;
    // A disk may hang: the end must not wait for it.
    let _ = tokio::time::timeout(LAST_WRITE, board.problems().losses_written()).await;
    ended
}

/// Runs the node, and builds it again when the event log was replaced.
async fn run_until_stopped(
    mut config: Config,
    clock: SharedClock,
    stop: impl Future<Output = ()>,
    board: &StatusBoard,
    claimed: &ClaimedIdentity,
    mut hangups: Option<unix::Signal>,
) -> anyhow::Result<()> {
    tokio::pin!(stop);
    let mut assembled = Assembled::new(&config, &clock, board, claimed).await?;
    // Text on standard output means "ready", for people and for scripts.
    let mut greeting = Some(first_start::greeting(&config, assembled.node.address()));
    // A node that is built again keeps its address, also if it did not choose it.
    config.gateway.listen = assembled.node.address();
    loop {
        let Assembled { node, mut fatal } = assembled;
        let running = node.start();
        reload::forget_failures(&running.board);
        if let Some(greeting) = greeting.take() {
            print_greeting(greeting);
        }
        start_watchdog(&running.tasks.rest, running.delivery.clone());
        notify(&[NotifyState::Ready]);

        let end = wait(stop.as_mut(), &mut fatal, &mut hangups, &running).await;
        if let End::Stop(outcome) = end {
            info!("draining");
            notify(&[NotifyState::Stopping]);
            running.drain(&config.shutdown).await;
            return outcome;
        }
        warn!("the event log was replaced; this node drains and opens it again");
        let shutdown =
            ShutdownConfig { reconnect_jitter: REOPEN_JITTER, ..config.shutdown.clone() };
        running.drain(&shutdown).await;
        tokio::select! {
            again = assemble_again(&config, &clock, board, claimed) => assembled = again,
            () = &mut stop => return Ok(()),
            // The service manager must not take waiting for the log for a hang.
            never = ping_while_assembling() => match never {},
        }
    }
}

/// A node that can be started, and the channel on which its essential tasks report failures.
struct Assembled {
    node: Node,
    fatal: mpsc::Receiver<String>,
}

impl Assembled {
    async fn new(
        config: &Config,
        clock: &SharedClock,
        board: &StatusBoard,
        claimed: &ClaimedIdentity,
    ) -> anyhow::Result<Self> {
        let (report, fatal) = mpsc::channel(1);
        let config = Arc::new(config.clone());
        // Counters and problems continue, everything else begins again.
        let board = board.successor();
        let node = Node::assemble(config, clock.clone(), board, &claimed.identity, report).await?;
        Ok(Self { node, fatal })
    }
}

/// Builds the node, and tries again until that succeeds.
async fn assemble_again(
    config: &Config,
    clock: &SharedClock,
    board: &StatusBoard,
    claimed: &ClaimedIdentity,
) -> Assembled {
    let mut backoff = REOPEN_PAUSES.start();
    loop {
        match Assembled::new(config, clock, board, claimed).await {
            Ok(assembled) => return assembled,
            Err(error) => warn!(error = format!("{error:#}"), "cannot start again yet; retrying"),
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
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

async fn finished(reloading: &mut Option<BoxFuture<'static, ()>>) {
    match reloading {
        Some(reloading) => reloading.await,
        None => std::future::pending().await,
    }
}

/// The reason why a node no longer runs.
enum End {
    Stop(anyhow::Result<()>),
    /// The event log must be opened again.
    LogReplaced,
}

/// Waits for the end of the node, and reloads on each hangup meanwhile.
async fn wait(
    mut stop: Pin<&mut impl Future<Output = ()>>,
    fatal: &mut mpsc::Receiver<String>,
    hangups: &mut Option<unix::Signal>,
    running: &RunningNode,
) -> End {
    let mut replaced = running.log.replaced();
    // A reload reads files, and a disk may hang: the end must not wait for it.
    let mut reloading: Option<BoxFuture<'static, ()>> = None;
    loop {
        tokio::select! {
            () = &mut stop => return End::Stop(Ok(())),
            Some(reason) = fatal.recv() => return End::Stop(Err(anyhow::anyhow!(reason))),
            () = &mut replaced => return End::LogReplaced,
            () = next_hangup(hangups), if reloading.is_none() => {
                let certificates = running.certificates.clone();
                let pipeline = running.pipeline.clone();
                let board = running.board.clone();
                reloading = Some(Box::pin(reload::reload(certificates, pipeline, board)));
            }
            () = finished(&mut reloading) => reloading = None,
        }
    }
}
