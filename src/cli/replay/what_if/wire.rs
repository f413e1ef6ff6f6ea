//! Bytes that one viewer is sent: JSON in WebSocket frames, deflated in a window that is kept, as
//! most browsers agree to. Frames gather comments as the broadcast stage does.

use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::protocol::message::{CommentsBatch, Encoding};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, SequencedComment, ServerMessage, UserId};

/// The level of the daemon's shared windows.
const LEVEL: Compression = Compression::new(9);
/// The time between two frames of a busy stream: `broadcast.batch_interval`.
const BATCH_INTERVAL_MS: f64 = 25.0;
/// Bytes in front of a frame of up to 125 bytes, and of a larger one.
const HEADER_BYTES: [usize; 2] = [2, 4];
/// The end of a flushed block, which permessage-deflate leaves out.
const FLUSH_BYTES: usize = 4;
/// Any log.
const EPOCH: Epoch = Epoch(1_700_000_000);
/// 2023, in units of 100 ns.
const FIRST_TICK: u64 = 17_000_000_000_000_000;

/// Measures the frames of one stream.
pub(super) struct Wire {
    compress: Compress,
    pending: Vec<SequencedComment>,
    sample_rate: SampleRate,
    covered_to: u64,
    /// When the last frame was sent.
    sent_ms: f64,
    seq: u64,
    out: Vec<u8>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            compress: Compress::new(LEVEL, false),
            pending: Vec::new(),
            sample_rate: SampleRate::ALL,
            covered_to: 0,
            sent_ms: f64::NEG_INFINITY,
            seq: 0,
            out: Vec::with_capacity(4_096),
        }
    }

    /// Returns the bytes of the frame that is due before a time, if there is one.
    pub(super) fn advance(&mut self, at_ms: f64) -> u64 {
        let due_ms = self.sent_ms + BATCH_INTERVAL_MS;
        if self.pending.is_empty() || at_ms < due_ms {
            return 0;
        }
        self.sent_ms = due_ms;
        self.send()
    }

    /// Adds a comment that is shown. Returns the bytes of its frame if that is sent at once.
    pub(super) fn add(&mut self, at_ms: f64, shown: ShownComment<'_>) -> u64 {
        let sent = self.advance(at_ms);
        self.seq += 1;
        self.sample_rate = shown.sample_rate;
        let ticks = FIRST_TICK + (at_ms * 10_000.0) as u64 + self.seq % 10_000;
        self.pending.push(SequencedComment {
            comment_id: CommentId::from_unix_ticks(ticks, 1, [2, 4, 8, 16, 32, 64]),
            user_id: shown.user,
            name: shown.name.clone(),
            message: shown.text.clone(),
            created_at: ticks / 10_000,
            seq: self.seq,
            badges: Default::default(),
            parent_id: None,
        });
        if at_ms < self.sent_ms + BATCH_INTERVAL_MS {
            return sent;
        }
        self.sent_ms = at_ms;
        sent + self.send()
    }

    fn send(&mut self) -> u64 {
        let batch = CommentsBatch {
            epoch: EPOCH,
            from_seq: self.covered_to + 1,
            to_seq: self.seq,
            sample_rate: self.sample_rate,
            comments: std::mem::take(&mut self.pending),
            echo: false,
        };
        self.covered_to = self.seq;
        let payload = Encoding::Json.encode(&ServerMessage::Comments(batch));
        let bytes = self.deflate(&payload).saturating_sub(FLUSH_BYTES);
        (bytes + HEADER_BYTES[usize::from(bytes > 125)]) as u64
    }

    fn deflate(&mut self, payload: &[u8]) -> usize {
        let before_in = self.compress.total_in();
        let before_out = self.compress.total_out();
        loop {
            self.out.clear();
            let used = (self.compress.total_in() - before_in) as usize;
            let rest = &payload[used..];
            let status = self.compress.compress_vec(rest, &mut self.out, FlushCompress::Sync);
            let is_full = self.out.len() == self.out.capacity();
            // Less output than room means that all input is flushed.
            if !matches!(status, Ok(Status::Ok | Status::BufError)) || !is_full {
                break;
            }
        }
        (self.compress.total_out() - before_out) as usize
    }
}

/// A comment that viewers see.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShownComment<'a> {
    pub(super) user: UserId,
    pub(super) name: &'a Arc<str>,
    pub(super) text: &'a Arc<str>,
    pub(super) sample_rate: SampleRate,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(per_second: u64, seconds: u64) -> f64 {
        let mut wire = Wire::new();
        let name: Arc<str> = "somebody".into();
        let mut bytes = 0;
        let comments = per_second * seconds;
        for n in 0..comments {
            // Texts of digits that do not repeat.
            let text: Arc<str> = format!("{}", (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)).into();
            let shown = ShownComment {
                user: UserId(n % 50),
                name: &name,
                text: &text,
                sample_rate: SampleRate::ALL,
            };
            bytes += wire.add(n as f64 * 1e3 / per_second as f64, shown);
        }
        bytes += wire.advance(f64::MAX);
        bytes as f64 / comments as f64
    }

    #[test]
    fn busy_streams_cost_less_per_comment() {
        let alone = bytes(2, 100);
        let many = bytes(1_000, 2);
        assert!((20.0..60.0).contains(&many), "{many} bytes per comment");
        assert!(alone > many * 1.3 && alone < 150.0, "{alone} against {many}");
    }

    #[test]
    fn a_frame_larger_than_the_buffer_is_measured_whole() {
        let mut wire = Wire::new();
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + (state >> 59) as u8 % 26)
        };
        let text: String = (0..100_000).map(|_| random()).collect();
        let bytes = wire.deflate(text.as_bytes());
        assert!((55_000..75_000).contains(&bytes), "{bytes}");
    }
}
