//! What compressed messages say, inflated once for all viewers that were sent the same.
//!
//! In: a viewer's window and a compressed message. Out: the message and the viewer's next window. A
//! window is known by the hash of its bytes, so a viewer owns a number; viewers that entered at the same
//! key frame share one. Always holds: a message is read through the window of the viewer that received
//! it, and through no other, so one that this viewer could not read is found out. When full: the oldest
//! messages and windows are forgotten; who is further behind than that is told that its message cannot
//! be read.

use std::collections::VecDeque;
use std::rc::Rc;

use ahash::{AHashMap, RandomState};

use crate::client::viewer::{MAX_MESSAGE_BYTES, ViewerError};
use crate::net::websocket::{Inflater, window_after};

/// Messages remembered, and their bytes.
const MAX_MESSAGES: usize = 4096;
const MAX_BYTES: usize = 16 << 20;
/// Windows remembered, of at most 32 KiB.
const MAX_WINDOWS: usize = 256;

/// Names a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct WindowId(u64);

impl WindowId {
    /// Of who was sent nothing compressed.
    pub(super) const EMPTY: Self = Self(0);
}

#[derive(Debug)]
struct Inflated {
    before: WindowId,
    compressed: Box<[u8]>,
    message: Rc<[u8]>,
    after: WindowId,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Windows {
    hasher: RandomState,
    inflater: Inflater,
    messages: AHashMap<u64, Inflated>,
    messages_order: VecDeque<u64>,
    bytes: usize,
    windows: AHashMap<WindowId, Vec<u8>>,
    windows_order: VecDeque<WindowId>,
}

impl Windows {
    /// Reads a message and moves the window of its viewer.
    ///
    /// # Errors
    /// The viewer cannot read it.
    pub(super) fn read(
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
                let problem = "the reader is too far behind to inflate it".to_owned();
                return Err(ViewerError::BadMessage(problem));
            }
        };
        let message = self.inflater.inflate_after(before, compressed, MAX_MESSAGE_BYTES)?;
        let bytes = window_after(before, &message);
        let after = WindowId(self.hasher.hash_one(&bytes) | 1);
        let inflated = Inflated {
            before: *window,
            compressed: compressed.into(),
            message: message.into(),
            after,
        };
        let message = inflated.message.clone();
        self.remember_window(after, bytes);
        self.remember_message(key, inflated);
        *window = after;
        Ok(message)
    }

    fn remember_message(&mut self, key: u64, inflated: Inflated) {
        let weight = |inflated: &Inflated| inflated.compressed.len() + inflated.message.len();
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

    fn remember_window(&mut self, id: WindowId, bytes: Vec<u8>) {
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

    /// Messages with context, and where the first that refers to nothing earlier comes again.
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
    fn viewers_share_what_they_were_all_sent() {
        let mut windows = Windows::default();
        let mut viewers = [WindowId::EMPTY; 20];
        for (text, compressed) in stream(50, 1000) {
            let mut read = Vec::new();
            for window in &mut viewers {
                read.push(windows.read(window, &compressed).unwrap());
            }
            assert!(read.iter().all(|message| Rc::ptr_eq(message, &read[0])));
            assert_eq!(*read[0], *text.as_bytes());
        }
        assert_eq!(windows.messages.len(), 50, "each was inflated once");
    }

    #[test]
    fn who_enters_too_early_is_found_out_whatever_others_could_read() {
        let mut windows = Windows::default();
        let (mut early, mut late) = (WindowId::EMPTY, WindowId::EMPTY);
        let stream = stream(20, 10);
        for (_, compressed) in &stream[..5] {
            windows.read(&mut early, compressed).unwrap();
        }
        assert!(windows.read(&mut late, &stream[4].1).is_err());
        let mut late = WindowId::EMPTY;
        for (text, compressed) in &stream[10..] {
            assert_eq!(*windows.read(&mut late, compressed).unwrap(), *text.as_bytes());
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut windows = Windows::default();
        let mut window = WindowId::EMPTY;
        for (_, compressed) in stream(MAX_MESSAGES + 100, 64) {
            windows.read(&mut window, &compressed).unwrap();
        }
        assert_eq!((windows.messages.len(), windows.windows.len()), (MAX_MESSAGES, MAX_WINDOWS));
        assert!(windows.bytes <= MAX_BYTES);
    }
}
