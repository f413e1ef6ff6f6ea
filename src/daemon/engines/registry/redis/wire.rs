//! The messages that nodes publish to each other, and their encoding.
//!
//! The names of fields and variants are part of the wire format: nodes of two releases run side by
//! side during an upgrade.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::daemon::engines::registry::NodeCommand;

/// A command on its way to a node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CommandRequest {
    pub(super) id: RequestId,
    /// The channel on which the sender receives the reply.
    #[serde(rename = "answer_to")]
    pub(super) reply_channel: String,
    pub(super) command: NodeCommand,
}

/// Unique over all nodes and their runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct RequestId {
    #[serde(rename = "asker")]
    pub(super) sender_run: u64,
    pub(super) number: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CommandReply {
    /// The number of the request.
    pub(super) number: u64,
    pub(super) outcome: CommandOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CommandOutcome {
    /// The command was executed and touched this many connections.
    #[serde(rename = "Obeyed")]
    Executed(u64),
    /// The node executes as many commands as it can, or is not assembled yet.
    Refused,
}

/// Encodes with the names of fields.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("types of numbers, texts and lists are always encoded")
}

/// Returns `None` for a message that this version does not understand.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    rmp_serde::from_slice(payload)
        .inspect_err(|error| debug!(%error, "message of another node not understood"))
        .ok()
}
