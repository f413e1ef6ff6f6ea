//! Moments of the last hour, compressed, so that every view can be shown as it was.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::moment::Moment;
use crate::protocol::json;

/// Every moment is kept for this time, and one in ten seconds for an hour.
const ALL_FOR_MS: u64 = 300_000;
const KEPT_FOR_MS: u64 = 3_600_000;
const THINNED_TO_MS: u64 = 10_000;
/// More is not kept, whatever its age.
const MAX_BYTES: usize = 32 << 20;

/// Compressed moments, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Archive {
    moments: VecDeque<Packed>,
    bytes: usize,
    /// Moments up to here have been thinned out.
    thinned_to_ms: u64,
}

#[derive(Debug, Clone)]
struct Packed {
    at_ms: u64,
    deflated: Vec<u8>,
}

impl Archive {
    pub(super) fn add(&mut self, moment: &Moment) {
        let Some(deflated) = pack(moment) else { return };
        self.bytes += deflated.len();
        self.moments.push_back(Packed { at_ms: moment.at_ms, deflated });
        self.thin_out(moment.at_ms.saturating_sub(ALL_FOR_MS));
        let oldest = moment.at_ms.saturating_sub(KEPT_FOR_MS);
        while self.moments.front().is_some_and(|first| first.at_ms < oldest)
            || self.bytes > MAX_BYTES
        {
            match self.moments.pop_front() {
                Some(first) => self.bytes -= first.deflated.len(),
                None => break,
            }
        }
    }

    /// Keeps one moment per [`THINNED_TO_MS`] of those that grew older than `limit`.
    fn thin_out(&mut self, limit: u64) {
        if limit < self.thinned_to_ms + THINNED_TO_MS {
            return;
        }
        let from = self.thinned_to_ms;
        self.thinned_to_ms = limit;
        let mut kept_in = None;
        let mut freed = 0;
        self.moments.retain(|moment| {
            if moment.at_ms < from || moment.at_ms >= limit {
                return true;
            }
            let part = moment.at_ms / THINNED_TO_MS;
            let keep = kept_in != Some(part);
            kept_in = Some(part);
            freed += if keep { 0 } else { moment.deflated.len() };
            keep
        });
        self.bytes -= freed;
    }

    /// Returns the last moment that is not later than `at_ms`, or the first one.
    pub(super) fn at(&self, at_ms: u64) -> Option<Moment> {
        let after = self.moments.partition_point(|moment| moment.at_ms <= at_ms);
        unpack(&self.moments.get(after.saturating_sub(1))?.deflated)
    }

    /// Returns the time of the oldest moment.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.moments.front().map(|moment| moment.at_ms)
    }

    /// Returns the time of the moment before or after the one at `at_ms`.
    pub(super) fn neighbour(&self, at_ms: u64, later: bool) -> Option<u64> {
        let at = if later {
            self.moments.partition_point(|moment| moment.at_ms <= at_ms)
        } else {
            self.moments.partition_point(|moment| moment.at_ms < at_ms).checked_sub(1)?
        };
        self.moments.get(at).map(|moment| moment.at_ms)
    }
}

fn pack(moment: &Moment) -> Option<Vec<u8>> {
    let text = json::to_vec(moment).ok()?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&text).ok()?;
    encoder.finish().ok()
}

fn unpack(deflated: &[u8]) -> Option<Moment> {
    let mut json = Vec::new();
    DeflateDecoder::new(deflated).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}
