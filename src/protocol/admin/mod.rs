//! The types of the admin socket: HTTP/1.1 and JSON over a Unix socket, live data as JSON lines.
//!
//! Counters only grow while a node lives; whoever shows rates takes the difference of two
//! snapshots, so a reader that misses one, or sees the daemon restart, is never wrong for long.

mod egress;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::egress::{Egress, EgressLimit, StreamEgress};
use super::comment::Deletion;
use super::events::Decision;
use super::stream::{ModerationMode, Stream, StreamState};
use super::throttle::SampleRate;
use super::{CommentId, NodeId, Role, SequencedComment, StreamId, UserId};

/// The header in which a client says on whose behalf it acts; the audit log keeps it beside the
/// operating system's word on who holds the other end of the socket.
pub const ACTOR_HEADER: &str = "x-lc-actor";

/// An answer for the whole cluster, with the nodes that did not contribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
}

/// `GET /v1/status`: is it well, in one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub node: NodeId,
    pub version: String,
    pub uptime_ms: u64,
    pub ready: bool,
    pub draining: bool,
    pub listen: String,
    pub data_dir: String,
    pub engines: BTreeMap<String, String>,
    pub connections: u64,
    pub live_streams: u64,
    pub breakers: Vec<BreakerStatus>,
    /// What an operator should look at; empty when all is well.
    pub warnings: Vec<String>,
}

/// `GET /v1/nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: NodeId,
    pub roles: Vec<String>,
    pub version: String,
    pub listen: String,
    pub uptime_ms: u64,
    pub connections: u64,
    pub max_connections: u64,
    pub draining: bool,
    #[serde(default)]
    pub egress: Egress,
}

/// `GET /v1/streams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    pub stream_id: StreamId,
    pub title: String,
    pub state: StreamState,
    pub anonymous: bool,
    pub moderation: ModerationMode,
    pub viewers: u64,
    /// Accepted comments a second, as the throttle measures it.
    pub comments_per_second: f64,
    pub sample_rate: SampleRate,
    /// 0 shows all; each level above shows less.
    pub throttle_level: u8,
    /// The rate an operator fixed; absent while the throttle decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_override: Option<SampleRate>,
    /// What is shown of `sample_rate` where a node is at its egress limit: the least of all nodes.
    #[serde(default = "egress::all", skip_serializing_if = "egress::is_all")]
    pub egress_share: SampleRate,
    /// Counters since the node started.
    pub received: u64,
    pub broadcast: u64,
    pub sampled_out: u64,
    /// Left out by nodes at their egress limit, added up over the nodes.
    #[serde(default)]
    pub egress_sampled_out: u64,
    pub deleted: u64,
    pub reactions: BTreeMap<String, u64>,
}

/// `GET /v1/workers`: one delivery worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    pub node: NodeId,
    pub worker: u32,
    pub connections: u64,
    /// Viewers whose socket does not take what is written.
    pub slow_viewers: u64,
    /// Share of wall time the worker was busy since it started, 0.0 to 1.0, in counters: divide the
    /// differences of two snapshots.
    pub busy_us: u64,
    pub wall_us: u64,
    pub frames: u64,
    pub delivered: u64,
    pub bytes_out: u64,
}

/// `GET /v1/lag`: how far a consumer is behind the end of its partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerLag {
    pub group: String,
    pub topic: String,
    pub partition: u32,
    pub position: u64,
    pub end: u64,
    pub lag: u64,
}

/// The state of the circuit breaker in front of one dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls fail at once.
    Open,
    /// One call is let through to see.
    HalfOpen,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatus {
    pub dependency: String,
    pub state: BreakerState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How long it has been in this state.
    pub since_ms: u64,
}

/// Counters of one node since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Comments that arrived, good or bad.
    pub received: u64,
    /// Comments that became durable.
    pub accepted: u64,
    /// Comments answered with an error, by code.
    pub refused: BTreeMap<String, u64>,
    /// Comments sent out by the broadcast stage, counted once each.
    pub broadcast: u64,
    pub sampled_out: u64,
    /// Comments of the broadcast that a node left out to keep within its egress limit, once a node.
    #[serde(default)]
    pub egress_sampled_out: u64,
    /// Comments written to viewers' sockets: one comment to a thousand viewers counts a thousand.
    pub delivered: u64,
    /// Comments skipped by slow viewers, counted per viewer.
    pub skipped: u64,
    pub deleted: u64,
    pub reactions: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connections_opened: u64,
    pub connections_closed: BTreeMap<String, u64>,
    /// Viewers that were not let in, by error code.
    #[serde(default)]
    pub connections_refused: BTreeMap<String, u64>,
}

/// Decisions of moderation since the node started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModerationCounts {
    pub checked: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub shadow_banned: u64,
    pub flagged: u64,
    /// By reason, of what was not accepted.
    pub reasons: BTreeMap<String, u64>,
    /// Comments waiting for a person.
    pub queued: u64,
}

/// What the broadcast stage of a node measures of one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamRates {
    pub stream_id: StreamId,
    /// Accepted comments a second, as the throttle measures it.
    pub comments_per_second: f64,
    pub sample_rate: SampleRate,
    /// 0 shows all; each level above shows less.
    pub throttle_level: u8,
    /// The rate an operator fixed; absent while the throttle decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_override: Option<SampleRate>,
    /// Counters since the node started.
    pub received: u64,
    pub broadcast: u64,
    pub sampled_out: u64,
    pub deleted: u64,
}

/// What a node tells the others of itself, about once a second: from these any node answers for the
/// whole cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Milliseconds since the Unix epoch, by the clock of the node that reports.
    pub taken_at: u64,
    pub node: NodeStatus,
    pub slow_viewers: u64,
    pub counters: Counters,
    pub moderation: ModerationCounts,
    /// Streams whose broadcast stage runs on this node.
    pub streams: Vec<StreamRates>,
    /// Streams that this node shows, or has shown, in part.
    #[serde(default)]
    pub egress: Vec<StreamEgress>,
    /// Delivery workers; a node of an earlier version reports none under this name.
    #[serde(default)]
    pub workers: Vec<WorkerStatus>,
    pub breakers: Vec<BreakerStatus>,
}

/// `GET /v1/top?interval_ms=1000`: a line each interval; all that `lc top` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopSnapshot {
    /// Milliseconds since the Unix epoch.
    pub taken_at: u64,
    pub node: NodeId,
    pub version: String,
    pub uptime_ms: u64,
    pub draining: bool,
    pub connections: u64,
    pub slow_viewers: u64,
    pub counters: Counters,
    pub streams: Vec<StreamStatus>,
    pub workers: Vec<WorkerStatus>,
    pub lag: Vec<ConsumerLag>,
    pub moderation: ModerationCounts,
    pub breakers: Vec<BreakerStatus>,
    pub nodes: Vec<NodeStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
}

/// `GET /v1/tail/{stream}`: a line for each thing that happens on a stream, before sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TailItem {
    Comment(SequencedComment),
    Moderated {
        comment_id: CommentId,
        user_id: UserId,
        decision: Decision,
        reason: String,
        decided_by: String,
        timestamp: u64,
    },
    /// The reader was too slow, and this many items were left out.
    Missed {
        items: u64,
    },
}

/// `GET /v1/history/{stream}?before=&limit=` and `GET /api/streams/{id}/comments`: newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    pub comments: Vec<SequencedComment>,
    /// Pass as `before` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<CommentId>,
}

/// A user as an operator names one: `42`, or the name they last connected or commented with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserRef(pub String);

/// A comment as an operator names one on a stream-less command line.
pub type Reason = Option<String>;

/// `POST /v1/ban`, `/v1/timeout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SanctionRequest {
    pub user: UserRef,
    #[serde(default)]
    pub reason: Reason,
    /// A ban without it is for good; a timeout must have one (1 s to 30 d).
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

/// `POST /v1/unban` (lifts bans and timeouts), `/v1/kick`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    pub user: UserRef,
    #[serde(default)]
    pub reason: Reason,
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
    #[serde(default)]
    pub reason: Reason,
}

/// `POST /v1/throttle`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleRequest {
    pub stream_id: StreamId,
    /// Absent gives the decision back to the throttle.
    #[serde(default)]
    pub sample_rate: Option<SampleRate>,
}

/// `POST /v1/drain`: tell viewers to go elsewhere and take no new ones; `undo` takes it back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    #[serde(default)]
    pub undo: bool,
}

/// `POST /v1/mod/approve`, `/v1/mod/reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    pub comment_id: CommentId,
    #[serde(default)]
    pub reason: Reason,
}

/// `POST /v1/tokens`: mints `count` tokens for users `user_id`, `user_id + 1`, …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    pub user_id: UserId,
    /// With more than one token, `name` is followed by the user id.
    pub name: String,
    #[serde(default)]
    pub role: Role,
    #[serde(default = "day_ms")]
    pub ttl_ms: u64,
    /// 0 is no limit.
    #[serde(default)]
    pub comments_per_minute: Option<u32>,
    /// 1 to 10 000.
    #[serde(default = "one")]
    pub count: u32,
}

fn day_ms() -> u64 {
    86_400_000
}

fn one() -> u32 {
    1
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub tokens: Vec<String>,
}

/// The answer to every request that changes something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The entry of the audit log that records it.
    pub audit_id: u64,
    /// The user it was about, where it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Connections that were closed or written to.
    pub connections: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// The stream as it is now, where one was made or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
    pub elapsed_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SanctionKind {
    /// Neither connects nor comments.
    Ban,
    /// Watches, but may not comment.
    Timeout,
}

impl SanctionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Timeout => "timeout",
        }
    }
}

/// `GET /v1/bans`: bans and timeouts in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sanction {
    pub user_id: UserId,
    pub kind: SanctionKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub created_by: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// `GET /v1/who/{user}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Who {
    pub user_id: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub connections: Vec<ConnectionInfo>,
    pub sanctions: Vec<Sanction>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
}

/// One connection of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    pub node: NodeId,
    pub stream_id: StreamId,
    /// Milliseconds since the Unix epoch.
    pub connected_at: u64,
}

/// `GET /v1/mod/queue`: a comment that a person should look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewItem {
    pub comment_id: CommentId,
    pub stream_id: StreamId,
    pub user_id: UserId,
    pub name: String,
    pub message: String,
    pub reason: String,
    /// Milliseconds since the Unix epoch.
    pub flagged_at: u64,
    /// Not shown to anybody until it is approved.
    pub held: bool,
}

/// `GET /v1/audit?limit=`: newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub audit_id: u64,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub actor: String,
    /// Such as `ban`, `delete`, `throttle`.
    pub action: String,
    /// What it was done to: a user, a stream, a comment.
    pub target: String,
    /// The request as it came.
    pub detail: serde_json::Value,
}
