//! The report of a round.

use std::time::Duration;

use super::load::Sent;
use super::processor::Shares;

/// The archiver must have caught up this soon after the last comment.
const CATCH_UP: Duration = Duration::from_secs(5);
/// The load may take longer than planned by at most this.
const LATE: Duration = Duration::from_secs(1);

pub(super) struct Outcome {
    pub(super) rate: u64,
    pub(super) seconds: u64,
    pub(super) sent: Sent,
    pub(super) busy: Shares,
    pub(super) caught_up: Duration,
    pub(super) stored: u64,
}

impl Outcome {
    pub(super) fn holds(&self) -> bool {
        let late = self.sent.took.saturating_sub(Duration::from_secs(self.seconds));
        late <= LATE && self.caught_up <= CATCH_UP && self.stored == self.sent.comments
    }
}

pub(super) fn print_outcome(outcome: &Outcome) {
    let Outcome { rate, seconds, sent, busy, caught_up, stored } = outcome;
    let at = |share: f64| sent.acks_ms[((sent.acks_ms.len() - 1) as f64 * share) as usize];
    let word = if outcome.holds() { "holds" } else { "does not hold" };
    println!("{rate}/s for {seconds} s: {word}");
    println!(
        "  appended {} in {:.1} s, acknowledged after p50 {:.1} ms, p99 {:.1} ms, at most {:.0} ms",
        sent.comments,
        sent.took.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    println!(
        "  archiver at most {} behind, at 0 {:.2} s after the last; rows stored {stored}",
        sent.lag_max,
        caught_up.as_secs_f64(),
    );
    let busy: Vec<_> = busy.iter().map(|(who, percent)| format!("{who} {percent:.0}")).collect();
    println!("  CPU: {}", busy.join(", "));
}
