//! How viewers are written to.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Threads that write to viewers; 0 is one per core.
    pub workers: usize,
    /// The share of a worker's time, 0.01 to 1.0, that fan-out of one stream takes before its frames
    /// gather to leave in one write; 1.0 is never.
    pub fan_out_share: f64,
    /// Frames gather no longer than this, at most a second; 0 is never. Deletions do not wait.
    #[serde(with = "humantime_serde")]
    pub coalesce_up_to: Duration,
    /// Frames kept for each stream in each ring: how far a viewer may fall behind before it skips.
    pub ring_frames: usize,
    /// Bytes kept for each stream, whatever the number of frames.
    pub ring_bytes: ByteSize,
    /// What may wait privately (acks, errors, direct messages) for one viewer before it is closed.
    pub outbox_bytes: ByteSize,
    /// Comments a returning viewer is handed at most; what is older it is told as a gap.
    pub resume_comments: usize,
    /// Viewer counts are sent at most this often.
    #[serde(with = "humantime_serde")]
    pub presence_interval: Duration,
    /// Bad messages in a row before a connection is closed.
    pub max_errors: u16,
    /// What is agreed with viewers that offer permessage-deflate.
    pub deflate: DeflateMode,
    /// Frames between two key frames of a shared window, at least; a key frame comes only if a viewer
    /// waits for one.
    pub deflate_key_frames: u32,
    /// Or this much time.
    #[serde(with = "humantime_serde")]
    pub deflate_key_interval: Duration,
    /// Compressors, of some 310 KB each, one a stream and encoding in use; the frames of streams
    /// beyond are compressed each by itself.
    pub deflate_compressors: usize,
    /// What this node may send its viewers, in bytes a second, without what TLS, TCP and IP put around
    /// them; 0 is no budget. Above it the streams that take most are shown in part.
    pub egress_bytes_per_second: ByteSize,
    /// The share of viewers with a full socket, 0.0 to 1.0, from which on the node sends less, whatever
    /// its budget; 0 is never.
    pub egress_held_up: f64,
}

/// How viewers' frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeflateMode {
    /// With context: one deflate stream for all viewers of a stream.
    Shared,
    /// Each frame by itself.
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
