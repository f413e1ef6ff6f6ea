//! The progress of a replay, on standard error.

use std::io::IsTerminal as _;
use std::sync::atomic::Ordering::Relaxed;

use indicatif::{ProgressBar, ProgressStyle};

use super::play::Playing;
use crate::loadgen::ProgressSink;

/// A bar over the recorded time. Hidden if standard error is no terminal.
#[derive(Debug)]
pub(super) struct ReplayBar<'a> {
    bar: Option<ProgressBar>,
    playing: &'a Playing,
    from_ms: u64,
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
        Self { bar, playing, from_ms }
    }
}

impl ProgressSink for ReplayBar<'_> {
    fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    fn show(&self, line: String) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.playing.position_ms.load(Relaxed).saturating_sub(self.from_ms));
            bar.set_message(line);
            bar.tick();
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
