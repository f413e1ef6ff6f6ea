//! The bodies of the requests that change something.

use serde::{Deserialize, Serialize};

use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, NodeId, StreamId};

/// A user as given by an operator: an id such as `42`, or the name the user last connected or
/// commented with. `id:42` is always the id, and `name:42` always the name. Without a prefix,
/// digits that are the id of one user and the name of another are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserRef(pub String);

/// `POST /v1/ban`, `/v1/timeout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SanctionRequest {
    pub user: UserRef,
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

/// `POST /v1/unban` (lifts bans and timeouts), `/v1/kick`.
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
#[serde(deny_unknown_fields)]
pub struct DirectRequest {
    pub user: UserRef,
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
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    pub comment_id: CommentId,
    /// Shown to viewers: one word of `a-z`, `0-9` and `_`, such as `spam` or `off_topic`.
    #[serde(default)]
    pub reason: Option<String>,
    /// For operators: only the audit log has it.
    #[serde(default)]
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
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    pub comment_id: CommentId,
    /// Shown to viewers if a visible comment is rejected: one word, as for a deletion.
    #[serde(default)]
    pub reason: Option<String>,
    /// For operators: only the audit log has it.
    #[serde(default)]
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
