//! Egress limits: how much a node sends, and what it leaves out to stay within its limit.

use serde::{Deserialize, Serialize};

use crate::protocol::StreamId;
use crate::protocol::throttle::SampleRate;

/// The cause of an egress limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EgressLimit {
    /// `delivery.egress_bytes_per_second`.
    Budget,
    /// The sockets of too many viewers are full.
    Sockets,
}

/// The bytes per second that a node sends to its viewers, averaged over several seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Egress {
    pub sent_bytes_per_second: u64,
    /// The bytes that the node would send without a limit.
    pub wanted_bytes_per_second: u64,
    /// The limit in effect; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<EgressLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes_per_second: Option<u64>,
    /// Number of streams of which the node leaves out comments, in addition to the throttle.
    pub streams_lowered: u64,
}

/// The comments that one node leaves out of one stream because of its egress limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StreamEgress {
    pub stream_id: StreamId,
    /// The share of the sampled comments that is shown.
    pub share: SampleRate,
    /// Comments left out since the node started.
    pub sampled_out: u64,
}

pub(super) fn all() -> SampleRate {
    SampleRate::ALL
}

pub(super) fn is_all(share: &SampleRate) -> bool {
    share.is_all()
}
