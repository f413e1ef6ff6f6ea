//! What a person sees while a command runs: one line on standard error, if that is a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const REFRESH: Duration = Duration::from_millis(200);

/// A line that is rewritten; nothing where nobody looks.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shown if standard error is a terminal.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    /// Whether anybody looks.
    pub(crate) fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    /// Never shown.
    #[cfg(test)]
    pub(crate) fn hidden() -> Self {
        Self { bar: None }
    }

    /// Shows `line`, anew a few times a second, until `phase` is done.
    pub(crate) async fn show<T>(
        &self,
        line: impl Fn() -> String,
        phase: impl Future<Output = T>,
    ) -> T {
        let Some(bar) = &self.bar else { return phase.await };
        let mut ticks = tokio::time::interval(REFRESH);
        tokio::pin!(phase);
        loop {
            tokio::select! {
                done = &mut phase => return done,
                _ = ticks.tick() => {
                    bar.set_message(line());
                    bar.tick();
                }
            }
        }
    }

    /// Writes a line that stays.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
