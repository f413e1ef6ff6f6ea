//! Tells operators that lines of the log are lost: they cannot read it there.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::daemon::base::log_output::{LogState, log_state, lost_lines};
use crate::daemon::base::problems::Problems;
use crate::protocol::admin::ProblemCode;

/// The subject of the problem.
const SUBJECT: &str = "stderr";
/// The time without a lost line after which the problem is solved.
const CALM: Duration = Duration::from_secs(60);

/// The time between two trial lines. A quiet node writes no others, and would not learn that its
/// lines arrive again.
const TRIAL_INTERVAL: Duration = Duration::from_secs(5);

/// Compares the counter of lost lines at each look.
#[derive(Debug)]
pub(super) struct LogWatch {
    lost: u64,
    last_loss: Option<Instant>,
    last_trial: Option<Instant>,
}

impl LogWatch {
    pub(super) fn new() -> Self {
        Self { lost: 0, last_loss: None, last_trial: None }
    }

    /// Raises or clears the problem of this node. The text stays the same while the problem lasts,
    /// because each new text is a line of the log, which would be lost too.
    pub(super) fn look(&mut self, problems: &Problems) {
        let state = log_state();
        self.compare(lost_lines(), state, problems);
        if self.is_trial_due(state) {
            warn!(lost = self.lost, "lines of this log were lost before this one");
        }
    }

    /// Whether a line must find out if lines are written again.
    fn is_trial_due(&mut self, state: LogState) -> bool {
        if state != LogState::Failed {
            self.last_trial = None;
            return false;
        }
        let is_due = self.last_trial.is_none_or(|at| at.elapsed() >= TRIAL_INTERVAL);
        if is_due {
            self.last_trial = Some(Instant::now());
        }
        is_due
    }

    fn compare(&mut self, lost: u64, state: LogState, problems: &Problems) {
        if lost > self.lost {
            self.last_loss = Some(Instant::now());
        } else if state == LogState::Written && self.last_trial.is_some() {
            // The trial line was written: the cause is gone.
            self.last_loss = None;
        }
        self.lost = lost;
        let lately = self.last_loss.is_some_and(|at| at.elapsed() < CALM);
        let cause = match state {
            LogState::Stuck => "its reader does not read",
            LogState::Failed => "its reader is gone, or its disk is full",
            LogState::Written if lately => "its reader is too slow",
            LogState::Written => return problems.clear(ProblemCode::LogLinesLost, SUBJECT),
        };
        let text = format!(
            "lines of this node's log on standard error are lost: {cause}; the node works on, \
             restart what reads its log (lcd_log_lines_lost_total counts the lines)"
        );
        problems.raise(ProblemCode::LogLinesLost, SUBJECT, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_problem_lasts_until_lines_arrive_again() {
        let problems = Problems::default();
        let mut watch = LogWatch::new();
        watch.compare(0, LogState::Written, &problems);
        assert_eq!(problems.list(), []);
        watch.compare(1, LogState::Failed, &problems);
        assert!(problems.list()[0].text.contains("disk is full"));
        tokio::time::advance(CALM * 10).await;
        watch.compare(1, LogState::Failed, &problems);
        assert_eq!(problems.list().len(), 1, "nothing was written since");
        watch.compare(2, LogState::Written, &problems);
        assert!(problems.list()[0].text.contains("too slow"));
        tokio::time::advance(CALM).await;
        watch.compare(2, LogState::Written, &problems);
        assert_eq!(problems.list(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_node_tries_whether_lines_arrive_again() {
        let problems = Problems::default();
        let mut watch = LogWatch::new();
        watch.compare(1, LogState::Failed, &problems);
        assert!(watch.is_trial_due(LogState::Failed), "nobody else writes a line");
        assert!(!watch.is_trial_due(LogState::Failed), "not at every look");
        // The trial line is lost too, and the next one is written.
        tokio::time::advance(TRIAL_INTERVAL).await;
        watch.compare(2, LogState::Failed, &problems);
        assert!(watch.is_trial_due(LogState::Failed));
        tokio::time::advance(Duration::from_secs(1)).await;
        watch.compare(2, LogState::Written, &problems);
        assert_eq!(problems.list(), [], "solved as soon as a line was written");
        assert!(!watch.is_trial_due(LogState::Written));
    }
}
