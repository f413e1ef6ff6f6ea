//! The report of a run. `lc loadgen` prints it, as JSON or as tables.

use serde::{Deserialize, Serialize};

use super::counts::CountsByKind;
use super::histogram::Percentiles;

/// The report. Its field names are public: they are the keys of `--json` and of `--fail-if`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Viewers requested.
    pub viewers: u64,
    /// Viewers that connected.
    pub connected: u64,
    /// Comments sent.
    pub published: u64,
    /// Comments that the server acked as durable.
    pub acked: u64,
    /// Counted per comment and viewer, as are the next five:
    /// `expected` = `delivered` + `sampled_out` + `skipped` + `deleted` + `lost`.
    pub delivered: u64,
    pub expected: u64,
    pub sampled_out: u64,
    pub skipped: u64,
    pub deleted: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    /// From the intended send time to the receipt by a viewer.
    pub latency_ms: Percentiles,
    /// From the time at which a viewer was due to connect to its welcome.
    pub connect_ms: Percentiles,
    /// From the intended send time to the ack.
    pub ack_ms: Percentiles,
    /// By error code.
    pub rejected: CountsByKind,
    /// Sent, but neither acked nor rejected.
    pub unanswered: u64,
    /// Never sent, because the server did not let their user reconnect.
    pub unsent: u64,
    /// `comment.deleted` messages received.
    pub deletions_seen: u64,
    /// From the intended send time of a comment to the receipt of its deletion by a viewer.
    #[serde(default)]
    pub deletion_ms: Percentiles,
    pub reactions_sent: u64,
    pub reactions_refused: u64,
    /// `reactions_update` messages received.
    pub reaction_updates: u64,
    /// Viewers that never read. They count only in `viewers` and `connected`.
    pub slow_viewers: u64,
    /// Viewers that lost their connection and did not reconnect.
    pub disconnected: u64,
    pub reconnects: u64,
    /// From a storm to a viewer's welcome, over all storms.
    pub storm_ms: Percentiles,
    pub storms: Vec<StormReport>,
    /// Why connections ended, viewers' and senders'.
    pub closed: CountsByKind,
    pub connect_failed: CountsByKind,
    /// Attempts that the server refused, by code. Most refusals name a time to retry.
    pub connect_refused: CountsByKind,
    /// Messages that violated the protocol.
    pub malformed: u64,
    /// From the first to the last comment sent.
    pub duration_s: f64,
    pub published_per_second: f64,
    pub acked_per_second: f64,
    pub delivered_per_second: f64,
    pub generator: GeneratorReport,
    /// Facts that a reader must know to interpret the figures.
    pub notes: Vec<String>,
}

/// All viewers dropped their connections at once and reconnected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StormReport {
    /// Seconds since the load began.
    pub at_s: f64,
    /// Viewers that were connected.
    pub viewers: u64,
    /// Viewers that reconnected.
    pub back: u64,
    /// Time until the last viewer was back. Absent if not all came back.
    pub all_back_ms: Option<f64>,
    pub back_ms: Percentiles,
}

/// The performance of the generator itself, all its processes together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// Processes that hold viewers. 1 if this process holds them.
    pub processes: u64,
    /// 100 is one processor.
    pub cpu_percent: f64,
    /// The longest time between a comment's due time and its dispatch.
    pub behind_ms_max: f64,
    /// The longest delay of readers and tasks, without the worst ones of each second.
    pub late_ms_max: f64,
    /// Resident memory that each viewer added. Absent if there are too few viewers to tell.
    pub bytes_per_viewer: Option<u64>,
    /// True if the latencies measure the generator rather than the server.
    pub bottleneck: bool,
    pub note: String,
}
