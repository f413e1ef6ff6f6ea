//! Builds the report of a run from its results.

use std::sync::Arc;
use std::time::Duration;

use super::clock::Micros;
use super::counts::{CountsByKind, add_counts};
use super::histogram::{Percentiles, latency_histogram};
use super::pool::{PoolTotals, StormTotals};
use super::report::{GeneratorReport, Report, StormReport};
use super::schedule::Slippage;
use super::submissions::Submissions;
use crate::protocol::CloseCode;
use crate::protocol::quantity::counted;

/// Everything that a report is built from.
#[derive(Debug)]
pub(super) struct RunResults {
    pub viewers_requested: u64,
    pub submissions: Arc<Submissions>,
    pub pools: PoolTotals,
    /// When the load began.
    pub started: Micros,
    pub slippage: Slippage,
    /// Times of the storms since the load began.
    pub storm_times: Vec<Duration>,
    pub generator: GeneratorReport,
    pub notes: Vec<String>,
}

impl RunResults {
    pub(super) fn into_report(self) -> Report {
        let Self { submissions, pools, started, slippage, mut notes, .. } = self;
        let answers = submissions.answers();
        let counters = pools.counters;
        let deliveries = pools.deliveries;
        let since_start = |end: Micros| end.saturating_sub(started) as f64 / 1e6;
        let published = submissions.published();
        let duration_s = slippage.ended_after.as_secs_f64();
        let answered = answers.acked + answers.rejections();
        notes.extend(epoch_change_note(counters.epoch_changes));
        notes.extend(conflicting_acks_note(counters.conflicting_acks));
        notes.extend(closed_senders_note(&answers.disconnects));
        let mut closed = pools.closed;
        add_counts(&mut closed, &answers.disconnects);
        Report {
            viewers: self.viewers_requested,
            connected: pools.connected,
            published,
            acked: answers.acked,
            delivered: deliveries.delivered,
            expected: deliveries.expected,
            sampled_out: deliveries.sampled_out,
            skipped: deliveries.skipped,
            deleted: deliveries.deleted,
            lost: deliveries.lost,
            duplicated: counters.duplicated,
            out_of_order: counters.out_of_order,
            latency_ms: pools.latency.percentiles(),
            connect_ms: pools.connect.percentiles(),
            ack_ms: Percentiles::of(&answers.ack_latency),
            unanswered: published.saturating_sub(answered),
            unsent: submissions.unsent(),
            deletions_seen: counters.deletions_seen,
            deletion_ms: pools.deletion.percentiles(),
            reactions_sent: submissions.reactions_sent(),
            reactions_refused: submissions.reactions_refused(),
            reaction_updates: counters.reaction_updates,
            slow_viewers: pools.slow,
            disconnected: pools.disconnected,
            reconnects: pools.reconnects,
            storm_ms: all_storms(&pools.storms),
            storms: self.storm_times.iter().zip(&pools.storms).map(storm_report).collect(),
            closed,
            rejected: answers.rejected,
            connect_failed: pools.connect_failed,
            connect_refused: pools.connect_refused,
            malformed: counters.malformed,
            duration_s: (duration_s * 1000.0).round() / 1000.0,
            published_per_second: per_second(published, duration_s),
            acked_per_second: per_second(answers.acked, since_start(answers.last_ack)),
            delivered_per_second: per_second(
                deliveries.delivered,
                since_start(counters.last_arrival),
            ),
            generator: self.generator,
            notes,
        }
    }
}

fn storm_report((at, storm): (&Duration, &StormTotals)) -> StormReport {
    let mut back = latency_histogram();
    storm.back.add_to(&mut back);
    let back_ms = Percentiles::of(&back);
    StormReport {
        at_s: at.as_secs_f64(),
        viewers: storm.viewers,
        back: back.len(),
        all_back_ms: back_ms.max.filter(|_| back.len() == storm.viewers),
        back_ms,
    }
}

fn all_storms(storms: &[StormTotals]) -> Percentiles {
    let mut all = latency_histogram();
    storms.iter().for_each(|storm| storm.back.add_to(&mut all));
    Percentiles::of(&all)
}

fn epoch_change_note(epoch_changes: u64) -> Option<String> {
    (epoch_changes > 0).then(|| {
        format!(
            "moved to another epoch because the event log was replaced: {}, whose account ends \
             there",
            counted(epoch_changes, "viewer")
        )
    })
}

fn conflicting_acks_note(conflicting_acks: u64) -> Option<String> {
    (conflicting_acks > 0)
        .then(|| format!("{conflicting_acks} acks named a seq that another comment has"))
}

/// A closed sender reconnects seconds later, so the acks of a few such senders can be the slowest
/// percent of all.
fn closed_senders_note(disconnects: &CountsByKind) -> Option<String> {
    let times = disconnects.get(CloseCode::SlowConsumer.as_str()).filter(|times| **times > 0)?;
    Some(format!(
        "the server closed senders {times} times as slow consumers, because the generator read their \
         answers too slowly; their comments waited for the reconnect; spread the rate over more \
         --senders, or raise delivery.outbox_bytes"
    ))
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (count as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_consumer_senders_are_noted() {
        let mut disconnects = CountsByKind::new();
        disconnects.insert("lost".into(), 3);
        assert_eq!(closed_senders_note(&disconnects), None);
        disconnects.insert(CloseCode::SlowConsumer.as_str().into(), 2);
        let note = closed_senders_note(&disconnects).unwrap();
        assert!(note.contains("2 times") && note.contains("--senders"), "{note}");
        assert!(!note.contains("  "), "{note}");
    }
}
