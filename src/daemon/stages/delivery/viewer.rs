//! One viewer: a socket, flags, cursors. Everything an idle viewer costs is in this file.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::deflate::InWindow;
use super::frame::Form;
use crate::daemon::base::handoff::Permit;
use crate::net::Transport;
use crate::net::websocket::FrameReader;
use crate::protocol::message::ServerMessage;
use crate::protocol::{Identity, Seq, StreamPosition};

/// Slices handed to one system call at most.
pub(super) const MAX_SLICES: usize = 64;

/// A time that does not come.
pub(super) const NEVER_S: u32 = u32::MAX;

/// A viewer whose socket has taken nothing for so many seconds does not read at all, which says
/// nothing about the node.
const STUCK_AFTER_S: u32 = 30;

/// What keeps a viewer off the fast path; none set is the common case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// The socket takes no more for now, or the outbox holds something.
    pub(super) const BLOCKED: u8 = 1;
    /// The viewer asked for no comments.
    pub(super) const PAUSED: u8 = 2;
    /// Not welcomed yet: the stream is not ready, or the token is missing.
    pub(super) const JOINING: u8 = 4;
    /// Is being handed what it missed.
    pub(super) const CATCHING_UP: u8 = 8;
    /// `bye` is on its way; nothing else follows.
    pub(super) const CLOSING: u8 = 16;
    /// Must authenticate before it is welcomed.
    pub(super) const MUST_AUTH: u8 = 32;
    /// The outbox holds something that is written before this turn of the worker ends.
    pub(super) const OWED: u8 = 64;

    pub(super) fn none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    pub(super) fn clear(&mut self, flag: u8) {
        self.0 &= !flag;
    }
}

#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) transport: Transport,
    pub(super) generation: u32,
    /// Key of its stream in the worker, and its place among the stream's members.
    pub(super) stream: u32,
    pub(super) member: u32,
    /// Next frame of the stream's rings.
    pub(super) cursor: u64,
    pub(super) control_cursor: u64,
    /// It was sent everything up to here.
    pub(super) seq: Seq,
    /// How much of the stream's shared deflate window it has.
    pub(super) window: InWindow,
    /// When it last sent anything, in seconds of the worker's clock.
    pub(super) seen_s: u32,
    /// When its token ends, by the same clock; [`NEVER_S`] without one.
    pub(super) expires_s: u32,
    pub(super) form: Form,
    pub(super) flags: Flags,
    /// Bad messages in a row.
    pub(super) errors: u16,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) permit: Option<Box<dyn Permit>>,
    pub(super) frames: FrameReader,
    pub(super) more: Option<Box<More>>,
}

/// What only some viewers need, some of the time.
#[derive(Debug, Default)]
pub(super) struct More {
    /// What is written before anything else: the rest of a frame the socket did not take whole, and
    /// private messages. Bounded by `delivery.outbox_bytes` and one frame.
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
    /// How much was put there that is not private: a page of what the viewer missed, the rest of a
    /// frame. Kept until the outbox is empty.
    shared_bytes: usize,
    /// What was read along with the handshake.
    early_bytes: Vec<u8>,
    /// What the viewer had received before it came back.
    pub(super) resume_from: Option<StreamPosition>,
    /// A page of what it missed is being fetched.
    pub(super) page_requested: bool,
    /// Comments its stream's ring had seen when it stopped following.
    pub(super) behind_since: Option<u64>,
    /// When its full socket last took anything, in seconds of the worker's clock.
    took_s: u32,
    /// Reactions within one second: the second, and how many.
    pub(super) reactions: (u32, u32),
}

impl More {
    fn is_idle(&self) -> bool {
        self.outbox.is_empty()
            && self.resume_from.is_none()
            && !self.page_requested
            && self.behind_since.is_none()
            && self.reactions.1 == 0
            && self.early_bytes.is_empty()
    }
}

impl Viewer {
    /// Keeps what was read along with the handshake until the viewer is listened to.
    pub(super) fn early_bytes(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.more().early_bytes = bytes;
        }
    }

    pub(super) fn take_early_bytes(&mut self) -> Vec<u8> {
        self.more.as_mut().map(|more| std::mem::take(&mut more.early_bytes)).unwrap_or_default()
    }

    /// Says that everything up to `to_seq` is skipped.
    pub(super) fn tell_gap(&mut self, to_seq: Seq) {
        let gap = ServerMessage::Gap { from_seq: self.seq + 1, to_seq };
        let gap = self.form.encode_private(&gap);
        self.enqueue(gap);
        self.seq = to_seq;
    }

    /// Notes that its socket is full, though it has just taken something.
    pub(super) fn took_and_full(&mut self, now_s: u32) {
        self.more().took_s = now_s;
    }

    /// Whether its socket is full, and is read from, too slowly.
    pub(super) fn is_held_up(&self, now_s: u32) -> bool {
        let took_s = self.more.as_ref().map_or(0, |more| more.took_s);
        self.flags.has(Flags::BLOCKED) && now_s.saturating_sub(took_s) < STUCK_AFTER_S
    }

    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Puts bytes behind what waits.
    pub(super) fn enqueue(&mut self, bytes: Bytes) {
        let more = self.more();
        more.outbox_bytes += bytes.len();
        more.outbox.push_back(bytes);
    }

    /// Puts the rest of a frame before what waits: a frame once begun must be finished.
    pub(super) fn enqueue_rest(&mut self, rest: Bytes) {
        let more = self.more();
        more.outbox_bytes += rest.len();
        more.shared_bytes += rest.len();
        more.outbox.push_front(rest);
    }

    /// Puts a frame of a page behind what waits: bounded by the page, not by the bound of private
    /// messages, because the next page is asked for only when this one is written.
    pub(super) fn enqueue_page(&mut self, bytes: Bytes) {
        self.more().shared_bytes += bytes.len();
        self.enqueue(bytes);
    }

    /// What waits, but for the allowance of a page and a frame.
    pub(super) fn private_bytes(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.outbox_bytes.saturating_sub(more.shared_bytes))
    }

    /// Writes what waits; false while something is left. Counts bytes in `written`.
    pub(super) fn flush_outbox(&mut self, written: &mut u64) -> io::Result<bool> {
        if !self.transport.flush()? {
            return Ok(false);
        }
        let Some(more) = &mut self.more else { return Ok(true) };
        while !more.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = more.outbox.len().min(MAX_SLICES);
            for (slice, bytes) in slices.iter_mut().zip(&more.outbox) {
                *slice = IoSlice::new(bytes);
            }
            let taken = self.transport.write(&slices[..count])?;
            if taken == 0 {
                return Ok(false);
            }
            *written += taken as u64;
            more.outbox_bytes -= taken;
            let mut left = taken;
            while left > 0 {
                let Some(front) = more.outbox.front_mut() else { break };
                let step = left.min(front.len());
                front.advance(step);
                left -= step;
                if front.is_empty() {
                    more.outbox.pop_front();
                }
            }
        }
        more.shared_bytes = 0;
        if more.is_idle() {
            self.more = None;
        }
        self.transport.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_viewer_is_small() {
        assert!(size_of::<Viewer>() <= 128, "{} bytes", size_of::<Viewer>());
    }
}
