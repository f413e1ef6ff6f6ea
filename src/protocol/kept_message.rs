//! Direct messages to a user, as they are kept until the user has them.

use serde::{Deserialize, Serialize};

use super::UserId;

/// The most messages of operators and moderators that are kept for a user, and the most of other
/// users: the newest.
pub const MAX_KEPT_MESSAGES: u64 = 50;
/// The most messages of one other user that are kept for a user: the newest.
pub const MAX_KEPT_OF_SENDER: u64 = 5;
/// The time for which a message is kept: 30 days, in milliseconds.
pub const KEPT_FOR_MS: u64 = 30 * 86_400_000;

/// A direct message that its user has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptMessage {
    /// Later messages have higher ones.
    pub message_id: u64,
    /// A name to show, not an account.
    pub from: String,
    /// The sender, if it is another user. Messages of operators and moderators have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_user: Option<UserId>,
    pub message: String,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_at: u64,
}
