//! Derives from earlier looks at the lag how fast it changes, and how old the oldest record is that
//! a group has not read.
//!
//! In: the ends of partitions and the lags of groups, each time that an engine looks; the times of
//! records that it has read. Out: changes and ages. An end that was seen at a known time says that
//! the records behind it are younger, so an age costs no call to a server.
//!
//! Bounded: at most [`MAX_ENDS`] ends per partition and [`MAX_LAGS`] lags per group and partition;
//! what is not looked at any more is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::protocol::admin::ConsumerLag;

/// Changes are measured over this time.
const WINDOW: Duration = Duration::from_secs(30);
/// The time between two lags that are kept.
const LAG_SPACING: Duration = Duration::from_secs(3);
/// A change over less time would be noise.
const SHORTEST_SPAN: Duration = Duration::from_millis(900);
/// Lags that cover [`WINDOW`].
const MAX_LAGS: usize = 12;
/// Ends that are kept per partition. When there are more, every second one of the older half goes.
const MAX_ENDS: usize = 48;
/// Between ends that were seen further apart than this, an age is an estimate.
const CLOSE: Duration = Duration::from_secs(5);

/// The age of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordAge {
    pub(crate) age: Duration,
    /// False if it is interpolated between times that are more than [`CLOSE`] apart.
    pub(crate) is_close: bool,
}

/// The ends and lags seen so far. The lock is held for one look at a time.
#[derive(Debug)]
pub(crate) struct LagHistory {
    began: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By topic and partition, oldest first.
    ends: BTreeMap<(String, u32), VecDeque<SeenEnd>>,
    /// By group, topic and partition, oldest first.
    lags: BTreeMap<(String, String, u32), VecDeque<(Instant, u64)>>,
}

/// Records before `end` had been appended at this time.
#[derive(Debug, Clone, Copy)]
struct SeenEnd {
    /// Milliseconds since the history began; negative for the time of an older record.
    at_ms: i64,
    end: u64,
    /// The record at `end` was appended at this very time.
    is_record: bool,
}

impl Default for LagHistory {
    fn default() -> Self {
        Self { began: Instant::now(), seen: Mutex::default() }
    }
}

impl LagHistory {
    fn at_ms(&self, age: Duration) -> i64 {
        let now_ms = self.began.elapsed().as_millis() as i64;
        now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }

    /// Takes all lags, as they are seen now, and sets their changes.
    pub(crate) fn observe(&self, lags: &mut [ConsumerLag]) {
        self.observe_ends(lags);
        self.set_changes(lags);
    }

    fn observe_ends(&self, lags: &[ConsumerLag]) {
        let at_ms = self.at_ms(Duration::ZERO);
        let mut needed: BTreeMap<(&str, u32), (u64, u64)> = BTreeMap::new();
        for lag in lags {
            let place = needed.entry((&lag.topic, lag.partition)).or_insert((u64::MAX, 0));
            *place = (place.0.min(lag.next_unread()), place.1.max(lag.end));
        }
        let ends = &mut self.seen.lock().ends;
        ends.retain(|(topic, partition), _| needed.contains_key(&(topic.as_str(), *partition)));
        for ((topic, partition), (from, end)) in needed {
            let ends = ends.entry((topic.to_owned(), partition)).or_default();
            if ends.back().is_some_and(|last| last.end > end) {
                if ends.front().is_some_and(|first| first.end <= end) {
                    // Of two looks at once, the one that began first arrives last.
                    continue;
                }
                // The partition became shorter: the same offsets are other records now.
                ends.clear();
            }
            let seen = SeenEnd { at_ms, end, is_record: false };
            // While nothing is appended, the first time and the last with this end say all.
            let last_two = ends.iter().rev().take(2);
            if last_two.filter(|last| last.end == end).count() == 2 {
                ends.pop_back();
            }
            ends.push_back(seen);
            // Ends that all groups have passed are needed no more.
            while ends.get(1).is_some_and(|second| second.end <= from) {
                ends.pop_front();
            }
            thin(ends);
        }
    }

    fn set_changes(&self, lags: &mut [ConsumerLag]) {
        let now = Instant::now();
        let known = &mut self.seen.lock().lags;
        let mut kept = BTreeMap::new();
        for lag in lags {
            let key = (lag.group.clone(), lag.topic.clone(), lag.partition);
            let mut past = known.remove(&key).unwrap_or_default();
            while past.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
                past.pop_front();
            }
            if let Some(&(then, before)) = past.front() {
                let span = now.duration_since(then);
                if span >= SHORTEST_SPAN {
                    let change = lag.lag as f64 - before as f64;
                    lag.change_per_s = Some(change / span.as_secs_f64());
                }
            }
            let is_due = past.back().is_none_or(|(at, _)| now.duration_since(*at) >= LAG_SPACING);
            if is_due {
                past.push_back((now, lag.lag));
                while past.len() > MAX_LAGS {
                    past.pop_front();
                }
            }
            kept.insert(key, past);
        }
        *known = kept;
    }

    /// Returns the age of the record at an offset before the last end that was seen. `None` if the
    /// record is older than all that was seen.
    pub(crate) fn age(&self, topic: &str, partition: u32, offset: u64) -> Option<RecordAge> {
        let seen = self.seen.lock();
        let ends = seen.ends.get(&(topic.to_owned(), partition))?;
        let after = ends.partition_point(|seen| seen.end <= offset);
        let before = ends.get(after.checked_sub(1)?)?;
        let after = ends.get(after)?;
        let gap_ms = (after.at_ms - before.at_ms).max(0);
        let is_exact = before.is_record && before.end == offset;
        let share = (offset - before.end) as f64 / (after.end - before.end) as f64;
        let at_ms = before.at_ms + (gap_ms as f64 * share) as i64;
        let now_ms = self.at_ms(Duration::ZERO);
        let age = Duration::from_millis(now_ms.saturating_sub(at_ms).max(0) as u64);
        Some(RecordAge { age, is_close: is_exact || gap_ms <= CLOSE.as_millis() as i64 })
    }

    /// Learns the age of the record at an offset, of a partition that was observed.
    pub(crate) fn learn(&self, topic: &str, partition: u32, offset: u64, age: Duration) {
        let at_ms = self.at_ms(age);
        let mut seen = self.seen.lock();
        let Some(ends) = seen.ends.get_mut(&(topic.to_owned(), partition)) else { return };
        let place = ends.partition_point(|seen| seen.end <= offset);
        let Some(after) = ends.get(place) else { return };
        // Clocks of nodes differ a little; times go up with offsets nevertheless.
        let at_ms = at_ms.min(after.at_ms);
        let earlier = place.checked_sub(1).and_then(|before| ends.get(before)).copied();
        let at_ms = earlier.map_or(at_ms, |earlier| at_ms.max(earlier.at_ms));
        let learned = SeenEnd { at_ms, end: offset, is_record: true };
        match earlier.filter(|earlier| earlier.end == offset) {
            Some(_) => ends[place - 1] = learned,
            None => ends.insert(place, learned),
        }
        thin(ends);
    }
}

/// Keeps the newest, and of the older ones fewer.
fn thin(ends: &mut VecDeque<SeenEnd>) {
    if ends.len() <= MAX_ENDS {
        return;
    }
    let older = ends.len() / 2;
    let mut number = 0;
    ends.retain(|_| {
        number += 1;
        // The first one stays: it reaches back furthest.
        number > older || number % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPIC: &str = "comment_events";

    fn lag(position: u64, end: u64) -> ConsumerLag {
        ConsumerLag {
            group: "archiver".to_owned(),
            topic: TOPIC.to_owned(),
            position,
            end,
            lag: end - position,
            ..ConsumerLag::default()
        }
    }

    fn look(history: &LagHistory, position: u64, end: u64) -> Option<f64> {
        let mut lags = [lag(position, end)];
        history.observe(&mut lags);
        lags[0].change_per_s
    }

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn age_ms(history: &LagHistory, offset: u64) -> Option<(u64, bool)> {
        let found = history.age(TOPIC, 0, offset)?;
        Some((found.age.as_millis() as u64, found.is_close))
    }

    #[tokio::test(start_paused = true)]
    async fn the_change_is_that_of_the_last_30_seconds() {
        let history = LagHistory::default();
        assert_eq!(look(&history, 0, 100), None, "one look says nothing");
        for second in 1..=60 {
            after(1).await;
            assert_eq!(look(&history, 0, 100 + second * 60), Some(60.0), "{second}");
        }
        for second in 1..=40 {
            after(1).await;
            let change = look(&history, second * 60, 3_700 + second * 60).unwrap();
            assert!(second < 34 || change == 0.0, "{second}: {change}");
        }
        after(3_600).await;
        assert_eq!(look(&history, 3_000, 9_000), None, "nobody looked for an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_follows_from_the_ends_seen() {
        let history = LagHistory::default();
        look(&history, 10, 10);
        assert_eq!(age_ms(&history, 5), None, "older than the first look");
        after(2).await;
        look(&history, 10, 30);
        after(2).await;
        look(&history, 10, 40);
        assert_eq!(age_ms(&history, 10), Some((4_000, true)));
        assert_eq!(age_ms(&history, 20), Some((3_000, true)));
        assert_eq!(age_ms(&history, 30), Some((2_000, true)));
        after(60).await;
        look(&history, 40, 100);
        assert_eq!(age_ms(&history, 70), Some((30_000, false)), "an estimate");
        assert_eq!(age_ms(&history, 20), None, "read by all, and forgotten");
        look(&history, 1, 3);
        assert_eq!(age_ms(&history, 2), None, "other records have the offsets now");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_look_forgets_nothing() {
        let history = LagHistory::default();
        look(&history, 10, 10);
        after(2).await;
        look(&history, 10, 30);
        look(&history, 10, 28);
        after(1).await;
        assert_eq!(age_ms(&history, 20), Some((2_000, true)));
        assert_eq!(age_ms(&history, 25), Some((1_500, true)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_record_is_learned() {
        let history = LagHistory::default();
        look(&history, 10, 1_000);
        history.learn(TOPIC, 0, 10, Duration::from_secs(600));
        assert_eq!(age_ms(&history, 10), Some((600_000, true)));
        assert_eq!(age_ms(&history, 505), Some((300_000, false)));
        history.learn(TOPIC, 0, 505, Duration::from_secs(100));
        assert_eq!(age_ms(&history, 505), Some((100_000, true)));
        history.learn(TOPIC, 0, 600, Duration::from_secs(9_000));
        assert_eq!(age_ms(&history, 600), Some((100_000, true)), "not before an earlier record");
        history.learn("other", 3, 1, Duration::ZERO);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// However often somebody looks, memory is bounded, and an unread record is never younger
        /// than a later one.
        #[test]
        fn ages_are_ordered_and_memory_is_bounded(
            steps in proptest::collection::vec((1u64..20, 0u64..50, 0u64..40), 1..120),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let history = LagHistory::default();
                let mut position = 1;
                let mut end = 1;
                for (seconds, written, read) in steps {
                    after(seconds).await;
                    end += written;
                    position = (position + read).min(end);
                    look(&history, position, end);
                    let unread = (position..end).step_by(7);
                    let ages: Vec<_> =
                        unread.filter_map(|offset| age_ms(&history, offset)).collect();
                    prop_assert!(ages.is_sorted_by(|one, next| one.0 >= next.0), "{ages:?}");
                    let seen = history.seen.lock();
                    prop_assert!(seen.ends.values().all(|ends| ends.len() <= MAX_ENDS));
                    prop_assert!(seen.lags.values().all(|lags| lags.len() <= MAX_LAGS));
                }
                Ok(())
            })?;
        }
    }
}
