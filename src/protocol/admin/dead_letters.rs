//! Records that a consumer could not process.

use serde::{Deserialize, Serialize};

use crate::protocol::{CommentId, StreamId};

/// The most dead letters that one request requeues or acknowledges.
pub const MAX_DEAD_LETTERS: usize = 100;

/// The state of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterState {
    /// Nobody has dealt with it.
    Open,
    /// Its record was appended again.
    Requeued,
    /// An operator knows of it, and leaves it.
    Acknowledged,
}

impl DeadLetterState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Requeued => "requeued",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// `GET /v1/dead-letters?limit=&stream=`: newest first, among the newest 1000. A record that
/// several consumers could not process has one for each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeadLetterItem {
    /// Partition and offset in the topic of dead letters, such as `0-17`.
    pub id: String,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub state: DeadLetterState,
    /// The operator who dealt with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The consumer group that could not process the record.
    pub group: String,
    pub reason: String,
    /// The place of the record.
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    pub stream_id: StreamId,
    /// Size of the record's payload, as far as it is kept.
    pub bytes: u64,
    /// Why it cannot be requeued; absent if it can. An upgrade may change that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_requeueable: Option<String>,
    /// The comment in it, if this version can read the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_id: Option<CommentId>,
    /// The text of that comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `POST /v1/dead-letters/requeue` and `/v1/dead-letters/ack`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersRequest {
    /// At most [`MAX_DEAD_LETTERS`]; empty with `all`.
    #[serde(default)]
    pub ids: Vec<String>,
    /// The oldest open ones, at most [`MAX_DEAD_LETTERS`].
    #[serde(default)]
    pub all: bool,
    /// For operators: only the audit log has it.
    #[serde(default)]
    pub note: Option<String>,
}

/// The answer to [`DeadLettersRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeadLettersOutcome {
    /// The audit entries: one per record that was requeued, one for all that were acknowledged.
    pub audit_ids: Vec<u64>,
    /// The dead letters that are dealt with now, those that were before included.
    pub done: Vec<String>,
    /// Those that could not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<DeadLetterFailure>,
    /// Open dead letters that remain and that were not tried.
    pub left: u64,
}

/// A dead letter that could not be requeued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeadLetterFailure {
    pub id: String,
    pub why: String,
}
