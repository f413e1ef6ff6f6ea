//! What a run comes to, put into its report.

use std::sync::Arc;

use super::crowd::{Figures, Storm};
use super::generator::Generator;
use super::ledger::{Micros, histogram};
use super::report::{Percentiles, Report, StormReport};
use super::schedule::Slippage;
use super::submissions::{ByKind, Submissions};
use super::trial::Trial;
use crate::protocol::CloseCode;

#[derive(Debug)]
pub(super) struct Outcome {
    pub submissions: Arc<Submissions>,
    pub figures: Figures,
    /// When the load began.
    pub started: Micros,
    pub slippage: Slippage,
}

impl Outcome {
    pub(super) fn report(self, mut trial: Trial, generator: Generator) -> Report {
        let Self { submissions, figures, started, slippage } = self;
        let outcomes = submissions.outcomes();
        let (counts, tally) = (&figures.counts, &figures.tally);
        let since_start = |end: Micros| end.saturating_sub(started) as f64 / 1e6;
        let published = submissions.published();
        let duration_s = slippage.ended_after.as_secs_f64();
        let answered = outcomes.acked + outcomes.rejected.values().sum::<u64>();
        let (reactions_sent, reactions_refused) = submissions.reactions();
        let (storms, storm_ms) = storms(&trial, &figures.storms);
        add_notes(&mut trial.notes, counts.epoch_changes, counts.conflicting_acks);
        trial.notes.extend(note_of_closed_senders(&outcomes.interrupted));
        Report {
            viewers: trial.viewers_wanted,
            connected: figures.connected,
            published,
            acked: outcomes.acked,
            delivered: tally.delivered,
            expected: tally.expected,
            sampled_out: tally.sampled_out,
            skipped: tally.skipped,
            deleted: tally.deleted,
            lost: tally.lost,
            duplicated: counts.duplicated,
            out_of_order: counts.out_of_order,
            latency_ms: figures.latency.percentiles(),
            connect_ms: figures.connect.percentiles(),
            ack_ms: Percentiles::of(&outcomes.ack),
            unanswered: published.saturating_sub(answered),
            unsent: submissions.unsent(),
            deletions_seen: counts.deletions_seen,
            reactions_sent,
            reactions_refused,
            reaction_updates: counts.reaction_updates,
            slow_viewers: figures.slow,
            disconnected: figures.disconnected,
            reconnects: figures.reconnects,
            storm_ms,
            storms,
            closed: sum(figures.closed, &outcomes.interrupted),
            rejected: outcomes.rejected,
            connect_failed: figures.failed,
            connect_refused: figures.refused,
            malformed: counts.malformed,
            duration_s: (duration_s * 1000.0).round() / 1000.0,
            published_per_second: per_second(published, duration_s),
            acked_per_second: per_second(outcomes.acked, since_start(outcomes.last_ack)),
            delivered_per_second: per_second(tally.delivered, since_start(counts.last_arrival)),
            generator,
            notes: trial.notes,
        }
    }
}

fn storms(trial: &Trial, storms: &[Storm]) -> (Vec<StormReport>, Percentiles) {
    let mut all = histogram();
    let report = |(at, storm): (&std::time::Duration, &Storm)| {
        let mut back = histogram();
        storm.back.add_to(&mut back);
        storm.back.add_to(&mut all);
        let back_ms = Percentiles::of(&back);
        StormReport {
            at_s: at.as_secs_f64(),
            viewers: storm.viewers,
            back: back.len(),
            all_back_ms: back_ms.max.filter(|_| back.len() == storm.viewers),
            back_ms,
        }
    };
    let reports = trial.storms.iter().zip(storms).map(report).collect();
    (reports, Percentiles::of(&all))
}

fn add_notes(notes: &mut Vec<String>, epoch_changes: u64, conflicting_acks: u64) {
    if epoch_changes > 0 {
        notes.push(format!(
            "{epoch_changes} viewers were moved to another epoch, the event log was replaced; \
             their account ends there"
        ));
    }
    if conflicting_acks > 0 {
        notes.push(format!(
            "{conflicting_acks} acks claimed a place in the order that another comment has"
        ));
    }
}

/// A sender that is closed comes back seconds later, so the acks of a few of them make the slowest
/// percent of all.
fn note_of_closed_senders(interrupted: &ByKind) -> Option<String> {
    let times = interrupted.get(CloseCode::SlowConsumer.as_str()).filter(|times| **times > 0)?;
    Some(format!(
        "senders were closed {times} times as slow consumers, and commented on when they were back: \
         their answers came faster than the generator read them; spread the rate over more \
         --senders, or raise delivery.outbox_bytes"
    ))
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (count as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

fn sum(mut all: ByKind, more: &ByKind) -> ByKind {
    for (kind, count) in more {
        *all.entry(kind.clone()).or_default() += count;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_that_were_closed_for_not_reading_are_spoken_of() {
        let mut interrupted = ByKind::new();
        interrupted.insert("lost".into(), 3);
        assert_eq!(note_of_closed_senders(&interrupted), None);
        interrupted.insert(CloseCode::SlowConsumer.as_str().into(), 2);
        let note = note_of_closed_senders(&interrupted).unwrap();
        assert!(note.contains("closed 2 times") && note.contains("--senders"), "{note}");
        assert!(!note.contains("  "), "{note}");
    }
}
