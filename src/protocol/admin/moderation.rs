//! The latest decisions of moderation, and how they compare with the hour before.

use serde::{Deserialize, Serialize};

use crate::protocol::events::Decision;

/// The most rows of [`RecentModeration::decided`].
pub const MAX_DECIDED: usize = 32;

/// Comments that moderation stages checked over a time, and of them those not accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct DecisionCounts {
    pub checked: u64,
    pub rejected: u64,
    pub shadow_banned: u64,
    pub flagged: u64,
}

impl DecisionCounts {
    /// Returns the counts since an earlier reading of the same counters.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            checked: self.checked.saturating_sub(earlier.checked),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            shadow_banned: self.shadow_banned.saturating_sub(earlier.shadow_banned),
            flagged: self.flagged.saturating_sub(earlier.flagged),
        }
    }

    /// Adds the counts of another node.
    pub fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.rejected += other.rejected;
        self.shadow_banned += other.shadow_banned;
        self.flagged += other.flagged;
    }

    /// Returns the flagged share of the comments checked, 0 to 1; `None` if none was checked.
    pub fn flagged_share(self) -> Option<f64> {
        self.share(self.flagged)
    }

    /// Returns the rejected share of the comments checked, 0 to 1; `None` if none was checked.
    pub fn rejected_share(self) -> Option<f64> {
        self.share(self.rejected)
    }

    fn share(self, part: u64) -> Option<f64> {
        (self.checked > 0).then(|| part as f64 / self.checked as f64)
    }
}

/// The number of times that a stage decided so for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecidedCount {
    pub stage: String,
    pub reason: String,
    pub decision: Decision,
    pub count: u64,
}

/// The decisions of moderation stages of the last minute and of the hour before it. Decisions of
/// people are not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RecentModeration {
    pub minute: DecisionCounts,
    /// Of a shorter time after a start.
    pub hour: DecisionCounts,
    /// Decisions of the last minute that did not accept, the most frequent first; at most 32.
    pub decided: Vec<DecidedCount>,
}

impl RecentModeration {
    /// Adds what another node decided.
    pub fn add(&mut self, other: &Self) {
        self.minute.add(other.minute);
        self.hour.add(other.hour);
        for more in &other.decided {
            let is_same = |known: &&mut DecidedCount| {
                known.decision == more.decision
                    && known.stage == more.stage
                    && known.reason == more.reason
            };
            match self.decided.iter_mut().find(is_same) {
                Some(known) => known.count += more.count,
                None => self.decided.push(more.clone()),
            }
        }
        self.sort();
    }

    /// Puts the most frequent decisions first, and drops those beyond [`MAX_DECIDED`].
    pub fn sort(&mut self) {
        self.decided.sort_by(|a, b| {
            let names = |one: &DecidedCount| (one.stage.clone(), one.reason.clone());
            b.count.cmp(&a.count).then_with(|| names(a).cmp(&names(b)))
        });
        self.decided.truncate(MAX_DECIDED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(reason: &str, count: u64) -> DecidedCount {
        let reason = reason.to_owned();
        DecidedCount { stage: "rules".to_owned(), reason, decision: Decision::Flag, count }
    }

    #[test]
    fn nodes_are_added_and_the_most_frequent_come_first() {
        let of = |counts: &[(&str, u64)]| RecentModeration {
            minute: DecisionCounts { checked: 100, flagged: 5, ..DecisionCounts::default() },
            decided: counts.iter().map(|(reason, count)| decided(reason, *count)).collect(),
            ..RecentModeration::default()
        };
        let mut sum = of(&[("link", 3), ("caps", 2)]);
        sum.add(&of(&[("caps", 5)]));
        assert_eq!(sum.decided, [decided("caps", 7), decided("link", 3)]);
        assert_eq!(sum.minute.flagged_share(), Some(0.05));
        assert_eq!((sum.hour.flagged_share(), sum.minute.rejected_share()), (None, Some(0.0)));
    }
}
