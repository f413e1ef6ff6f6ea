//! The progress of a replay, on standard error.

use std::io::IsTerminal as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::play::Playing;
use crate::cli::output::note;
use crate::loadgen::ProgressSink;

/// The time between two lines where standard error is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// A bar over the recorded time, or a line now and then if standard error is no terminal.
#[derive(Debug)]
pub(super) struct ReplayBar<'a> {
    bar: Option<ProgressBar>,
    playing: &'a Playing,
    from_ms: u64,
    /// When the last line was written.
    written: Mutex<Instant>,
}

impl<'a> ReplayBar<'a> {
    pub(super) fn new(playing: &'a Playing, from_ms: u64, to_ms: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(to_ms.saturating_sub(from_ms));
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, playing, from_ms, written: Mutex::new(Instant::now()) }
    }

    /// Returns whether a line is due, and counts it as written.
    fn is_line_due(&self) -> bool {
        let now = Instant::now();
        let mut written = self.written.lock();
        let is_due = now.duration_since(*written) >= LINE_INTERVAL;
        if is_due {
            *written = now;
        }
        is_due
    }
}

impl ProgressSink for ReplayBar<'_> {
    fn is_shown(&self) -> bool {
        true
    }

    fn show(&self, line: String) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.playing.position_ms.load(Relaxed).saturating_sub(self.from_ms));
            bar.set_message(line);
            bar.tick();
        } else if self.is_line_due() {
            note(&line);
        }
    }
}

impl Drop for ReplayBar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lines_are_ten_seconds_apart() {
        let playing = Playing::default();
        let bar = ReplayBar::new(&playing, 0, 1_000);
        let mut lines = 0;
        for _ in 0..150 {
            tokio::time::advance(Duration::from_millis(200)).await;
            lines += u64::from(bar.is_line_due());
        }
        assert_eq!(lines, 3, "in thirty seconds");
    }
}
