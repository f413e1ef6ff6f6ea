//! The limits on what a viewer sends besides comments. Those over HTTP are counted by the gateway.

use crate::protocol::ErrorCode;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};

/// Votes that a viewer may send per second, whether or not they count.
pub const VOTES_PER_SECOND: u32 = 5;

/// The reactions and votes of a viewer in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ViewerTurns {
    second: u64,
    reactions: u32,
    votes: u32,
}

impl ViewerTurns {
    /// Returns whether nothing was sent since this was made.
    pub(super) fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// Takes one of the reactions that may be sent in this second; a limit of 0 means none.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn take_reaction(&mut self, second: u64, per_second: u32) -> Result<(), ErrorBody> {
        self.begin(second);
        if per_second != 0 && self.reactions >= per_second {
            return Err(too_many("reactions"));
        }
        self.reactions = self.reactions.saturating_add(1);
        Ok(())
    }

    /// Takes one of the votes that may be sent in this second.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn take_vote(&mut self, second: u64) -> Result<(), ErrorBody> {
        self.begin(second);
        if self.votes >= VOTES_PER_SECOND {
            return Err(too_many("votes"));
        }
        self.votes += 1;
        Ok(())
    }

    fn begin(&mut self, second: u64) {
        if self.second != second {
            *self = Self { second, ..Self::default() };
        }
    }
}

/// Returns the error of a viewer that has no turn left in this second; `what` is a plural.
pub fn too_many(what: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::RateLimited, format!("too many {what}"))
        .retry_after_ms(RETRY_AFTER_MS)
}

/// Returns the error of a reaction that is none of these.
pub fn unknown_reaction<'a>(kinds: impl Iterator<Item = &'a str>) -> ErrorBody {
    let mut names: Vec<_> = kinds.collect();
    names.sort_unstable();
    let text = format!("no such reaction; there are {}", names.join(", "));
    ErrorBody::new(ErrorCode::UnknownReaction, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_and_reactions_have_limits_of_their_own() {
        let mut turns = ViewerTurns::default();
        assert!(turns.is_unused());
        let text = |result: Result<(), ErrorBody>| result.unwrap_err().message;
        assert_eq!(turns.take_reaction(7, 1), Ok(()));
        assert_eq!(text(turns.take_reaction(7, 1)), "too many reactions");
        assert_eq!(turns.take_reaction(7, 0), Ok(()), "no limit");
        for _ in 0..VOTES_PER_SECOND {
            assert_eq!(turns.take_vote(7), Ok(()));
        }
        let refused = turns.take_vote(7).unwrap_err();
        assert_eq!((refused.code, &*refused.message), (ErrorCode::RateLimited, "too many votes"));
        assert_eq!(refused.retry_after_ms, Some(RETRY_AFTER_MS));
        assert_eq!(turns.take_vote(8), Ok(()), "a new second");
        assert_eq!(turns.take_reaction(8, 1), Ok(()));
        assert!(!turns.is_unused());
    }
}
