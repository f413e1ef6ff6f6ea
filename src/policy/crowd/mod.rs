//! The mood of a stream: by how much a crowd that shouts raises the thresholds of moderation.
//!
//! In: the comments of a stream in order, each with its time, its user, whether it is loud and
//! whether its score is high. Out: a number of 0 to [`CrowdRules::most_raised`].
//!
//! Everybody shouts in capitals at a goal, and capitals raise the scores of any model. Then a far
//! larger share of the comments than usual would wait for a person, all of them harmless. A comment
//! is therefore judged against the stream's own baseline:
//!
//! - **Loud comments** (capitals, stretched letters) are raised by how much of the stream is loud
//!   at this moment, while that is a multiple of the stream's usual share. A comment in capitals
//!   stands out in a calm stream and not in a shouting one. A calm comment is not raised, however
//!   loud the crowd is.
//! - **All comments** are raised, by at most half as much, while the share of high scores is a
//!   multiple of the stream's usual share.
//!
//! The usual shares are those of the last ten minutes or so, without the last seconds: a crowd is
//! not its own baseline.
//!
//! # What abusers cannot make of it
//! - Both need a crowd: it begins with [`FEWEST`] users that stand out within seconds, and is
//!   complete with [`MANY`]. A user counts once in that time, so one user who shouts all the time,
//!   or five, raise nothing.
//! - Scores count, not decisions: raised thresholds do not feed back.
//! - A raid raises by no more than the most, and only the thresholds that flag: see
//!   [`Thresholds::shifted`](super::reputation::Thresholds::shifted). Insults that are rejected at
//!   any other time are rejected during a raid.
//! - What lasts becomes usual: in a long raid the shares of loud comments and of high scores are
//!   the baseline, and the thresholds are back. So they are in a stream whose usual chat is loud.

use std::collections::VecDeque;

use crate::protocol::UserId;

/// Users that stand out at which a crowd begins. Fewer are single abusers and their friends.
pub const FEWEST: f64 = 10.0;
/// Users that stand out at which it is a crowd in full.
pub const MANY: f64 = 30.0;
/// A score from which a comment stands out: the least that flags toxicity by default.
pub const HIGH_SCORE: f32 = 0.5;

/// The half-life of the present: a goal is cheered for some ten seconds.
const PRESENT_MS: f64 = 10_000.0;
/// The half-life of the usual.
const USUAL_MS: f64 = 600_000.0;
/// A user that stands out is not counted again for this time.
const COUNTED_ONCE_MS: u64 = 20_000;
/// Users that are remembered for that: more than [`MANY`], so that no few can pass for a crowd.
const MAX_COUNTED: usize = 64;
/// Shares of loud comments at which a stream begins to shout, and shouts in full. In ordinary chat
/// one comment of twenty is loud.
const SHOUTING: (f64, f64) = (0.15, 0.4);
/// Multiples of a usual share at which a share is unusual, and unusual in full.
const UNUSUAL: (f64, f64) = (2.0, 4.0);
/// The part of the most that high scores raise.
const PART_OF_HIGH: f64 = 0.5;
/// The usual shares that a stream begins with, and the comments that they count as.
const FIRST_LOUD_SHARE: f64 = 0.05;
const FIRST_HIGH_SHARE: f64 = 0.02;
const FIRST_COMMENTS: f64 = 200.0;

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrowdRules {
    /// 0 to 1; 0 switches it off.
    pub most_raised: f64,
}

/// A comment, as far as the mood is concerned. Times are milliseconds of one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrowdComment {
    pub user_id: UserId,
    pub at_ms: u64,
    /// See [`is_loud`].
    pub is_loud: bool,
    /// Whether one of its scores is at least [`HIGH_SCORE`].
    pub is_high: bool,
}

/// A sum of which half is left after each half-life.
#[derive(Debug, Clone, Copy, Default)]
struct DecayingSum {
    value: f64,
    at_ms: u64,
}

impl DecayingSum {
    fn at(self, now_ms: u64, half_life_ms: f64) -> f64 {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms) as f64;
        self.value * (-elapsed_ms / half_life_ms).exp2()
    }

    fn add(&mut self, number: f64, now_ms: u64, half_life_ms: f64) {
        self.value = self.at(now_ms, half_life_ms) + number;
        self.at_ms = self.at_ms.max(now_ms);
    }
}

/// Users that stand out in one way.
#[derive(Debug, Default)]
struct Outstanding {
    present: DecayingSum,
    usual: DecayingSum,
    /// Those that were counted last, with the time, oldest first.
    counted: VecDeque<(UserId, u64)>,
}

impl Outstanding {
    fn count(&mut self, user_id: UserId, now_ms: u64) {
        let is_over = |at_ms: u64| now_ms.saturating_sub(at_ms) >= COUNTED_ONCE_MS;
        while self.counted.front().is_some_and(|(_, at_ms)| is_over(*at_ms)) {
            self.counted.pop_front();
        }
        if self.counted.iter().any(|(known, _)| *known == user_id) {
            return;
        }
        if self.counted.len() == MAX_COUNTED {
            self.counted.pop_front();
        }
        self.counted.push_back((user_id, now_ms));
        self.present.add(1.0, now_ms, PRESENT_MS);
        self.usual.add(1.0, now_ms, USUAL_MS);
    }
}

/// The mood of one stream, in about two kilobytes.
#[derive(Debug, Default)]
pub struct CrowdMood {
    comments: DecayingSum,
    usual_comments: DecayingSum,
    loud: Outstanding,
    high: Outstanding,
}

/// Returns 0 up to the beginning of a range, 1 from its end on.
fn ramp(value: f64, begin: f64, end: f64) -> f64 {
    ((value - begin) / (end - begin)).clamp(0.0, 1.0)
}

/// Returns how many equal characters in a row are allowed, where `most` are in a calm stream: more
/// while thresholds are raised, twice as many at a tenth.
pub fn allowed_run(most: u32, raised: f32) -> u32 {
    let raised = f64::from(raised).clamp(0.0, 0.1);
    (f64::from(most) * (1.0 + 10.0 * raised)).round() as u32
}

/// Returns whether a text is written as people shout: at least four letters, most of them capitals,
/// or a letter or sign four times in a row.
pub fn is_loud(text: &str) -> bool {
    let mut capitals = 0_u32;
    let mut cased = 0_u32;
    let mut run = 0_u32;
    let mut longest = 0;
    let mut before = None;
    for c in text.chars() {
        capitals += u32::from(c.is_uppercase());
        cased += u32::from(c.is_uppercase() || c.is_lowercase());
        if c.is_whitespace() || c.is_numeric() {
            before = None;
            continue;
        }
        let lower = c.to_lowercase().next();
        run = if lower == before { run + 1 } else { 1 };
        before = lower;
        longest = longest.max(run);
    }
    longest >= 4 || (cased >= 4 && capitals * 10 >= cased * 7)
}

impl CrowdMood {
    /// Returns by how much the thresholds are raised for a comment, judged by the comments before
    /// it: at least 0, at most `most_raised`.
    pub fn raised(&self, comment: &CrowdComment, rules: &CrowdRules) -> f64 {
        let now_ms = comment.at_ms;
        let loud = if comment.is_loud { self.shouting(now_ms) } else { 0.0 };
        let high = PART_OF_HIGH * self.unusual(&self.high, FIRST_HIGH_SHARE, now_ms);
        rules.most_raised.max(0.0) * loud.max(high)
    }

    /// Adds a comment. Times that go back count as no time.
    pub fn add(&mut self, comment: &CrowdComment) {
        let now_ms = comment.at_ms;
        self.comments.add(1.0, now_ms, PRESENT_MS);
        self.usual_comments.add(1.0, now_ms, USUAL_MS);
        if comment.is_loud {
            self.loud.count(comment.user_id, now_ms);
        }
        if comment.is_high {
            self.high.count(comment.user_id, now_ms);
        }
    }

    /// Returns how much of the stream is loud, 0 to 1.
    fn shouting(&self, now_ms: u64) -> f64 {
        let loudness = ramp(self.share(&self.loud, now_ms), SHOUTING.0, SHOUTING.1);
        loudness.min(self.unusual(&self.loud, FIRST_LOUD_SHARE, now_ms))
    }

    /// Returns how unusual the share of users that stand out is, 0 to 1; 0 unless they are a crowd.
    fn unusual(&self, outstanding: &Outstanding, first_share: f64, now_ms: u64) -> f64 {
        let users = outstanding.present.at(now_ms, PRESENT_MS);
        let usual_share = self.usual_share(outstanding, first_share, now_ms);
        let times = self.share(outstanding, now_ms) / usual_share;
        ramp(users, FEWEST, MANY) * ramp(times, UNUSUAL.0, UNUSUAL.1)
    }

    /// Returns the share of users that stand out at this moment.
    fn share(&self, outstanding: &Outstanding, now_ms: u64) -> f64 {
        let users = outstanding.present.at(now_ms, PRESENT_MS);
        users / self.comments.at(now_ms, PRESENT_MS).max(1.0)
    }

    /// Returns the same share as it was before this moment.
    fn usual_share(&self, outstanding: &Outstanding, first_share: f64, now_ms: u64) -> f64 {
        let before = |usual: DecayingSum, present: DecayingSum| {
            (usual.at(now_ms, USUAL_MS) - present.at(now_ms, PRESENT_MS)).max(0.0)
        };
        let users = before(outstanding.usual, outstanding.present);
        let comments = before(self.usual_comments, self.comments);
        (users + first_share * FIRST_COMMENTS) / (comments + FIRST_COMMENTS)
    }
}

#[cfg(test)]
mod tests;
