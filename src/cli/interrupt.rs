//! Ctrl-C for commands that end in an orderly way.

use tokio_util::sync::CancellationToken;

/// Returns a token that the first Ctrl-C cancels. The second one ends the process.
pub(super) fn stop_on_interrupt() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    stop
}
