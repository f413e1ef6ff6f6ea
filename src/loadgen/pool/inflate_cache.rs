//! Inflates each compressed message once for all viewers that received it.
//!
//! In: a viewer's deflate window and a compressed message. Out: the message and the viewer's next
//! window. A window is named by the hash of its bytes, so a viewer holds only a number, and viewers
//! that joined at the same key frame share one window. Always holds: a message is inflated with the
//! window of the viewer that received it and with no other, so a message that this viewer could not
//! read is detected. When full: the oldest messages and windows are evicted. A viewer that needs an
//! evicted window fails to read its message.

use std::collections::VecDeque;
use std::rc::Rc;

use ahash::{AHashMap, RandomState};

use crate::client::viewer::{MAX_MESSAGE_BYTES, ViewerError};
use crate::net::websocket::{Inflater, window_after};

/// Messages kept.
const MAX_MESSAGES: usize = 4096;
/// Bytes of messages kept.
const MAX_BYTES: usize = 16 << 20;
/// Windows kept, each of at most 32 KiB.
const MAX_WINDOWS: usize = 256;

/// Names a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct WindowId(u64);

impl WindowId {
    /// The window of a viewer that has received no compressed message.
    pub(super) const EMPTY: Self = Self(0);
}

#[derive(Debug)]
struct InflatedMessage {
    before: WindowId,
    compressed: Box<[u8]>,
    message: Rc<[u8]>,
    after: WindowId,
}

/// Messages by window and compressed bytes, and the windows themselves.
#[derive(Debug, Default)]
pub(super) struct InflateCache {
    hasher: RandomState,
    inflater: Inflater,
    messages: AHashMap<u64, InflatedMessage>,
    messages_order: VecDeque<u64>,
    bytes: usize,
    windows: AHashMap<WindowId, Vec<u8>>,
    windows_order: VecDeque<WindowId>,
}

impl InflateCache {
    /// Inflates a message and advances the window of its viewer.
    ///
    /// # Errors
    /// The viewer cannot read the message.
    pub(super) fn inflate(
        &mut self,
        window: &mut WindowId,
        compressed: &[u8],
    ) -> Result<Rc<[u8]>, ViewerError> {
        let key = self.hasher.hash_one((*window, compressed));
        if let Some(known) = self.messages.get(&key)
            && known.before == *window
            && *known.compressed == *compressed
        {
            *window = known.after;
            return Ok(known.message.clone());
        }
        let before = match self.windows.get(window) {
            Some(before) => before.as_slice(),
            None if *window == WindowId::EMPTY => &[],
            None => {
                let problem = "the window of the viewer was evicted".to_owned();
                return Err(ViewerError::BadMessage(problem));
            }
        };
        let message = self.inflater.inflate_after(before, compressed, MAX_MESSAGE_BYTES)?;
        let bytes = window_after(before, &message);
        let after = WindowId(self.hasher.hash_one(&bytes) | 1);
        let inflated = InflatedMessage {
            before: *window,
            compressed: compressed.into(),
            message: message.into(),
            after,
        };
        let message = inflated.message.clone();
        self.keep_window(after, bytes);
        self.keep_message(key, inflated);
        *window = after;
        Ok(message)
    }

    fn keep_message(&mut self, key: u64, inflated: InflatedMessage) {
        let weight =
            |inflated: &InflatedMessage| inflated.compressed.len() + inflated.message.len();
        self.bytes += weight(&inflated);
        match self.messages.insert(key, inflated) {
            Some(replaced) => self.bytes -= weight(&replaced),
            None => self.messages_order.push_back(key),
        }
        while self.messages_order.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.messages_order.pop_front() else { break };
            if let Some(inflated) = self.messages.remove(&oldest) {
                self.bytes -= weight(&inflated);
            }
        }
    }

    fn keep_window(&mut self, id: WindowId, bytes: Vec<u8>) {
        if self.windows.insert(id, bytes).is_none() {
            self.windows_order.push_back(id);
        }
        while self.windows_order.len() > MAX_WINDOWS {
            if let Some(oldest) = self.windows_order.pop_front() {
                self.windows.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// Returns messages and their compressed forms. Every `key_every`-th refers to no earlier one.
    fn stream(count: usize, key_every: usize) -> Vec<(String, Vec<u8>)> {
        let mut compress = Compress::new(Compression::new(9), false);
        let message = |n: usize| {
            if n.is_multiple_of(key_every) {
                compress.reset();
            }
            let text = format!("message {n} of a stream of messages, {}", n * 7919);
            let mut out = Vec::with_capacity(1024);
            compress.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
            out.truncate(out.len() - 4);
            (text, out)
        };
        (0..count).map(message).collect()
    }

    #[test]
    fn a_message_is_inflated_once_for_all_viewers() {
        let mut cache = InflateCache::default();
        let mut viewers = [WindowId::EMPTY; 20];
        for (text, compressed) in stream(50, 1000) {
            let mut read = Vec::new();
            for window in &mut viewers {
                read.push(cache.inflate(window, &compressed).unwrap());
            }
            assert!(read.iter().all(|message| Rc::ptr_eq(message, &read[0])));
            assert_eq!(*read[0], *text.as_bytes());
        }
        assert_eq!(cache.messages.len(), 50, "each was inflated once");
    }

    #[test]
    fn a_viewer_without_the_window_cannot_read() {
        let mut cache = InflateCache::default();
        let mut early = WindowId::EMPTY;
        let mut late = WindowId::EMPTY;
        let stream = stream(20, 10);
        for (_, compressed) in &stream[..5] {
            cache.inflate(&mut early, compressed).unwrap();
        }
        assert!(cache.inflate(&mut late, &stream[4].1).is_err());
        let mut late = WindowId::EMPTY;
        for (text, compressed) in &stream[10..] {
            assert_eq!(*cache.inflate(&mut late, compressed).unwrap(), *text.as_bytes());
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut cache = InflateCache::default();
        let mut window = WindowId::EMPTY;
        for (_, compressed) in stream(MAX_MESSAGES + 100, 64) {
            cache.inflate(&mut window, &compressed).unwrap();
        }
        assert_eq!((cache.messages.len(), cache.windows.len()), (MAX_MESSAGES, MAX_WINDOWS));
        assert!(cache.bytes <= MAX_BYTES);
    }
}
