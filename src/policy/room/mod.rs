//! The rules of a room, applied to a comment.
//!
//! In: the rules, what the token says of the sender, the text, and what was said in the room
//! before. Out: whether the comment is allowed, or the rule that it breaks and how long. Moderators
//! and higher roles are exempt from all rules.

use crate::protocol::room::RoomRules;
use crate::protocol::{Role, Standing};

/// A comment, as far as the rules of a room ask. Times are milliseconds of one clock, which may
/// count from any moment except for [`Self::now_ms`] and [`Standing::follower_since`], which are
/// compared with each other.
#[derive(Debug, Clone, Copy)]
pub struct RoomComment<'a> {
    pub role: Role,
    pub standing: Standing,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The time since the sender's last comment in the room, in milliseconds; `None` if none is
    /// known.
    pub since_last_ms: Option<u64>,
    /// The time since the text was last said in the room, in milliseconds; `None` if it is new.
    pub since_said_ms: Option<u64>,
    pub text: TextFacts<'a>,
}

/// Answers questions about a text that cost time, only if a rule asks.
#[derive(Clone, Copy)]
pub struct TextFacts<'a> {
    pub is_emotes_only: &'a dyn Fn() -> bool,
    /// True if it has a link that the site does not allow.
    pub has_link: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for TextFacts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextFacts")
    }
}

/// The rule that a comment breaks. Waits are milliseconds, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomRefusal {
    SubscribersOnly,
    /// The wait is that of a follower who has not followed long enough; `None` if the user does not
    /// follow.
    FollowersOnly {
        wait_ms: Option<u64>,
    },
    EmotesOnly,
    Links,
    Slow {
        wait_ms: u64,
    },
    SaidBefore {
        wait_ms: u64,
    },
}

impl RoomRefusal {
    /// Returns the time until the rule allows the comment, in milliseconds, at least 1; `None` if
    /// no wait helps.
    pub fn wait_ms(&self) -> Option<u64> {
        match *self {
            Self::FollowersOnly { wait_ms } => wait_ms,
            Self::Slow { wait_ms } | Self::SaidBefore { wait_ms } => Some(wait_ms),
            Self::SubscribersOnly | Self::EmotesOnly | Self::Links => None,
        }
    }
}

/// Returns whether the role is exempt from the rules of rooms.
pub fn is_exempt(role: Role) -> bool {
    role.is_staff()
}

/// Checks a comment against the rules of its room.
///
/// # Errors
/// A rule that it breaks. Those that no wait helps against come first; of the others the one with
/// the longest wait is told. So nobody waits in vain.
pub fn check(rules: &RoomRules, comment: &RoomComment<'_>) -> Result<(), RoomRefusal> {
    if is_exempt(comment.role) || rules.is_open() {
        return Ok(());
    }
    let standing = comment.standing;
    if rules.subscribers_only && !standing.subscriber {
        return Err(RoomRefusal::SubscribersOnly);
    }
    let needed_ms = rules.followers_ms.filter(|_| !standing.subscriber);
    if needed_ms.is_some() && standing.follower_since.is_none() {
        return Err(RoomRefusal::FollowersOnly { wait_ms: None });
    }
    if rules.emotes_only && !(comment.text.is_emotes_only)() {
        return Err(RoomRefusal::EmotesOnly);
    }
    if rules.no_links && (comment.text.has_link)() {
        return Err(RoomRefusal::Links);
    }
    let follow_ms = needed_ms.zip(standing.follower_since).and_then(|(needed_ms, since)| {
        let left_ms = since.saturating_add(needed_ms).saturating_sub(comment.now_ms);
        (needed_ms > 0 && left_ms > 0).then_some(left_ms)
    });
    let follow = follow_ms.map(|wait_ms| RoomRefusal::FollowersOnly { wait_ms: Some(wait_ms) });
    let slow = remaining(rules.slow_ms, comment.since_last_ms);
    let slow = slow.map(|wait_ms| RoomRefusal::Slow { wait_ms });
    let said = remaining(rules.unique_ms, comment.since_said_ms);
    let said = said.map(|wait_ms| RoomRefusal::SaidBefore { wait_ms });
    longest([follow, slow, said]).map_or(Ok(()), Err)
}

/// Returns the refusal with the longest wait; of equal ones the first.
pub fn longest<const N: usize>(refusals: [Option<RoomRefusal>; N]) -> Option<RoomRefusal> {
    // The maximum of equal ones is the last.
    refusals.into_iter().rev().flatten().max_by_key(RoomRefusal::wait_ms)
}

/// Returns what is left of a time; `None` if it is over, or there is no rule.
fn remaining(needed_ms: Option<u64>, passed_ms: Option<u64>) -> Option<u64> {
    let left_ms = needed_ms?.saturating_sub(passed_ms?);
    (left_ms > 0).then_some(left_ms)
}

#[cfg(test)]
mod tests;
