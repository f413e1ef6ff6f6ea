//! The bodies of the requests that change something.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::protocol::room_poll::{
    LONGEST_POLL_MS, MAX_OPTION_CHARS, MAX_QUESTION_CHARS, OPTIONS, SHORTEST_POLL_MS,
};
#[cfg(feature = "schema")]
use crate::protocol::schema::TEXT;
#[cfg(feature = "schema")]
use crate::protocol::text::MAX_NOTE_CHARS;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, NodeId, StreamId};

/// A user as given by an operator: an id such as `42`, or the name the user last connected or
/// commented with. `id:42` is always the id, and `name:42` always the name. Without a prefix,
/// digits that are the id of one user and the name of another are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct UserRef(pub String);

/// `POST /v1/ban`, `/v1/timeout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SanctionRequest {
    pub user: UserRef,
    /// Without a stream, it holds on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamId>,
    /// Shown to the user.
    #[serde(default)]
    pub reason: Option<String>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
    /// A ban without a duration is permanent. A timeout must have one, from 1 s to 30 d.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

/// `POST /v1/unban`: lifts the ban and the timeout on a stream, or those on all streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnbanRequest {
    pub user: UserRef,
    /// Without a stream, those that hold on all. Those on single streams stay then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamId>,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// `POST /v1/kick`, `/v1/unshadow`, `/v1/forgive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    pub user: UserRef,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// `POST /v1/dm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A message to a user."))]
#[serde(deny_unknown_fields)]
pub struct DirectRequest {
    pub user: UserRef,
    /// 1 to 500 characters.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = MAX_NOTE_CHARS), regex(pattern = TEXT))
    )]
    pub message: String,
}

/// `POST /v1/announce`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnounceRequest {
    pub stream_id: StreamId,
    pub message: String,
}

/// `POST /v1/delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A comment."))]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    pub comment_id: CommentId,
    /// Shown to viewers: one word of `a-z`, `0-9` and `_`, such as `spam` or `off_topic`.
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

/// `POST /v1/streams/{id}/pin`: pins a comment of the stream, in place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A comment to pin."))]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    pub comment_id: CommentId,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// `POST /v1/streams/{id}/unpin`: pins no comment of the stream any longer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "Has no field but a note."))]
#[serde(deny_unknown_fields)]
pub struct UnpinRequest {
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// `POST /v1/streams/{id}/polls`: opens a poll on the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A poll."))]
#[serde(deny_unknown_fields)]
pub struct OpenPollRequest {
    /// 1 to 200 characters.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = MAX_QUESTION_CHARS), regex(pattern = TEXT))
    )]
    pub question: String,
    /// 2 to 10 different texts of 1 to 80 characters.
    #[cfg_attr(
        feature = "schema",
        schemars(
            length(min = *OPTIONS.start(), max = *OPTIONS.end()),
            inner(length(min = 1, max = MAX_OPTION_CHARS), regex(pattern = TEXT)),
            extend("uniqueItems" = true)
        )
    )]
    pub options: Vec<String>,
    /// From 10 s to 1 d.
    #[cfg_attr(feature = "schema", schemars(range(min = SHORTEST_POLL_MS, max = LONGEST_POLL_MS)))]
    pub duration_ms: u64,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// `POST /v1/streams/{id}/polls/close`: closes the open poll before its time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "Has no field but a note."))]
#[serde(deny_unknown_fields)]
pub struct ClosePollRequest {
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// `POST /v1/mod/restore`: takes back the deletion of a comment, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    pub comment_id: CommentId,
    /// For operators: viewers are not shown it.
    #[serde(default)]
    pub note: Option<String>,
}

/// `POST /v1/throttle`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleRequest {
    pub stream_id: StreamId,
    /// The rate to set; if absent, the throttle sets the rate again.
    #[serde(default)]
    pub sample_rate: Option<SampleRate>,
    /// The throttle sets the rate again after this time, from 1 s to 30 d; without it, never by
    /// itself. Only with a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// `POST /v1/drain`: a node asks its viewers to reconnect to other nodes and refuses new ones;
/// `undo` accepts viewers again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Absent: the node that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    #[serde(default)]
    pub undo: bool,
}

/// `POST /v1/acknowledge`: ends the losses of a kind that the nodes show now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// A [`ProblemCode`](super::ProblemCode) of a loss.
    pub problem: String,
}

/// `POST /v1/mod/approve`, `/v1/mod/reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A comment that waits for review."))]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    pub comment_id: CommentId,
    /// Shown to viewers if a visible comment is rejected: one word, as for a deletion.
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

/// `POST /v1/mod/claim`: claims a comment of the review queue for a minute, or renews the claim,
/// and answers the `ReviewItem`. Claims are not in the audit log: they change nothing that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    pub comment_id: CommentId,
    /// Ends the claim instead.
    #[serde(default)]
    pub release: bool,
}
