//! Taking changes back, and telling what a change would do.

use serde::{Deserialize, Serialize};

use super::{DeleteOfUserRequest, UserRef};
#[cfg(feature = "schema")]
use crate::protocol::text::MAX_NOTE_CHARS;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{NodeId, StreamId};

/// `POST /v1/undo`: takes back what an audit entry records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "The audit entry of the act to take back."))]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    pub audit_id: u64,
    /// For operators: only the audit log has it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NOTE_CHARS)))]
    pub note: Option<String>,
}

/// `POST /v1/preview`: a change that is not made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum PreviewRequest {
    Ban {
        users: Vec<UserRef>,
        /// Absent: on all streams.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream_id: Option<StreamId>,
        /// Absent: without an end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
        /// As in a [`BatchRequest`](super::BatchRequest).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disconnect_after_ms: Option<u64>,
        /// As in a [`BatchRequest`](super::BatchRequest).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        include_moderators: bool,
    },
    Timeout {
        users: Vec<UserRef>,
        /// Absent: on all streams.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream_id: Option<StreamId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
        /// As in a [`BatchRequest`](super::BatchRequest).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        include_moderators: bool,
    },
    Kick {
        users: Vec<UserRef>,
        /// As in a [`BatchRequest`](super::BatchRequest).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        include_moderators: bool,
    },
    Shadow {
        users: Vec<UserRef>,
        /// Absent: on all streams.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream_id: Option<StreamId>,
        /// Absent: without an end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    Throttle {
        stream_id: StreamId,
        sample_rate: Option<SampleRate>,
        #[serde(default)]
        for_ms: Option<u64>,
    },
    DeleteOfUser(DeleteOfUserRequest),
    Announce {
        stream_id: StreamId,
    },
    /// Without a node, that of the node that is asked.
    Drain {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
    },
}

/// The effect that a change would have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Preview {
    /// A sentence for the person who decides.
    pub effect: String,
    /// Users it would apply to.
    pub users: u64,
    /// Of them, those that such a sanction applies to already.
    #[serde(default)]
    pub already: u64,
    /// Users named that are connected as moderators or more. Of several users they are left out,
    /// and not counted in the other figures, unless they are included.
    #[serde(default)]
    pub moderators: u64,
    /// Their connections, or those that would be closed.
    pub connections: u64,
    /// The nodes that hold these connections.
    #[serde(default)]
    pub nodes: Vec<NodeId>,
    /// Viewers of the stream or node.
    #[serde(default)]
    pub viewers: u64,
    /// Comments that would be deleted.
    #[serde(default)]
    pub comments: u64,
    /// Users that cannot be found, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}
