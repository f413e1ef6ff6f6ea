//! The types of the admin socket: HTTP/1.1 with JSON over a Unix socket. Live data is sent as JSON
//! lines.
//!
//! Counters never decrease while a node runs. Each node computes its own rates; those of a cluster
//! are their sums. Differences of sums over nodes are wrong as soon as a node comes or goes.

mod actor_name;
mod alerts;
pub mod audit_action;
mod batch;
mod breaker;
mod bus;
mod cluster;
mod dead_letters;
pub mod dependency;
mod doctor;
mod egress;
mod grants;
mod lag;
mod moderation;
mod node;
mod problem;
mod process;
mod rates;
mod requests;
mod review;
mod room;
mod rules;
mod session;
mod shadows;
mod stages;
mod status;
mod stores;
mod talkers;
mod text_trial;
mod timeline;
mod tokens;
mod transport_kind;
mod undo;
mod users;
mod views;

use serde::{Deserialize, Serialize};

pub use self::actor_name::{names_person, person_name, short_actor};
pub use self::alerts::{
    AckRequest, Alert, AlertAck, AlertThresholds, EventItem, EventKind, Health, Severity,
};
pub use self::batch::{
    BatchChange, BatchRequest, ClearRoomRequest, DeleteOfUserRequest, MAX_CHANGES, MAX_CLEARED,
    MAX_DISCONNECT_AFTER_MS,
};
pub use self::breaker::{BreakerState, BreakerStatus};
pub use self::bus::{BusNode, BusNodeState, BusShard};
pub use self::cluster::ClusterColour;
pub use self::dead_letters::{
    DeadLetterFailure, DeadLetterItem, DeadLetterState, DeadLettersOutcome, DeadLettersRequest,
    MAX_DEAD_LETTERS,
};
pub use self::doctor::{CheckResult, DoctorFinding};
pub use self::egress::{Egress, EgressLimit, StreamEgress};
pub use self::grants::{GRANTED_ROLES, Grant, GrantRequest, RevokeRequest};
pub use self::lag::{ConsumerLag, GroupLag, LagState};
pub use self::moderation::{DecidedCount, DecisionCounts, MAX_DECIDED, RecentModeration};
pub use self::node::{NodeStatus, SilentNode, drain_effect, viewers_of};
pub use self::problem::{Problem, ProblemCode};
pub use self::process::{NodeRates, ProcessStatus};
pub use self::rates::{CounterRates, LATE_AFTER_MS, per_second};
pub use self::requests::{
    AcknowledgeRequest, AnnounceRequest, ClaimRequest, ClosePollRequest, DeleteRequest,
    DirectRequest, DrainRequest, OpenPollRequest, PinRequest, RestoreRequest, ReviewRequest,
    SanctionRequest, ThrottleRequest, UnbanRequest, UnpinRequest, UserRef, UserRequest,
};
pub use self::review::{
    AUTHOR_BANNED, EXPIRED, ModerationDecision, Offender, REOPENED, ReviewEvidence, STREAM_NOT_LIVE,
};
pub use self::room::Room;
pub use self::rules::{RuleLevel, RulesInForce};
pub use self::session::{
    ADMIN_AUDIENCE, AdminClaims, AdminRole, Session, listed_role, needed_role, role_to_undo,
};
pub use self::shadows::{Shadow, ShadowRequest};
pub use self::stages::{FullestQueue, StageName, StageReport, StageStatus};
pub use self::status::{
    Counters, ModerationCounts, NodeReport, Status, StreamRates, StreamStatus, TopSnapshot,
    WorkerStatus,
};
pub use self::stores::{PoolUse, StoreStatus};
pub use self::talkers::{MOST_COUNTED_USERS, RefusedUser, SameText, Talker, Talkers};
pub use self::text_trial::{
    BrokenRule, TextTrial, TextTrialRequest, ThresholdShift, TriedScore, TriedStage,
};
pub use self::timeline::{TimelineAnswer, TimelineSeries};
pub use self::tokens::{
    AdminTokenRequest, InvalidTokens, MAX_ADMIN_TOKEN_MS, MAX_TOKENS, TokenRequest, TokenUser,
    UserTokensRequest,
};
pub use self::transport_kind::{TransportCounts, TransportKind, UnknownTransport};
pub use self::undo::{Preview, PreviewRequest, UndoRequest};
pub use self::users::{
    ConnectionInfo, Sanction, SanctionKind, UserComment, UserDetail, UserReputation, Who,
    highest_role,
};
pub use self::views::{
    ForgetViewRequest, MAX_SAVED_VIEWS, MAX_VIEW_BYTES, MAX_VIEW_NAME, SaveViewRequest, SavedView,
    TableSettings, ViewSettings,
};
use super::comment::Deletion;
use super::events::Decision;
use super::stream::Stream;
use super::throttle::SampleRate;
use super::{Badges, CommentId, NodeId, SequencedComment, StreamId, UserId};

/// The header with the name of the operator a client acts for. The audit log records it beside the
/// user that the operating system reports for the socket.
pub const ACTOR_HEADER: &str = "x-lc-actor";

/// An answer for the whole cluster. `unreachable` lists the nodes that are missing from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
}

/// `GET /v1/tail/{stream}`: one line per comment, decision or restoration on a stream, before
/// sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TailItem {
    Comment(TailComment),
    Moderated {
        comment_id: CommentId,
        user_id: UserId,
        decision: Decision,
        reason: String,
        decided_by: String,
        timestamp: u64,
    },
    /// A person took back the deletion of a comment.
    Restored {
        comment_id: CommentId,
        user_id: UserId,
        restored_by: String,
        timestamp: u64,
    },
    /// Viewers are shown another share of the comments from now on. The first one is sent at once,
    /// unless they are shown all.
    Throttle {
        sample_rate: SampleRate,
        /// An operator fixed the rate.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fixed: bool,
        timestamp: u64,
    },
    /// The reader was too slow, so this many items were skipped.
    Missed {
        items: u64,
    },
}

/// A comment with what moderators are told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TailComment {
    #[serde(flatten)]
    pub comment: SequencedComment,
    /// Only its author is shown it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

impl From<SequencedComment> for TailComment {
    /// Returns a comment that everybody is shown.
    fn from(comment: SequencedComment) -> Self {
        Self { comment, shadow: false }
    }
}

/// `GET /v1/history/{stream}?before=&limit=` and `GET /api/streams/{id}/comments`: newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A page of history, newest first."))]
pub struct HistoryPage {
    pub comments: Vec<SequencedComment>,
    /// The `before` parameter of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<CommentId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tokens {
    pub tokens: Vec<String>,
}

/// The answer to every request that changes something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// The audit log entry that records the change.
    pub audit_id: u64,
    /// The user that the change applies to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The latest name of that user, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Number of connections that were closed or written to. Absent where a change reaches viewers
    /// through the stream, and their number is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// The stream that a ban or timeout holds on, or was lifted on. Absent if that is all streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamId>,
    /// The ban or timeout that was in force before and is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Sanction>,
    /// When the ban or timeout ends, in milliseconds since the Unix epoch. Absent for one that does
    /// not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Changes that were made as one, or taken back as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<u64>,
    /// The state now that a change was taken back, as a clause: `stream 1 shows 25% again`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// The parts of the request that were not carried out, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The stream after the change, if one was created or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// The poll that was opened or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_id: Option<u64>,
    /// The node that was told to drain, or to accept viewers again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Whether a report of that node has shown the change. Absent if it is the node that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<bool>,
    /// True if a message waits for its user, who is not connected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// The texts of the losses that are acknowledged: those that were shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    /// Nodes that cannot write that their losses ended, and show them again after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwritten: Vec<NodeId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
    pub elapsed_us: u64,
}

/// A comment that waits for review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReviewItem {
    pub comment_id: CommentId,
    pub stream_id: StreamId,
    pub user_id: UserId,
    pub name: String,
    pub message: String,
    pub reason: String,
    /// Milliseconds since the Unix epoch.
    pub flagged_at: u64,
    /// True if the comment is hidden until it is approved.
    pub held: bool,
    /// True if nobody but the sender sees the comment, or would once it is approved: the sender is
    /// shadow-banned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadowed: bool,
    /// Those of the author when the comment was accepted; none for comments of earlier versions.
    #[serde(default, skip_serializing_if = "Badges::is_empty")]
    pub badges: Badges,
    /// The comment that it answers, if it is a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<CommentId>,
    /// The evidence that it was flagged by.
    #[serde(flatten)]
    pub evidence: ReviewEvidence,
    /// The actor that looks at the comment; nobody else may decide it meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
    /// When the claim runs out, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_expires_at: Option<u64>,
    /// True if the actor that asked has the claim.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed_by_you: bool,
    /// Other comments in the queue that are the same to a reader, at most 100.
    #[serde(default)]
    pub alike: u64,
}

/// `GET /v1/audit?limit=`: newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    pub audit_id: u64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub actor: String,
    /// The action, such as `ban`, `delete` or `throttle`.
    pub action: String,
    /// The user, stream or comment that was changed.
    pub target: String,
    /// The body of the request.
    pub detail: serde_json::Value,
    /// The entry that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The entry that has taken this one back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<u64>,
}

impl AuditEntry {
    /// Returns whether it set the share of a stream, or took such a change back.
    pub fn sets_share_of(&self, stream_id: StreamId) -> bool {
        let undoes_one = self.undoes.is_some() && self.detail["action"] == audit_action::THROTTLE;
        let sets_one = self.action == audit_action::THROTTLE || undoes_one;
        sets_one && self.target == format!("stream {stream_id}")
    }
}
