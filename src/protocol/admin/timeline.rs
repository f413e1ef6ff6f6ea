//! The recent past: series of figures.

use serde::{Deserialize, Serialize};

use crate::protocol::NodeId;

/// `GET /v1/timeline?series=&from=&to=&step=`: the last hour. `series` are names with commas in
/// between; a name may end in `*`. `from`, `to` and `step` are in milliseconds; times are since the
/// Unix epoch. By default all of the last five minutes in steps of a second; longer ago there is a
/// value per ten seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineAnswer {
    /// The node whose figures these are.
    pub node: NodeId,
    /// True if the figures are of the whole cluster; false if only of this node.
    pub whole_cluster: bool,
    /// The time of the first value.
    pub from: u64,
    pub step_ms: u64,
    pub series: Vec<TimelineSeries>,
}

/// One series, oldest value first; what is unknown is `null`. Rates are per second.
///
/// - The cluster: the rates of [`super::CounterRates`] under their names; `viewers`, `senders`,
///   `slow_viewers`, `nodes`, `nodes_unreachable`, `review_queue`, `lag`; `p50_ms`, `p95_ms` and
///   `p99_ms` from the creation of a comment to its write, of the last ten seconds; `bus_messages`
///   and `bus_bytes` published per second.
/// - A stage: `stage/NAME/p99_ms`, and `stage/NAME/queue_share` of its fullest queue, 0 to 1.
/// - A stream: `stream/ID/` and `viewers`, `in`, `shown`, `left_out`, `share`, `throttle_level`.
/// - A node: `node/NAME/` and `viewers`, `slow_viewers`, `delivered`, `late`, `bytes_out`, `cpu`,
///   `rss_bytes`, `files`.
/// - A server of the bus: `bus/SERVER/` and `messages`, `bytes`, `up`, `p99_ms`,
///   `shard/N/messages`.
/// - `lag/GROUP`: records that a consumer group is behind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineSeries {
    pub name: String,
    /// The average of each step.
    pub average: Vec<Option<f64>>,
    /// The largest value of each step. Series of streams, nodes and engines keep averages of ten
    /// seconds only, whose largest this is.
    pub peak: Vec<Option<f64>>,
}
