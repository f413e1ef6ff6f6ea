//! The properties of a viewer by which frames differ, and comments that only some viewers are sent
//! because the others were shown them in an earlier epoch of the log.
//!
//! An append whose answer was lost with its log is repeated, under the same id, into the next one.
//! Viewers may have been shown the comment all the same, before they were told to reconnect.

use std::time::Duration;

use crate::protocol::comment::SequencedComment;
use crate::protocol::{StreamPosition, UserId};

/// Longer than senders repeat a comment that was not acknowledged: what concerns an earlier epoch
/// is kept for so long.
pub(crate) const EARLIER_KEPT_FOR: Duration = Duration::from_secs(20 * 60);

/// A viewer, as far as frames differ for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Audience {
    pub(crate) user: Option<UserId>,
    /// Its last position in an earlier epoch: everything up to there was sent to it. `None` for
    /// viewers that joined in this one.
    pub(crate) came_from: Option<StreamPosition>,
}

impl From<Option<UserId>> for Audience {
    fn from(user: Option<UserId>) -> Self {
        Self { user, came_from: None }
    }
}

/// A comment that was broadcast in an earlier epoch too.
#[derive(Debug, Clone)]
pub(crate) struct ShownBefore {
    pub(crate) comment: SequencedComment,
    /// Its place in that epoch.
    pub(crate) place: StreamPosition,
    /// Only its author is shown it.
    pub(crate) is_own: bool,
}

impl ShownBefore {
    /// Reports whether this viewer is to be sent the comment, because it was not before.
    pub(crate) fn is_for(&self, audience: Audience) -> bool {
        let was_sent =
            |from: StreamPosition| from.epoch == self.place.epoch && from.seq >= self.place.seq;
        !audience.came_from.is_some_and(was_sent)
            && (!self.is_own || audience.user == Some(self.comment.user_id))
    }
}
