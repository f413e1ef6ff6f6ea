//! The measurements of a cluster: its streams, its workers, its counters, and all of it at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Problem;
use super::alerts::{Alert, AlertAck, AlertThresholds, EventItem, Health};
use super::breaker::BreakerStatus;
use super::bus::BusNode;
use super::cluster::ClusterColour;
use super::egress::{self, StreamEgress};
use super::lag::ConsumerLag;
use super::moderation::RecentModeration;
use super::node::{NodeStatus, SilentNode, viewers_of};
use super::rates::CounterRates;
use super::stages::{StageReport, StageStatus};
use super::stores::StoreStatus;
use super::talkers::{RefusedUser, Talkers};
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::room::RoomSettings;
use crate::protocol::stream::{ModerationMode, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{NodeId, StreamId};

/// `GET /v1/status`: the health of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    pub node: NodeId,
    /// The name of the cluster; absent if its configuration has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The colour of that name in consoles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<ClusterColour>,
    pub version: String,
    pub uptime_ms: u64,
    pub ready: bool,
    pub draining: bool,
    pub listen: String,
    /// The path of the site that viewers find everything below; absent if it is the root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base_path: String,
    /// The SHA-256 of the certificate that the node presents, in hexadecimal; absent without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
    /// When that certificate, or one that it is signed with, expires: milliseconds since the Unix
    /// epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<u64>,
    pub data_dir: String,
    pub engines: BTreeMap<String, String>,
    pub connections: u64,
    pub live_streams: u64,
    pub breakers: Vec<BreakerStatus>,
    /// Problems of this node that last until they are solved.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Sentences for operators about this node and the others; empty if all is well. They include
    /// the problems and the open breakers.
    pub warnings: Vec<String>,
    /// The state of the cluster, as the alerts say.
    #[serde(default)]
    pub health: Health,
    /// The time for which alerts have made the state what it is; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwell_ms: Option<u64>,
    /// Viewers of all nodes.
    #[serde(default)]
    pub viewers: u64,
    /// The share of deliveries in the last second that was not skipped; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<f64>,
    /// The time from the creation of a comment to its write that one in a hundred exceeds, over
    /// the last ten seconds; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// The alerts of all nodes, the worst first.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// The parts that work, in a few words each.
    #[serde(default)]
    pub working: Vec<String>,
}

/// `GET /v1/streams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StreamStatus {
    pub stream_id: StreamId,
    pub title: String,
    /// Absent if it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub state: StreamState,
    /// When a scheduled stream is to start by itself, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<u64>,
    /// When the stream first went live; absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When the stream ended; absent in any other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    pub anonymous: bool,
    pub moderation: ModerationMode,
    pub viewers: u64,
    /// Accepted comments per second, as measured by the throttle.
    pub comments_per_second: f64,
    pub sample_rate: SampleRate,
    /// 0 shows all comments; each higher level shows fewer.
    pub throttle_level: u8,
    /// The rate set by an operator; absent while the throttle sets the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_override: Option<SampleRate>,
    /// When that ends by itself, in milliseconds since the Unix epoch; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_until_ms: Option<u64>,
    /// The share of the sampled comments that is shown because of egress limits: the smallest of
    /// all nodes.
    #[serde(default = "egress::all", skip_serializing_if = "egress::is_all")]
    pub egress_share: SampleRate,
    /// Counters since the nodes started, summed over those that report now. Two snapshots of them
    /// must not be subtracted; see [`Self::shown_per_second`].
    pub received: u64,
    pub broadcast: u64,
    pub sampled_out: u64,
    /// Comments left out because of egress limits, summed over the nodes.
    #[serde(default)]
    pub egress_sampled_out: u64,
    pub deleted: u64,
    pub reactions: BTreeMap<String, u64>,
    /// The settings of the room; absent if nothing is set.
    #[serde(default, skip_serializing_if = "RoomSettings::is_default")]
    pub room: RoomSettings,
}

impl StreamStatus {
    /// Returns the share of comments that viewers see. If nodes differ, it is the smallest share.
    pub fn shown(&self) -> SampleRate {
        self.egress_share.of(self.sample_rate)
    }

    /// Names what sets that share: `auto` with the throttle level if it is not 0, or `fixed`.
    /// `egress` is added if a node is at its egress limit.
    pub fn share_set_by(&self) -> String {
        let throttle = match (self.throttle_override, self.throttle_level) {
            (Some(_), _) => "fixed".to_owned(),
            (None, 0) => "auto".to_owned(),
            (None, level) => format!("auto L{level}"),
        };
        if self.egress_share.is_all() { throttle } else { format!("{throttle}, egress") }
    }

    /// Returns the comments per second that viewers see. Computed from the measured rate: the
    /// counters are sums over nodes, and differences of them are wrong when a node comes or goes.
    pub fn shown_per_second(&self) -> f64 {
        self.comments_per_second * self.shown().share()
    }

    /// Returns the comments per second that viewers do not see because of the throttle or of egress
    /// limits.
    pub fn left_out_per_second(&self) -> f64 {
        self.comments_per_second - self.shown_per_second()
    }
}

/// `GET /v1/workers`: one delivery worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerStatus {
    pub node: NodeId,
    pub worker: u32,
    pub connections: u64,
    /// Viewers whose socket buffer is full.
    pub slow_viewers: u64,
    /// Time the worker was busy since it started. The load is the difference of two snapshots,
    /// divided by that of `wall_us`.
    pub busy_us: u64,
    /// Time since the worker started.
    pub wall_us: u64,
    pub frames: u64,
    pub delivered: u64,
    pub bytes_out: u64,
}

/// Counters of one node since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counters {
    /// Comments that arrived, valid or not.
    pub received: u64,
    /// Comments that became durable.
    pub accepted: u64,
    /// Comments answered with an error, by error code.
    pub refused: BTreeMap<String, u64>,
    /// Comments published by the broadcast stage, each counted once.
    pub broadcast: u64,
    pub sampled_out: u64,
    /// Broadcast comments that a node left out because of its egress limit, counted once per node.
    #[serde(default)]
    pub egress_sampled_out: u64,
    /// Comments written to viewers' sockets. One comment to a thousand viewers counts a thousand
    /// times.
    pub delivered: u64,
    /// Comments written to viewers' sockets more than 150 ms after they were created, counted per
    /// viewer.
    #[serde(default)]
    pub late: u64,
    /// Comments skipped by slow viewers, counted per viewer.
    pub skipped: u64,
    pub deleted: u64,
    pub reactions: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connections_opened: u64,
    pub connections_closed: BTreeMap<String, u64>,
    /// Connections that were refused, by error code.
    #[serde(default)]
    pub connections_refused: BTreeMap<String, u64>,
    /// Comments written to the comment store.
    #[serde(default)]
    pub archived: u64,
    /// Records that a consumer could not process.
    #[serde(default)]
    pub dead_letters: u64,
    /// Bus messages that a node was too slow for.
    #[serde(default)]
    pub bus_lost: u64,
    /// Pages read for returning viewers.
    #[serde(default)]
    pub catch_up_reads: u64,
}

/// Decisions of moderation since the node started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModerationCounts {
    pub checked: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub shadow_banned: u64,
    pub flagged: u64,
    /// Comments that were not accepted, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Comments that wait for review.
    pub queued: u64,
    /// Of the last minute, and of the hour before it.
    #[serde(default)]
    pub recent: RecentModeration,
}

/// The figures of one stream from the broadcast stage of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamRates {
    pub stream_id: StreamId,
    /// Accepted comments per second, as measured by the throttle.
    pub comments_per_second: f64,
    pub sample_rate: SampleRate,
    /// 0 shows all comments; each higher level shows fewer.
    pub throttle_level: u8,
    /// The rate set by an operator; absent while the throttle sets the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_override: Option<SampleRate>,
    /// When that ends by itself, in milliseconds since the Unix epoch; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_until_ms: Option<u64>,
    /// Counters since the node started.
    pub received: u64,
    pub broadcast: u64,
    pub sampled_out: u64,
    pub deleted: u64,
}

/// The report that each node publishes about once per second. Any node can answer for the whole
/// cluster from the reports of all nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Milliseconds since the Unix epoch, on the clock of the reporting node.
    pub taken_at: u64,
    pub node: NodeStatus,
    pub slow_viewers: u64,
    pub counters: Counters,
    /// The changes of `counters`, as this node measured them.
    #[serde(default)]
    pub rates: CounterRates,
    /// One per stage that this node has, in the order of the pipeline.
    #[serde(default)]
    pub stages: Vec<StageReport>,
    /// From the creation of a comment to its write, once per viewer, since the node started.
    #[serde(default)]
    pub end_to_end: LatencyHistogram,
    /// The same of the last ten seconds.
    #[serde(default)]
    pub end_to_end_recent: LatencyHistogram,
    /// The servers of the fan-out bus, as this node uses them.
    #[serde(default)]
    pub bus: Vec<BusNode>,
    /// The stores, as this node uses them.
    #[serde(default)]
    pub stores: Vec<StoreStatus>,
    pub moderation: ModerationCounts,
    /// Streams whose broadcast stage runs on this node.
    pub streams: Vec<StreamRates>,
    /// Streams of which this node leaves out, or has left out, comments because of its egress
    /// limit.
    #[serde(default)]
    pub egress: Vec<StreamEgress>,
    /// Delivery workers. Nodes of earlier versions do not send this field.
    #[serde(default)]
    pub workers: Vec<WorkerStatus>,
    pub breakers: Vec<BreakerStatus>,
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// A digest of each setting that must be equal on all nodes, by its key.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The alerts of this node, and those that it sees in others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// The acknowledgements that it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acks: Vec<AlertAck>,
    /// Its newest events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventItem>,
    /// The talkers of the streams that a node asked about in the last seconds, at most four.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub talkers: Vec<Talkers>,
    /// The users of whom this node refuses most, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_users: Vec<RefusedUser>,
    /// The records, by partition, that its broadcast stage has read and that message delays keep it
    /// from committing. They are no lag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held_records: BTreeMap<u32, u64>,
}

/// `GET /v1/top?interval_ms=1000`: one line per interval, with all the data of `lc top`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TopSnapshot {
    /// Milliseconds since the Unix epoch.
    pub taken_at: u64,
    pub node: NodeId,
    pub version: String,
    pub uptime_ms: u64,
    pub draining: bool,
    pub connections: u64,
    pub slow_viewers: u64,
    /// Connections that have sent a comment. They are part of `connections`.
    #[serde(default)]
    pub senders: u64,
    /// Sums over the nodes that report now, each since it started. Two of them must not be
    /// subtracted, because nodes come and go: the changes are in `rates`.
    pub counters: Counters,
    /// Changes per second: the sum of what each node measured over its own last second. Right from
    /// the first snapshot on. The share of a silent node is missing.
    #[serde(default)]
    pub rates: CounterRates,
    /// One per stage, in the order of the pipeline.
    #[serde(default)]
    pub stages: Vec<StageStatus>,
    /// From the creation of a comment to its write, once per viewer, in the last ten seconds.
    #[serde(default)]
    pub end_to_end: LatencyHistogram,
    /// The servers of the fan-out bus.
    #[serde(default)]
    pub bus: Vec<BusNode>,
    /// The stores, by contract.
    #[serde(default)]
    pub stores: Vec<StoreStatus>,
    pub streams: Vec<StreamStatus>,
    pub workers: Vec<WorkerStatus>,
    pub lag: Vec<ConsumerLag>,
    pub moderation: ModerationCounts,
    pub breakers: Vec<BreakerStatus>,
    pub nodes: Vec<NodeStatus>,
    /// Nodes that are known and do not report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<NodeId>,
    /// Of these, the ones whose last report is known to the servers that nodes meet on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<SilentNode>,
    /// Sentences about the problems of all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The limits of alerts on the node that answers.
    #[serde(default)]
    pub thresholds: AlertThresholds,
}

impl TopSnapshot {
    pub fn viewers(&self) -> u64 {
        viewers_of(self.connections, self.senders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_a_stream_follow_its_share() {
        let stream = StreamStatus {
            stream_id: StreamId(7),
            title: String::new(),
            description: String::new(),
            starts_at: None,
            started_at: None,
            ended_at: None,
            state: StreamState::Live,
            anonymous: true,
            moderation: ModerationMode::Off,
            viewers: 9,
            comments_per_second: 640.0,
            sample_rate: SampleRate::from_share(0.5).unwrap(),
            throttle_level: 1,
            throttle_override: None,
            throttle_until_ms: None,
            egress_share: SampleRate::from_share(0.25).unwrap(),
            received: 5,
            broadcast: 4,
            sampled_out: 1,
            egress_sampled_out: 3,
            deleted: 0,
            reactions: BTreeMap::new(),
            room: Default::default(),
        };
        assert_eq!((stream.shown_per_second(), stream.left_out_per_second()), (80.0, 560.0));
    }
}
