//! One compressor for all viewers of a stream.
//!
//! In: a stream's frames, whenever a viewer of the shared form is first written one. Out: the same
//! compressed bytes for all. Always holds:
//! - Compressed frames are numbered. A viewer can read a frame if it was sent the one before it
//!   compressed, or if it is a key frame, which refers to nothing earlier. Nothing else is ever asked:
//!   who joined, skipped, was handed a page of the past or a part of a batch reads on uncompressed,
//!   which RFC 7692 keeps out of the window, until the next key frame.
//! - Frames are compressed in their stream's order or not at all: a frame that nobody needed when a
//!   later one was compressed stays uncompressed for all.
//! - A key frame is the start of a new deflate stream, which a receiver cannot tell from the old one
//!   after a full flush.
//!
//! A key frame comes only when somebody waits for one: at the earliest `deflate_key_frames` frames or
//! `deflate_key_interval` after the last. When all compressors of the node are in use a stream's frames
//! are compressed each by itself, so that every one is a key frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::{FlushCompress, Status};
use parking_lot::Mutex;

use super::TAIL;
use super::compressors::{Compressor, Compressors};
use crate::protocol::message::Encoding;

/// A flush and a block header that did not help, on top of what does not get smaller.
const SPARE_BYTES: usize = 64;

/// A frame's place among the compressed frames of its stream and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    number: u64,
    /// It refers to nothing before it.
    key: bool,
}

/// How far a viewer's window goes: the last frame that it was sent compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct InWindow(u64);

impl InWindow {
    /// It has none of the stream's window.
    pub(crate) const OUTSIDE: Self = Self(0);

    /// Whether the viewer's window is the one that a frame refers to.
    pub(crate) fn reads(self, link: Link) -> bool {
        link.key || link.number == self.0 + 1
    }
}

impl Link {
    /// The window of who was sent the frame.
    pub(crate) fn window(self) -> InWindow {
        InWindow(self.number)
    }

    /// The window that the frame refers to; `None` if it refers to none.
    pub(crate) fn needs(self) -> Option<InWindow> {
        (!self.key).then_some(InWindow(self.number - 1))
    }
}

/// What a stream's viewers have in their windows.
#[derive(Debug)]
pub(crate) struct StreamDeflate {
    places: AtomicU64,
    json: Window,
    msgpack: Window,
}

impl StreamDeflate {
    pub(super) fn new(compressors: Arc<Compressors>) -> Self {
        Self {
            places: AtomicU64::new(0),
            json: Window::new(compressors.clone()),
            msgpack: Window::new(compressors),
        }
    }

    /// The next frame's place in the stream's order.
    pub(crate) fn next_place(&self) -> u64 {
        self.places.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The compressed payload of the frame at a place; `None` if it comes too late, or must stay
    /// uncompressed. To be called once for each frame and encoding at most.
    pub(crate) fn compress(
        &self,
        encoding: Encoding,
        place: u64,
        payload: &[u8],
    ) -> Option<(Link, Vec<u8>)> {
        self.window(encoding).compress(place, payload)
    }

    /// Somebody reads on uncompressed until a key frame comes.
    pub(crate) fn want_key(&self, encoding: Encoding) {
        let wanted = &self.window(encoding).key_wanted;
        if !wanted.load(Ordering::Relaxed) {
            wanted.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn release_unused_since(&self, now: Instant, idle: Duration) {
        self.json.release_unused_since(now, idle);
        self.msgpack.release_unused_since(now, idle);
    }

    fn window(&self, encoding: Encoding) -> &Window {
        match encoding {
            Encoding::Json => &self.json,
            Encoding::Msgpack => &self.msgpack,
        }
    }
}

/// The window of one encoding.
#[derive(Debug)]
struct Window {
    compressors: Arc<Compressors>,
    key_wanted: AtomicBool,
    /// Held while a frame is compressed: once a frame, never for a viewer.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    compressor: Option<Compressor>,
    /// Place of the last frame that was looked at, and number of the last that was compressed.
    place: u64,
    number: u64,
    /// Frames since the last key frame, and when that was.
    since_key: u32,
    key_at: Instant,
    used_at: Instant,
}

impl Window {
    fn new(compressors: Arc<Compressors>) -> Self {
        let now = Instant::now();
        let (place, number, since_key) = (0, 0, 0);
        let (compressor, key_at, used_at) = (None, now, now);
        let state = State { compressor, place, number, since_key, key_at, used_at };
        Self { compressors, key_wanted: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn compress(&self, place: u64, payload: &[u8]) -> Option<(Link, Vec<u8>)> {
        let mut state = self.state.lock();
        if place <= state.place {
            return None;
        }
        state.place = place;
        let now = Instant::now();
        state.used_at = now;
        let key = state.compressor.is_none() || self.is_key_due(&state, now);
        if key {
            state.since_key = 0;
            state.key_at = now;
            self.key_wanted.store(false, Ordering::Relaxed);
        }
        if state.compressor.is_none() {
            state.compressor = self.compressors.take();
        } else if key && let Some(compressor) = &mut state.compressor {
            compressor.compress.reset();
        }
        let compressed = match &mut state.compressor {
            Some(compressor) => compressor.next(payload),
            None => super::compress(payload),
        };
        let Some(compressed) = compressed else {
            // What it has taken in is in nobody's window: the next frame begins anew.
            state.compressor = None;
            return None;
        };
        state.since_key += 1;
        state.number += 1;
        Some((Link { number: state.number, key }, compressed))
    }

    fn is_key_due(&self, state: &State, now: Instant) -> bool {
        self.key_wanted.load(Ordering::Relaxed)
            && (state.since_key >= self.compressors.key_frames
                || now - state.key_at >= self.compressors.key_interval)
    }

    fn release_unused_since(&self, now: Instant, idle: Duration) {
        // In use if it is locked.
        let Some(mut state) = self.state.try_lock() else { return };
        if now.saturating_duration_since(state.used_at) >= idle {
            state.compressor = None;
        }
    }
}

impl Compressor {
    /// The payload, compressed behind what was compressed before.
    fn next(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let before = self.compress.total_in();
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 1000 + SPARE_BYTES);
        let status = self.compress.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        let whole = status == Status::Ok
            && self.compress.total_in() - before == payload.len() as u64
            && out.len() < out.capacity();
        (whole && out.ends_with(&TAIL)).then(|| {
            out.truncate(out.len() - TAIL.len());
            // Kept in the ring for as long as the frame: not with twice the memory.
            out.shrink_to_fit();
            out
        })
    }
}

#[cfg(test)]
mod tests;
