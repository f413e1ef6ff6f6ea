//! One line of progress on standard error, for commands that take a while.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::note;
use crate::loadgen::ProgressSink;

/// A line that is replaced while the command runs. Hidden if standard error is no terminal.
#[derive(Debug)]
pub(super) struct ProgressLine {
    bar: Option<ProgressBar>,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    /// Prints a line that stays.
    pub(super) fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }
}

impl ProgressSink for ProgressLine {
    fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    fn show(&self, line: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(line);
            bar.tick();
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
