//! The reputation of a user: points for what was removed, which decay, and by how much they lower
//! the thresholds of moderation.
//!
//! In: offences and what takes them back, each with a cause, and the time. Out: the points, and a
//! number of 0 to [`ReputationRules::most_lowered`] that scores reach the thresholds earlier by.
//!
//! # The points
//! They decay by half in each half-life, so an offence counts less every day and never ends on one
//! day. Exponential decay needs one number per user: the sum of decayed offences decays as each of
//! them does. Every cause is kept beside the sum for as long as it matters
//! ([`KEPT_HALF_LIVES`]), with the points that it added, so that
//!
//! - a cause counts once, however often a node reads its comment again after a crash;
//! - taking a cause back subtracts exactly what is left of it.
//!
//! # The numbers
//! | what | points | reason |
//! |---|---|---|
//! | a removed comment | 1 | the unit |
//! | a comment that a stage removes and that repeats a removed one | 1.5 | the user knew |
//! | a comment that passes and repeats a removed one | 0.5 | no stage removed it this time |
//! | a timeout | 2 | a person decided, about more than one comment as a rule |
//! | a ban | 6 | the strongest act of a person: two half-lives later it still counts as 1.5 |
//! | an approved comment that was flagged | −0.5 | the stages were wrong; two undo a removal |
//!
//! A person who removes a comment that a stage has removed makes no offence smaller. Whether a
//! comment repeats another is looked at by the stages only.
//!
//! Points end at [`MAX_POINTS`]: more would only delay the day on which they are forgotten.
//!
//! # The thresholds
//! `lowered = most_lowered × (1 − 2^(−points / 3))`: one removal lowers by a fifth of the most,
//! three by half, twenty by 99 %. So one mistake hardly matters, a habit does, and nothing lowers
//! by more than the most. An account younger than `new_account_age` adds up to
//! `new_account_lowered`, less with each hour.

use std::collections::VecDeque;

use crate::protocol::text::alike_key;

/// The most points of a user.
pub const MAX_POINTS: f64 = 20.0;

/// Points that halve what is left of the way to the most.
const HALF_EFFECT: f64 = 3.0;

/// Points below this are none: a removed comment is forgotten after four and a half half-lives.
pub const NEGLIGIBLE: f64 = 0.05;

/// Half-lives after which a cause is forgotten. Less than a thousandth of it is left then.
pub const KEPT_HALF_LIVES: u64 = 10;

/// Removed texts of a user that are recognized when they are repeated.
pub const MAX_TEXTS: usize = 8;

/// Letters and digits of the shortest text that counts as repeated: everybody says "lol" again.
const MIN_TEXT_CHARS: usize = 8;

/// An act of a user, by the points it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// A comment was rejected, deleted, or hidden from everybody else.
    Removed,
    /// The same by a stage, and the comment repeats one that was removed before.
    RemovedAgain,
    /// A comment was not removed, but repeats one that was.
    Repeated,
    Timeout,
    Ban,
}

impl Offence {
    pub fn points(self) -> f64 {
        match self {
            Self::Removed => 1.0,
            Self::RemovedAgain => 1.5,
            Self::Repeated => 0.5,
            Self::Timeout => 2.0,
            Self::Ban => 6.0,
        }
    }

    /// Returns the offence of a comment, if it is one.
    pub fn of_comment(is_removed: bool, is_repeat: bool) -> Option<Self> {
        if is_removed {
            return Some(if is_repeat { Self::RemovedAgain } else { Self::Removed });
        }
        is_repeat.then_some(Self::Repeated)
    }
}

/// The points of a comment that was flagged and that a person approves.
pub const APPROVAL: f64 = -0.5;

/// The number of points that a cause is worth from now on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PointAmount {
    /// This many. 0 takes the cause back.
    Exactly(f64),
    /// As many less than none as the user has: forgives all that was counted before.
    Forgiven,
}

/// A change of a user's points.
#[derive(Debug, Clone, PartialEq)]
pub struct PointChange {
    /// Identifies what it is about among all causes of the user.
    pub cause: String,
    pub amount: PointAmount,
    /// The key of the text that was removed: see [`text_key`].
    pub text: Option<u32>,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Whether a cause that is known already gets this amount. Persons replace what machines
    /// counted; a machine that reads a comment again changes nothing.
    pub replaces: bool,
}

/// A cause, as it was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountedCause {
    /// The points that it added, as of `at`. Negative if it took points back.
    pub points: f64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub text: Option<u32>,
}

/// The points of a user, and the latest texts that were removed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reputation {
    /// As of `at`; at least 0, at most [`MAX_POINTS`].
    pub points: f64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// When the first of these points was counted, in milliseconds since the Unix epoch; `None`
    /// without points.
    pub since: Option<u64>,
    /// The keys of removed texts, latest first, at most [`MAX_TEXTS`].
    pub texts: VecDeque<u32>,
}

/// Returns what is left of points after a time.
fn decayed(points: f64, elapsed_ms: u64, half_life_ms: u64) -> f64 {
    points * (-(elapsed_ms as f64) / half_life_ms.max(1) as f64).exp2()
}

/// Returns the key by which a text is recognized when it is repeated; `None` for a text that is too
/// short to be one.
pub fn text_key(text: &str) -> Option<u32> {
    let long = text.chars().filter(|c| c.is_alphanumeric()).nth(MIN_TEXT_CHARS - 1).is_some();
    long.then(|| alike_key(text))
}

impl Reputation {
    /// Returns the points that are left at a time; 0 if they are negligible. A time before the last
    /// change counts as that of the change: the clocks of nodes differ.
    pub fn points_at(&self, now_ms: u64, half_life_ms: u64) -> f64 {
        let points = self.exact_points_at(now_ms, half_life_ms);
        if points < NEGLIGIBLE { 0.0 } else { points }
    }

    fn exact_points_at(&self, now_ms: u64, half_life_ms: u64) -> f64 {
        decayed(self.points, now_ms.saturating_sub(self.at), half_life_ms)
    }

    /// Returns whether a text repeats one of the latest that were removed. Costs nothing for users
    /// without any.
    pub fn repeats(&self, text: &str) -> bool {
        !self.texts.is_empty() && text_key(text).is_some_and(|key| self.texts.contains(&key))
    }

    /// Carries out a change and returns the cause as it is now; `None` if nothing changed. `before`
    /// is the cause as it was counted, if it was.
    ///
    /// A cause is recorded with the points that it did add, which are fewer where the points end.
    /// So the points are the sum of what is left of all causes, while none of them is replaced.
    pub fn change(
        &mut self,
        before: Option<&CountedCause>,
        change: &PointChange,
        half_life_ms: u64,
    ) -> Option<CountedCause> {
        let now_ms = change.at.max(self.at);
        let points = self.exact_points_at(now_ms, half_life_ms);
        if !change.replaces && (before.is_some() || points > MAX_POINTS - 0.01) {
            return None;
        }
        let left_of = |cause: &CountedCause| {
            decayed(cause.points, now_ms.saturating_sub(cause.at), half_life_ms)
        };
        let others = (points - before.map_or(0.0, left_of)).clamp(0.0, MAX_POINTS);
        let wanted = match change.amount {
            // A removal that is made again costs what is left of the first one, or more.
            PointAmount::Exactly(points) if points > 0.0 => {
                before.map_or(points, |before| points.max(left_of(before)))
            }
            PointAmount::Exactly(points) => points,
            PointAmount::Forgiven => -others,
        };
        let after = (others + wanted).clamp(0.0, MAX_POINTS);
        let text = change.text.or(before.and_then(|cause| cause.text));
        self.follow_text(text, wanted > 0.0);
        self.since = (after >= NEGLIGIBLE)
            .then(|| self.since.filter(|_| points >= NEGLIGIBLE).unwrap_or(now_ms));
        self.points = after;
        self.at = now_ms;
        Some(CountedCause { points: after - others, at: now_ms, text })
    }

    /// Remembers a removed text, or forgets one that should not have been removed.
    fn follow_text(&mut self, text: Option<u32>, is_removed: bool) {
        let Some(text) = text else { return };
        self.texts.retain(|known| *known != text);
        if is_removed {
            self.texts.push_front(text);
            self.texts.truncate(MAX_TEXTS);
        }
    }
}

/// The settings of reputation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReputationRules {
    /// At least 1.
    pub half_life_ms: u64,
    /// 0 to 1.
    pub most_lowered: f64,
    /// Accounts younger than this are new. 0: none is.
    pub new_account_ms: u64,
    /// By how much a new account lowers at most; 0 to 1.
    pub new_account_lowered: f64,
}

/// By how much a user lowers thresholds, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UserShift {
    pub by_points: f64,
    pub by_age: f64,
}

impl UserShift {
    /// Returns both together.
    pub fn lowered(self) -> f64 {
        self.by_points + self.by_age
    }
}

impl ReputationRules {
    /// Returns by how much thresholds are lower for a user: at least 0, at most `most_lowered`.
    /// `age_ms` is the age of the account, if it is known.
    pub fn shift(&self, points: f64, age_ms: Option<u64>) -> UserShift {
        let most = self.most_lowered.max(0.0);
        let by_points = most * (1.0 - (-points.max(0.0) / HALF_EFFECT).exp2());
        let by_age = age_ms.map_or(0.0, |age_ms| self.lowered_by_age(age_ms));
        UserShift { by_points, by_age: by_age.min(most - by_points) }
    }

    fn lowered_by_age(&self, age_ms: u64) -> f64 {
        if age_ms >= self.new_account_ms {
            return 0.0;
        }
        let left = 1.0 - age_ms as f64 / self.new_account_ms as f64;
        self.new_account_lowered.max(0.0) * left
    }
}

/// The scores at which a comment is flagged and rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    pub flag: f32,
    pub reject: f32,
}

impl Thresholds {
    /// Returns the thresholds for a user at a moment, by two numbers of at least 0.
    ///
    /// `lowered` lowers both, down to 0. Then `raised` raises only the flag threshold, up to the
    /// other: in a shouting crowd fewer comments wait for a person, but what is rejected from a
    /// user at any other time is rejected then, too.
    pub fn shifted(self, lowered: f32, raised: f32) -> Self {
        let flag = (self.flag - lowered).max(0.0);
        let reject = (self.reject - lowered).max(0.0);
        Self { flag: (flag + raised).min(flag.max(reject)), reject }
    }
}

#[cfg(test)]
mod tests;
