//! The shared window of a stream: one compressor for all of its viewers. See the parent module for
//! the terms.
//!
//! In: the frames of a stream, each when the first viewer that uses the window needs it. Out: the
//! same compressed bytes for all of these viewers.
//!
//! Always holds:
//! - Compressed frames are numbered. A viewer can read a frame if it was sent the one before it in
//!   compressed form, or if it is a key frame. Nothing else matters: a viewer that joined, skipped
//!   frames, or received part of a batch is outside the window until the next key frame. Until then
//!   it is sent frames that are compressed by themselves, so that the RSV1 bit is the same for all.
//!   RFC 7692 keeps plain frames out of the window.
//! - Frames are compressed in the order of the stream or not at all. A frame that no viewer needed
//!   before a later one was compressed stays uncompressed for all.
//!
//! A key frame is written only when a viewer waits for one, and only `deflate_key_frames` frames or
//! `deflate_key_interval` after the last. While all compressors of the node are in use, frames are
//! compressed one by one, and each is a key frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::compressor::{Compressor, CompressorLimits};
use super::per_message;
use crate::protocol::message::Encoding;

/// Identifies a compressed frame of one stream and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowFrame {
    /// Counts compressed frames from 1.
    number: u64,
    is_key: bool,
}

/// Position of a viewer in the shared window: the number of the last frame it was sent compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WindowPosition(u64);

impl WindowPosition {
    /// Position of a viewer that has nothing of the window.
    pub(crate) const OUTSIDE: Self = Self(0);

    /// Reports whether a viewer at this position can inflate the frame.
    pub(crate) fn can_read(self, frame: WindowFrame) -> bool {
        frame.is_key || frame.number == self.0 + 1
    }
}

impl WindowFrame {
    /// Position of a viewer that was sent the frame.
    pub(crate) fn position_after(self) -> WindowPosition {
        WindowPosition(self.number)
    }

    /// Position that a viewer must have to read the frame; `None` for a key frame.
    pub(crate) fn position_before(self) -> Option<WindowPosition> {
        (!self.is_key).then_some(WindowPosition(self.number - 1))
    }
}

/// The shared windows of one stream, one per encoding.
#[derive(Debug)]
pub(crate) struct StreamWindow {
    places: AtomicU64,
    json: EncodingWindow,
    msgpack: EncodingWindow,
}

impl StreamWindow {
    pub(super) fn new(limits: &Arc<CompressorLimits>) -> Self {
        Self {
            places: AtomicU64::new(0),
            json: EncodingWindow::new(limits.clone()),
            msgpack: EncodingWindow::new(limits.clone()),
        }
    }

    /// Returns the place of the next frame in the order of the stream.
    pub(crate) fn next_place(&self) -> u64 {
        self.places.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Compresses the payload of the frame at `place`. Returns `None` if a later frame was
    /// compressed already or if the payload must stay uncompressed. To be called at most once per
    /// frame and encoding.
    pub(crate) fn compress(
        &self,
        encoding: Encoding,
        place: u64,
        payload: &[u8],
    ) -> Option<(WindowFrame, Vec<u8>)> {
        self.window(encoding).compress(place, payload)
    }

    /// Compresses a payload by itself for one viewer, which then is outside the window. Returns
    /// `None` if a frame of the stream with this payload would stay uncompressed, too.
    pub(crate) fn compress_alone(&self, encoding: Encoding, payload: &[u8]) -> Option<Vec<u8>> {
        if self.window(encoding).has_compressor() {
            per_message::compress_always(payload)
        } else {
            per_message::compress(payload)
        }
    }

    /// Asks for a key frame, because a viewer is outside the window until one is written.
    pub(crate) fn request_key_frame(&self, encoding: Encoding) {
        let requested = &self.window(encoding).key_requested;
        // Read first: many viewers ask, and a store would move the cache line each time.
        if !requested.load(Ordering::Relaxed) {
            requested.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn release_unused_since(&self, now: Instant, idle: Duration) {
        self.json.release_unused_since(now, idle);
        self.msgpack.release_unused_since(now, idle);
    }

    fn window(&self, encoding: Encoding) -> &EncodingWindow {
        match encoding {
            Encoding::Json => &self.json,
            Encoding::Msgpack => &self.msgpack,
        }
    }
}

/// The shared window of one encoding.
#[derive(Debug)]
struct EncodingWindow {
    limits: Arc<CompressorLimits>,
    key_requested: AtomicBool,
    /// Whether `state` has a compressor, for viewers that must not wait for its lock.
    has_compressor: AtomicBool,
    /// Locked once per frame, while it is compressed, and never per viewer.
    state: Mutex<WindowState>,
}

#[derive(Debug)]
struct WindowState {
    compressor: Option<Compressor>,
    /// Place of the last frame that was offered for compression.
    last_place: u64,
    /// Number of the last frame that was compressed.
    last_number: u64,
    frames_since_key: u32,
    key_at: Instant,
    used_at: Instant,
}

impl EncodingWindow {
    fn new(limits: Arc<CompressorLimits>) -> Self {
        let now = Instant::now();
        let state = WindowState {
            compressor: None,
            last_place: 0,
            last_number: 0,
            frames_since_key: 0,
            key_at: now,
            used_at: now,
        };
        Self {
            limits,
            key_requested: AtomicBool::new(false),
            has_compressor: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    fn compress(&self, place: u64, payload: &[u8]) -> Option<(WindowFrame, Vec<u8>)> {
        let mut state = self.state.lock();
        if place <= state.last_place {
            return None;
        }
        state.last_place = place;
        let now = Instant::now();
        state.used_at = now;
        let is_key = state.compressor.is_none() || self.is_key_due(&state, now);
        if is_key {
            state.frames_since_key = 0;
            state.key_at = now;
            self.key_requested.store(false, Ordering::Relaxed);
        }
        if state.compressor.is_none() {
            self.set_compressor(&mut state, self.limits.acquire());
        } else if is_key && let Some(compressor) = &mut state.compressor {
            compressor.reset();
        }
        let compressed = match &mut state.compressor {
            Some(compressor) => compressor.compress_next(payload),
            None => per_message::compress(payload),
        };
        let Some(compressed) = compressed else {
            // No viewer has what this compressor took in, so the next frame starts a new window.
            self.set_compressor(&mut state, None);
            return None;
        };
        state.frames_since_key += 1;
        state.last_number += 1;
        Some((WindowFrame { number: state.last_number, is_key }, compressed))
    }

    fn set_compressor(&self, state: &mut WindowState, compressor: Option<Compressor>) {
        self.has_compressor.store(compressor.is_some(), Ordering::Relaxed);
        state.compressor = compressor;
    }

    /// Reports whether the next frame is compressed by a compressor of the window. Waits for
    /// nothing.
    fn has_compressor(&self) -> bool {
        self.has_compressor.load(Ordering::Relaxed) || self.limits.has_free()
    }

    fn is_key_due(&self, state: &WindowState, now: Instant) -> bool {
        self.key_requested.load(Ordering::Relaxed)
            && (state.frames_since_key >= self.limits.key_frames
                || now - state.key_at >= self.limits.key_interval)
    }

    fn release_unused_since(&self, now: Instant, idle: Duration) {
        // A locked window is in use.
        let Some(mut state) = self.state.try_lock() else { return };
        if now.saturating_duration_since(state.used_at) >= idle {
            self.set_compressor(&mut state, None);
        }
    }
}

#[cfg(test)]
mod tests;
