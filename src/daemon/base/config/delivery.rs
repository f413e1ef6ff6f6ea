//! Settings of delivery: how viewers are written to.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::policy::egress::EgressRules;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Threads that write to viewers. 0 means one per core.
    pub workers: usize,
    /// The share of a worker's time, 0.01 to 1.0, that the fan-out of one stream may take before
    /// its frames are gathered into one write. 1.0 means never.
    pub fan_out_share: f64,
    /// The longest time that frames are gathered, 0 (never) to 1 s. Deletions do not wait.
    #[serde(with = "humantime_serde")]
    pub coalesce_up_to: Duration,
    /// Frames kept per stream and worker. A viewer that falls further behind skips.
    pub ring_frames: usize,
    /// Bytes kept per stream and worker, whatever the number of frames.
    pub ring_bytes: ByteSize,
    /// Bytes of acks, errors and direct messages that may wait for one viewer before it is closed.
    pub outbox_bytes: ByteSize,
    /// The most comments a returning viewer receives. Older ones are reported as a gap.
    pub resume_comments: usize,
    /// The shortest time between two viewer counts.
    #[serde(with = "humantime_serde")]
    pub presence_interval: Duration,
    /// Consecutive bad messages before a connection is closed.
    pub max_errors: u16,
    /// The compression agreed with viewers that offer permessage-deflate.
    pub deflate: DeflateMode,
    /// The fewest frames between two key frames of a shared window. A key frame is only made if a
    /// viewer waits for one.
    pub deflate_key_frames: u32,
    /// The longest time between two key frames that viewers wait for.
    #[serde(with = "humantime_serde")]
    pub deflate_key_interval: Duration,
    /// The most compressors, at about 310 KB each: one per stream and encoding in use. The frames
    /// of further streams are compressed each by itself.
    pub deflate_compressors: usize,
    /// Bytes per second this node may send to viewers, without the overhead of TLS, TCP and IP. 0
    /// means no budget. Above it the streams with the most traffic are reduced.
    pub egress_bytes_per_second: ByteSize,
    /// The share of viewers with a full socket, 0.0 to 1.0, above which the node sends less,
    /// whatever its budget. 0 means never.
    pub egress_held_up: f64,
}

impl DeliveryConfig {
    pub fn egress_rules(&self) -> EgressRules {
        EgressRules {
            bytes_per_second: self.egress_bytes_per_second.as_u64(),
            held_up: self.egress_held_up,
        }
    }
}

/// The compression of viewers' frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeflateMode {
    /// With context: one deflate stream for all viewers of a stream.
    Shared,
    /// Each frame is compressed by itself.
    Single,
    Off,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            fan_out_share: 0.2,
            coalesce_up_to: Duration::from_millis(125),
            ring_frames: 512,
            ring_bytes: ByteSize::mib(4),
            outbox_bytes: ByteSize::kib(64),
            resume_comments: 100_000,
            presence_interval: Duration::from_secs(2),
            max_errors: 20,
            deflate: DeflateMode::Shared,
            deflate_key_frames: 192,
            deflate_key_interval: Duration::from_secs(10),
            deflate_compressors: 256,
            egress_bytes_per_second: ByteSize::b(0),
            egress_held_up: 0.25,
        }
    }
}
