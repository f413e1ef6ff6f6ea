//! The acts of a moderator of a stream, as HTTP and the viewer protocol carry them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::admin::{
    ClearRoomRequest, ClosePollRequest, DeleteRequest, DirectRequest, OpenPollRequest, PinRequest,
    ReviewRequest, UndoRequest, UnpinRequest, UserComment, UserRef,
};
use super::ids::{CommentId, UserId};
use super::json;
#[cfg(feature = "schema")]
use super::text::MAX_NOTE_CHARS;

/// An act on a stream that is named beside it. Its JSON is an object with the name of the act and
/// its fields: `{"delete":{"comment_id":"…"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ModerationAct {
    /// Deletes a comment of the stream.
    Delete(DeleteRequest),
    /// Deletes the latest comments of a user on the stream.
    ClearUser(ClearUserRequest),
    /// Deletes the latest comments of the stream.
    ClearRoom(ClearRoomRequest),
    /// Stops a user from commenting. Without a duration, for the
    /// [shortest timeout](super::room::RoomSettings::shortest_timeout_ms) of the room.
    Timeout(SanctionActRequest),
    /// Bans a user.
    Ban(SanctionActRequest),
    /// Lifts bans and timeouts of a user.
    Unban(UnbanActRequest),
    /// Accepts a comment of the stream that waits for review.
    Approve(ReviewRequest),
    /// Rejects a comment of the stream that waits for review.
    Reject(ReviewRequest),
    /// Hides a comment of the stream from all but its author, or the new comments of a user on the
    /// stream.
    Shadow(ShadowActRequest),
    /// Takes that back.
    Unshadow(UnshadowActRequest),
    /// Pins a comment of the stream above its chat, in place of another.
    Pin(PinRequest),
    /// Pins none any longer.
    Unpin(UnpinRequest),
    /// Opens a poll on the stream.
    OpenPoll(OpenPollRequest),
    /// Closes the open poll before its time.
    ClosePoll(ClosePollRequest),
    /// Sends a message to a user, which is kept while the user is not connected.
    Message(DirectRequest),
    /// Takes back an act on the stream, or one about a user.
    Undo(UndoRequest),
}

impl ModerationAct {
    /// The names of all acts.
    pub const NAMES: [&str; 16] = [
        "delete",
        "clear_user",
        "clear_room",
        "timeout",
        "ban",
        "unban",
        "approve",
        "reject",
        "shadow",
        "unshadow",
        "pin",
        "unpin",
        "open_poll",
        "close_poll",
        "message",
        "undo",
    ];

    /// Returns the act of a name with these fields.
    ///
    /// # Errors
    /// The name is none of [`Self::NAMES`], or the fields are not those of the act.
    pub fn named(name: &str, fields: Value) -> Result<Self, serde_json::Error> {
        let act = [(name.to_owned(), fields)].into_iter().collect();
        json::from_value(Value::Object(act))
    }
}

/// The streams that a ban, timeout or unban of a moderator is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActScope {
    /// The stream that is named beside the act.
    Stream,
    /// All streams. Needs a role on all streams.
    Everywhere,
}

/// The fields of [`ModerationAct::Timeout`] and [`ModerationAct::Ban`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A user, where, and for how long."))]
#[serde(deny_unknown_fields)]
pub struct SanctionActRequest {
    pub user: UserRef,
    /// Absent: the streams of the moderator's role, which are all or this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ActScope>,
    /// Shown to the user.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub reason: Option<String>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
    /// Of a ban, from 1 s to 3650 d; without a duration it does not end. Of a timeout, from 1 s to
    /// 30 d.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1_000, max = 315_360_000_000_u64)))]
    pub duration_ms: Option<u64>,
}

/// The fields of [`ModerationAct::Unban`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A user, and where."))]
#[serde(deny_unknown_fields)]
pub struct UnbanActRequest {
    pub user: UserRef,
    /// Absent: all that keeps the user from the stream and that the moderator may lift. With a role
    /// on all streams these are the sanctions on all streams and on this one, otherwise the latter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ActScope>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// The latest comments of a user on a stream, for its moderators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserCommentList {
    pub user_id: UserId,
    /// The counts and comments are of this time up to now, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Comments the user wrote.
    pub said: u64,
    /// Comments of the user that were deleted, or hidden from others.
    pub removed: u64,
    /// The newest first.
    pub comments: Vec<UserComment>,
}

/// The fields of [`ModerationAct::ClearUser`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(description = "The latest comments of a user on the stream.")
)]
#[serde(deny_unknown_fields)]
pub struct ClearUserRequest {
    pub user: UserRef,
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

/// The fields of [`ModerationAct::Shadow`]: either a comment or a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "Either a comment or a user."))]
#[serde(deny_unknown_fields)]
pub struct ShadowActRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_id: Option<CommentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
    /// Of a user: from 1 s to 3650 d; without a duration it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1_000, max = 315_360_000_000_u64)))]
    pub duration_ms: Option<u64>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// The fields of [`ModerationAct::Unshadow`]: either a comment or a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "Either a comment or a user."))]
#[serde(deny_unknown_fields)]
pub struct UnshadowActRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_id: Option<CommentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_act_is_read_by_its_name() {
        let comment = json!({"comment_id": "2f5e1c80-c6e5-11f0-8000-0242ac120002"});
        let user = json!({"user": "id:42"});
        for name in ModerationAct::NAMES {
            let fields = match name {
                "delete" | "approve" | "reject" | "pin" => comment.clone(),
                "message" => json!({"user": "id:42", "message": "hello"}),
                "unpin" | "close_poll" => json!({"note": "over"}),
                "open_poll" => {
                    json!({"question": "Who?", "options": ["a", "b"], "duration_ms": 60_000})
                }
                "clear_user" => json!({"user": "id:42", "last_ms": 60_000}),
                "clear_room" => json!({"last_ms": 60_000}),
                "undo" => json!({"audit_id": 17}),
                _ => user.clone(),
            };
            let act = ModerationAct::named(name, fields.clone()).unwrap();
            let text = serde_json::to_string(&act).unwrap();
            assert!(text.starts_with(&format!("{{\"{name}\":{{")), "{text}");
            assert_eq!(serde_json::from_str::<ModerationAct>(&text).unwrap(), act);
            let mut more = fields;
            more["stream_id"] = json!("2");
            assert!(ModerationAct::named(name, more).is_err(), "{name} is about one stream");
        }
        assert!(ModerationAct::named("shout", user).is_err());
    }
}
