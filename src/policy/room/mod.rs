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

/// Returns whether the role is exempt from the rules of rooms.
pub fn is_exempt(role: Role) -> bool {
    role.is_staff()
}

/// Checks a comment against the rules of its room.
///
/// # Errors
/// The first rule that it breaks: those that no wait helps against come first, so that nobody waits
/// in vain.
pub fn check(rules: &RoomRules, comment: &RoomComment<'_>) -> Result<(), RoomRefusal> {
    if is_exempt(comment.role) || rules.is_open() {
        return Ok(());
    }
    let standing = comment.standing;
    if rules.subscribers_only && !standing.subscriber {
        return Err(RoomRefusal::SubscribersOnly);
    }
    if let Some(needed_ms) = rules.followers_ms.filter(|_| !standing.subscriber) {
        let wait_ms = standing.follower_since.map(|since| match needed_ms {
            0 => 0,
            _ => since.saturating_add(needed_ms).saturating_sub(comment.now_ms),
        });
        if wait_ms != Some(0) {
            return Err(RoomRefusal::FollowersOnly { wait_ms });
        }
    }
    if rules.emotes_only && !(comment.text.is_emotes_only)() {
        return Err(RoomRefusal::EmotesOnly);
    }
    if rules.no_links && (comment.text.has_link)() {
        return Err(RoomRefusal::Links);
    }
    if let Some(wait_ms) = remaining(rules.slow_ms, comment.since_last_ms) {
        return Err(RoomRefusal::Slow { wait_ms });
    }
    if let Some(wait_ms) = remaining(rules.unique_ms, comment.since_said_ms) {
        return Err(RoomRefusal::SaidBefore { wait_ms });
    }
    Ok(())
}

/// Returns what is left of a time; `None` if it is over, or there is no rule.
fn remaining(needed_ms: Option<u64>, passed_ms: Option<u64>) -> Option<u64> {
    let left_ms = needed_ms?.saturating_sub(passed_ms?);
    (left_ms > 0).then_some(left_ms)
}

#[cfg(test)]
mod tests;
