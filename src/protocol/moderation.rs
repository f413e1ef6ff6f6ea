//! The acts of a moderator of a stream, as HTTP and the viewer protocol carry them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::admin::{
    ClearRoomRequest, DeleteRequest, ReviewRequest, SanctionRequest, UndoRequest, UserRef,
    UserRequest,
};
use super::ids::CommentId;

/// An act on a stream that is named beside it. Its JSON is an object with the name of the act and
/// its fields: `{"delete":{"comment_id":"…"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModerationAct {
    /// Deletes a comment of the stream.
    Delete(DeleteRequest),
    /// Deletes the latest comments of a user on the stream.
    ClearUser(ClearUserRequest),
    /// Deletes the latest comments of the stream.
    ClearRoom(ClearRoomRequest),
    /// Stops a user from commenting, on all streams. Without a duration, for the
    /// [shortest timeout](super::room::RoomSettings::shortest_timeout_ms) of the room.
    Timeout(SanctionRequest),
    /// Bans a user from all streams.
    Ban(SanctionRequest),
    /// Lifts the bans and timeouts of a user.
    Unban(UserRequest),
    /// Accepts a comment of the stream that waits for review.
    Approve(ReviewRequest),
    /// Rejects a comment of the stream that waits for review.
    Reject(ReviewRequest),
    /// Hides a comment of the stream from all but its author, or the new comments of a user on the
    /// stream.
    Shadow(ShadowActRequest),
    /// Takes that back.
    Unshadow(UnshadowActRequest),
    /// Takes back an act on the stream, or one about a user.
    Undo(UndoRequest),
}

impl ModerationAct {
    /// The names of all acts.
    pub const NAMES: [&str; 11] = [
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
        "undo",
    ];

    /// Returns the act of a name with these fields.
    ///
    /// # Errors
    /// The name is none of [`Self::NAMES`], or the fields are not those of the act.
    pub fn named(name: &str, fields: Value) -> Result<Self, serde_json::Error> {
        let act = [(name.to_owned(), fields)].into_iter().collect();
        serde_json::from_value(Value::Object(act))
    }
}

/// The fields of [`ModerationAct::ClearUser`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearUserRequest {
    pub user: UserRef,
    /// The comments of this time up to now, from 1 s to 1 d.
    pub last_ms: u64,
    /// Shown to viewers: one word, as for a single deletion.
    #[serde(default)]
    pub reason: Option<String>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// The fields of [`ModerationAct::Shadow`]: either a comment or a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowActRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_id: Option<CommentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
    /// Of a user: from 1 s to 3650 d; without a duration it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// The fields of [`ModerationAct::Unshadow`]: either a comment or a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnshadowActRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_id: Option<CommentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
    /// For operators: only the audit log has it.
    #[serde(default)]
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
                "delete" | "approve" | "reject" => comment.clone(),
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
