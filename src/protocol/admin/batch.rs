//! Several changes as one act, with one undo.

use serde::{Deserialize, Serialize};

use super::{DeleteRequest, ReviewRequest, SanctionRequest, UnbanRequest, UserRef, UserRequest};
use crate::protocol::StreamId;
#[cfg(feature = "schema")]
use crate::protocol::text::MAX_NOTE_CHARS;

/// The most changes of one request.
pub const MAX_CHANGES: usize = 100;
/// The longest time for which connections of banned users stay open: one minute.
pub const MAX_DISCONNECT_AFTER_MS: u64 = 60_000;

/// `POST /v1/batch`. Each change has its own audit entry. An entry for all of them follows, which
/// one undo takes back; a single change needs none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// 1 to [`MAX_CHANGES`].
    pub changes: Vec<BatchChange>,
    /// Connections of users that are banned stay open this long, so that an undo in time closes
    /// none. Their comments are refused at once, and one that comments is closed. At most
    /// [`MAX_DISCONNECT_AFTER_MS`]; 0 if absent.
    #[serde(default)]
    pub disconnect_after_ms: Option<u64>,
    /// Bans, timeouts and kicks also reach users that are connected as moderators, broadcasters or
    /// admins. Otherwise a batch of several changes leaves them out and names them; a single change
    /// reaches the user that it names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_moderators: bool,
}

/// A change of a batch, with the body of the request of that name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum BatchChange {
    Ban(SanctionRequest),
    Timeout(SanctionRequest),
    Unban(UnbanRequest),
    Kick(UserRequest),
    Delete(DeleteRequest),
    Approve(ReviewRequest),
    Reject(ReviewRequest),
}

/// `POST /v1/delete_of_user`: deletes a user's latest comments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteOfUserRequest {
    pub user: UserRef,
    /// The comments of this time up to now, from 1 s to 1 d.
    pub last_ms: u64,
    /// Only those on this stream.
    #[serde(default)]
    pub stream_id: Option<StreamId>,
    /// Shown to viewers: one word, as for a single deletion.
    #[serde(default)]
    pub reason: Option<String>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// `POST /v1/streams/{id}/room/clear`: deletes the latest comments of a room, whoever wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(description = "The latest comments of a room, whoever wrote them.")
)]
#[serde(deny_unknown_fields)]
pub struct ClearRoomRequest {
    /// The comments of this time up to now, from 1 s to 1 d.
    #[cfg_attr(feature = "schema", schemars(range(min = 1_000, max = 86_400_000)))]
    pub last_ms: u64,
    /// Shown to viewers: one word, as for a single deletion.
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schemars(schema_with = "crate::protocol::schema::optional_public_word")
    )]
    pub reason: Option<String>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// The most comments that one request to clear a room deletes.
pub const MAX_CLEARED: usize = 1_000;
