//! Reactions over HTTP, on their way to the window that adds them up.

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::daemon::base::config::ReactionsConfig;
use crate::daemon::base::handoff::ReactionCounts;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::{ErrorCode, StreamId, UserId};

/// Checks reactions and passes them on. A user may send as many per second to a node over HTTP as
/// over one WebSocket.
#[derive(Debug)]
pub(crate) struct ReactionDoor {
    kinds: Vec<String>,
    /// 0 means no limit.
    per_second: u32,
    reports: mpsc::Sender<Vec<ReactionCounts>>,
    used: Mutex<UsedSecond>,
}

/// The reactions of each user in one second.
#[derive(Debug, Default)]
struct UsedSecond {
    second: u64,
    by_user: AHashMap<UserId, u32>,
}

impl ReactionDoor {
    pub(super) fn new(
        config: &ReactionsConfig,
        reports: mpsc::Sender<Vec<ReactionCounts>>,
    ) -> Self {
        let kinds = config.kinds.clone();
        Self { kinds, per_second: config.per_second, reports, used: Mutex::default() }
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
        let kind = self.kinds.iter().position(|kind| kind == reaction).ok_or_else(|| {
            let mut names: Vec<_> = self.kinds.iter().map(String::as_str).collect();
            names.sort_unstable();
            let text = format!("no such reaction; there are {}", names.join(", "));
            ErrorBody::new(ErrorCode::UnknownReaction, text)
        })?;
        if !self.take_turn(user_id, now_ms / 1000) {
            return Err(ErrorBody::new(ErrorCode::RateLimited, "too many reactions")
                .retry_after_ms(RETRY_AFTER_MS));
        }
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

    fn take_turn(&self, user_id: UserId, second: u64) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let mut used = self.used.lock();
        if used.second != second {
            *used = UsedSecond { second, by_user: AHashMap::new() };
        }
        let count = used.by_user.entry(user_id).or_default();
        *count += 1;
        *count <= self.per_second
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
        assert_eq!(react(1, "fire", 1000), Ok(()), "a new second");
        drop(window);
        assert_eq!(react(2, "fire", 1000), Err(ErrorCode::ShuttingDown));
    }
}
