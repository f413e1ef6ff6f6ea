//! The signals that end commands that run for a while.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use crate::net::signals::{self, Termination, exit_code};

/// Returns a token that the first SIGINT, SIGTERM, SIGHUP or SIGQUIT cancels. The command then ends
/// by itself; a second signal, or `patience` without an end, ends the process. The latter happens
/// where nothing reads the output.
pub(super) fn stop_on_signal(patience: Duration) -> CancellationToken {
    let stop = CancellationToken::new();
    // Without handlers, signals have their default actions.
    if let Ok(termination) = Termination::listen(&signals::ALL) {
        tokio::spawn(cancel_on_signal(termination, stop.clone(), patience));
    }
    stop
}

async fn cancel_on_signal(
    mut termination: Termination,
    stop: CancellationToken,
    patience: Duration,
) {
    let first = termination.requested().await;
    stop.cancel();
    let second: Option<Signal> = tokio::time::timeout(patience, termination.requested()).await.ok();
    std::process::exit(exit_code(second.unwrap_or(first)));
}
