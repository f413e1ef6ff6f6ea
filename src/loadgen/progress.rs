//! Progress of a run for a person who watches it.

use std::time::Duration;

const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// Shows one line that is replaced while a run continues.
pub trait ProgressSink: Sync {
    /// Returns whether anyone sees the line. If not, it is never computed.
    fn is_shown(&self) -> bool;

    /// Replaces the line.
    fn show(&self, line: String);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl ProgressSink for NoProgress {
    fn is_shown(&self) -> bool {
        false
    }

    fn show(&self, _line: String) {}
}

/// Runs `phase` and shows `line` several times per second until it ends.
pub(crate) async fn show_while<T>(
    sink: &dyn ProgressSink,
    line: impl Fn() -> String,
    phase: impl Future<Output = T>,
) -> T {
    if !sink.is_shown() {
        return phase.await;
    }
    let mut refresh = tokio::time::interval(REFRESH_INTERVAL);
    tokio::pin!(phase);
    loop {
        tokio::select! {
            done = &mut phase => return done,
            _ = refresh.tick() => sink.show(line()),
        }
    }
}
