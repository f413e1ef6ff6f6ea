//! The decisions of moderation over the last minute, and over the hour before it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::base::metrics::{Decided, Metrics};
use crate::protocol::admin::{DecidedCount, DecisionCounts, RecentModeration};
use crate::protocol::events::Decision;

/// The time between two readings that are kept.
const STEP: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Readings of counters, oldest first. Bounded by [`STEP`]: 368 of the counts, and 8 of the
/// decisions by stage.
#[derive(Debug, Default)]
pub(super) struct DecisionHistory {
    counts: VecDeque<(Instant, DecisionCounts)>,
    decided: VecDeque<(Instant, BTreeMap<Decided, u64>)>,
}

impl DecisionHistory {
    /// Reads the counters. Called once per second.
    pub(super) fn read(&mut self, now: Instant, metrics: &Metrics) -> RecentModeration {
        self.add(now, counts(metrics), metrics.moderation_by_stage.totals())
    }

    fn add(
        &mut self,
        now: Instant,
        counts: DecisionCounts,
        decided: BTreeMap<Decided, u64>,
    ) -> RecentModeration {
        let is_due = |last: Option<&Instant>| last.is_none_or(|at| now - *at >= STEP);
        if is_due(self.counts.back().map(|(at, _)| at)) {
            self.counts.push_back((now, counts));
            self.decided.push_back((now, decided.clone()));
            forget_before(&mut self.counts, now, HOUR + MINUTE);
            forget_before(&mut self.decided, now, MINUTE);
        }
        // The begin of the last minute: the latest reading that is as old, or the first there is.
        let begin = self.counts.iter().rev().find(|(at, _)| now - *at >= MINUTE);
        let begin = begin.or(self.counts.front()).map_or(counts, |(_, begin)| *begin);
        let first = self.counts.front().map_or(counts, |(_, first)| *first);
        let before = self.decided.front().map(|(_, before)| before);
        let count_of = |(key, total): (Decided, u64)| {
            let earlier = before.and_then(|before| before.get(&key)).copied().unwrap_or(0);
            let count = total.saturating_sub(earlier);
            let Decided { stage, reason, decision } = key;
            let decision = Decision::ALL.into_iter().find(|one| one.as_str() == decision)?;
            (count > 0).then_some(DecidedCount { stage, reason, decision, count })
        };
        let mut recent = RecentModeration {
            minute: counts.since(begin),
            hour: begin.since(first),
            decided: decided.into_iter().filter_map(count_of).collect(),
        };
        recent.sort();
        recent
    }
}

/// Drops readings as long as the one after is old enough to measure the whole time.
fn forget_before<T>(readings: &mut VecDeque<(Instant, T)>, now: Instant, age: Duration) {
    while readings.get(1).is_some_and(|(at, _)| now - *at >= age) {
        readings.pop_front();
    }
}

fn counts(metrics: &Metrics) -> DecisionCounts {
    let decisions = metrics.moderation_decisions.totals();
    let of = |decision: Decision| decisions.get(decision.as_str()).copied().unwrap_or(0);
    DecisionCounts {
        checked: metrics.moderation_checked.get(),
        rejected: of(Decision::Reject),
        shadow_banned: of(Decision::ShadowBan),
        flagged: of(Decision::Flag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(checked: u64, flagged: u64) -> DecisionCounts {
        DecisionCounts { checked, flagged, ..DecisionCounts::default() }
    }

    fn by_link(count: u64) -> BTreeMap<Decided, u64> {
        let decision = Decision::Flag.as_str();
        let key =
            Decided { stage: "rules".into(), reason: "link".into(), decision: decision.into() };
        BTreeMap::from([(key, count)])
    }

    #[test]
    fn a_minute_is_told_from_the_hour_before() {
        let mut history = DecisionHistory::default();
        let start = Instant::now();
        let mut recent = RecentModeration::default();
        // Ten comments per second; one in a hundred is flagged, in the last minute ten.
        for second in 0..=7_200_u64 {
            let minutes = second.saturating_sub(7_140);
            let flagged = second.min(7_140) / 10 + minutes;
            let now = start + Duration::from_secs(second);
            recent = history.add(now, counts(second * 10, flagged), by_link(flagged));
        }
        assert_eq!(recent.minute, counts(600, 60));
        assert_eq!(recent.hour, counts(36_000, 360));
        let [decided] = &recent.decided[..] else { panic!("{recent:?}") };
        assert_eq!((decided.count, decided.decision), (60, Decision::Flag));
        assert!(history.counts.len() <= 368 && history.decided.len() <= 8);
    }

    #[test]
    fn after_a_start_there_is_no_hour_yet() {
        let mut history = DecisionHistory::default();
        let start = Instant::now();
        history.add(start, counts(0, 0), BTreeMap::new());
        let recent = history.add(start + Duration::from_secs(5), counts(50, 2), by_link(2));
        assert_eq!((recent.minute, recent.hour), (counts(50, 2), counts(0, 0)));
        assert_eq!(recent.decided[0].count, 2);
    }
}
