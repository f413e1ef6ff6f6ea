//! Tells operators that lines of the log are lost: they cannot read it there.

use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::base::log_output::{LogState, log_state, lost_lines};
use crate::daemon::base::problems::Problems;
use crate::protocol::admin::ProblemCode;

/// The subject of the problem.
const SUBJECT: &str = "stderr";
/// The time without a lost line after which the problem is solved.
const CALM: Duration = Duration::from_secs(60);

/// Compares the counter of lost lines at each look.
#[derive(Debug)]
pub(super) struct LogWatch {
    lost: u64,
    last_loss: Option<Instant>,
}

impl LogWatch {
    pub(super) fn new() -> Self {
        Self { lost: 0, last_loss: None }
    }

    /// Raises or clears the problem of this node. The text stays the same while the problem lasts,
    /// because each new text is a line of the log, which would be lost too.
    pub(super) fn look(&mut self, problems: &Problems) {
        self.compare(lost_lines(), log_state(), problems);
    }

    fn compare(&mut self, lost: u64, state: LogState, problems: &Problems) {
        if lost > self.lost {
            self.last_loss = Some(Instant::now());
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
}
