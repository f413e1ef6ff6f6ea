//! Reactions over HTTP, on their way to the window that adds them up, and the limits of votes.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::user_rate::UserRate;
use crate::daemon::base::config::ReactionsConfig;
use crate::daemon::base::handoff::ReactionCounts;
use crate::daemon::stages::delivery::{VOTES_PER_SECOND, too_many, unknown_reaction};
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::{ErrorCode, StreamId, UserId};

/// Checks reactions and passes them on. A user may send as many of them, and as many votes, per
/// second to a node over HTTP as over one WebSocket.
#[derive(Debug)]
pub(crate) struct ReactionDoor {
    kinds: Vec<String>,
    reports: mpsc::Sender<Vec<ReactionCounts>>,
    reactions: UserRate,
    votes: UserRate,
}

impl ReactionDoor {
    pub(super) fn new(
        config: &ReactionsConfig,
        reports: mpsc::Sender<Vec<ReactionCounts>>,
    ) -> Self {
        let per_second = |limit| UserRate::new(limit, Duration::from_secs(1));
        Self {
            kinds: config.kinds.clone(),
            reports,
            reactions: per_second(config.per_second),
            votes: per_second(VOTES_PER_SECOND),
        }
    }

    /// Counts a reaction of a user.
    ///
    /// # Errors
    /// `unknown_reaction`, `rate_limited`, `overloaded` while the window is behind, or
    /// `shutting_down`.
    pub(super) fn react(
        &self,
        stream_id: StreamId,
        user_id: UserId,
        reaction: &str,
        now_ms: u64,
    ) -> Result<(), ErrorBody> {
        let kind = self.kinds.iter().position(|kind| kind == reaction);
        let kind = kind.ok_or_else(|| unknown_reaction(self.kinds.iter().map(String::as_str)))?;
        self.reactions.take(user_id, now_ms).map_err(|_| too_many("reactions"))?;
        let counts = vec![(kind as u16, 1)];
        let refused = match self.reports.try_send(vec![ReactionCounts { stream_id, counts }]) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(_)) => {
                let text = "more reactions are waiting than allowed; send it again";
                ErrorBody::new(ErrorCode::Overloaded, text)
            }
            Err(TrySendError::Closed(_)) => {
                ErrorBody::new(ErrorCode::ShuttingDown, "the node takes no more reactions")
            }
        };
        Err(refused.retry_after_ms(RETRY_AFTER_MS))
    }

    /// Takes one of the votes that a user may send in this second.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn admit(&self, user_id: UserId, now_ms: u64) -> Result<(), ErrorBody> {
        self.votes.take(user_id, now_ms).map_err(|_| too_many("votes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactions_are_checked_limited_and_counted() {
        let (reports, mut window) = mpsc::channel(2);
        let config = ReactionsConfig { per_second: 2, ..ReactionsConfig::default() };
        let door = ReactionDoor::new(&config, reports);
        let react = |user, reaction, now_ms| {
            let result = door.react(StreamId(5), UserId(user), reaction, now_ms);
            result.map_err(|error| error.code)
        };
        assert_eq!(react(1, "nuke", 0), Err(ErrorCode::UnknownReaction));
        assert_eq!(react(1, "fire", 0), Ok(()));
        assert_eq!(react(1, "fire", 999), Ok(()));
        assert_eq!(react(1, "fire", 999), Err(ErrorCode::RateLimited));
        assert_eq!(react(2, "fire", 999), Err(ErrorCode::Overloaded), "the window is behind");
        let fire = config.kinds.iter().position(|kind| kind == "fire").unwrap() as u16;
        let counted = ReactionCounts { stream_id: StreamId(5), counts: vec![(fire, 1)] };
        assert_eq!(window.try_recv().unwrap(), [counted]);
        for _ in 0..5 {
            assert_eq!(door.admit(UserId(1), 999), Ok(()), "votes have a limit of their own");
        }
        assert_eq!(door.admit(UserId(1), 999).unwrap_err().message, "too many votes");
        assert_eq!(react(1, "fire", 1000), Ok(()), "a new second");
        drop(window);
        assert_eq!(react(2, "fire", 1000), Err(ErrorCode::ShuttingDown));
    }
}
