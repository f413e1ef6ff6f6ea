//! The node's compressors: how many there may be, and when they are given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use flate2::{Compress, Compression};
use parking_lot::Mutex;

use super::shared::StreamDeflate;
use crate::daemon::base::config::DeliveryConfig;

/// Saves 3 to 5 % of the bytes of level 6 on recorded chats. A frame of a few comments takes as long
/// in both, one of a hundred twice as long.
const LEVEL: Compression = Compression::new(9);

/// A stream that said nothing for so long gives its compressor back.
const IDLE: Duration = Duration::from_secs(30);

/// All streams' compressors, of which each takes some 310 KB. Beyond the bound a stream's frames are
/// compressed each by itself, which every viewer can read.
#[derive(Debug)]
pub(crate) struct Compressors {
    pub(super) key_frames: u32,
    pub(super) key_interval: Duration,
    max: usize,
    in_use: AtomicUsize,
    streams: Mutex<Vec<Weak<StreamDeflate>>>,
}

/// One compressor, counted while it lives.
#[derive(Debug)]
pub(super) struct Compressor {
    pub(super) compress: Compress,
    compressors: Arc<Compressors>,
}

impl Compressors {
    pub(crate) fn new(config: &DeliveryConfig) -> Arc<Self> {
        Arc::new(Self {
            key_frames: config.deflate_key_frames,
            key_interval: config.deflate_key_interval,
            max: config.deflate_compressors,
            in_use: AtomicUsize::new(0),
            streams: Mutex::default(),
        })
    }

    /// A stream that may come to need compressors; it has none yet.
    pub(crate) fn stream(self: &Arc<Self>) -> Arc<StreamDeflate> {
        let stream = Arc::new(StreamDeflate::new(self.clone()));
        let mut streams = self.streams.lock();
        streams.push(Arc::downgrade(&stream));
        stream
    }

    /// A compressor, if there may be one more.
    pub(super) fn take(self: &Arc<Self>) -> Option<Compressor> {
        let one_more = |in_use| (in_use < self.max).then_some(in_use + 1);
        self.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Compressor { compress: Compress::new(LEVEL, false), compressors: self.clone() })
    }

    /// Takes the compressors of streams that no longer need them; to be called now and then.
    pub(crate) fn release_idle(&self) {
        self.release_unused_for(IDLE);
    }

    pub(super) fn release_unused_for(&self, idle: Duration) {
        let now = Instant::now();
        let mut streams = self.streams.lock();
        streams.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            stream.release_unused_since(now, idle);
            true
        });
    }

    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.compressors.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}
