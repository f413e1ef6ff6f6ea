//! The shared windows of all streams on this node, and the release of idle compressors.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::compressor::CompressorLimits;
use super::shared_window::StreamWindow;
use crate::daemon::base::config::DeliveryConfig;

/// A stream without frames for this long gives its compressors back.
const IDLE: Duration = Duration::from_secs(30);

/// Creates the streams' shared windows. A stream that finds all compressors in use has its frames
/// compressed one by one, which every viewer can read.
#[derive(Debug)]
pub(crate) struct Compressors {
    limits: Arc<CompressorLimits>,
    streams: Mutex<Vec<Weak<StreamWindow>>>,
}

impl Compressors {
    pub(crate) fn new(config: &DeliveryConfig) -> Arc<Self> {
        let limits = Arc::new(CompressorLimits::new(config));
        Arc::new(Self { limits, streams: Mutex::default() })
    }

    /// Returns the window of a new stream. It takes a compressor with its first frame.
    pub(crate) fn stream(&self) -> Arc<StreamWindow> {
        let stream = Arc::new(StreamWindow::new(&self.limits));
        self.streams.lock().push(Arc::downgrade(&stream));
        stream
    }

    /// Releases the compressors of idle streams. To be called regularly.
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
        self.limits.in_use()
    }
}
