//! One viewer: a way out, flags and cursors. Everything that an idle viewer costs is in this file.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::outlet::Outlet;

use crate::daemon::base::handoff::{IssuerKeyId, Permit};
use crate::daemon::stages::delivery::deflate::WindowPosition;
use crate::daemon::stages::delivery::form::Form;
use crate::daemon::stages::delivery::frame::{Frame, Lane};
use crate::daemon::stages::delivery::turns::ViewerTurns;
use crate::net::websocket::FrameReader;
use crate::protocol::admin::TransportKind;
use crate::protocol::{Epoch, Identity, Seq, StreamId, StreamPosition, UserId};

/// The expiry time of a viewer without a token.
pub(super) const NEVER_S: u32 = u32::MAX;

/// A viewer whose socket has taken nothing for this long does not read at all. That says nothing
/// about the load of the node.
const STUCK_AFTER_S: u32 = 30;

/// Reasons that keep a viewer off the fast path. Most viewers have none set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// The socket takes no more for now, or the outbox holds something.
    pub(super) const BLOCKED: u8 = 1;
    /// The viewer asked for no comments.
    pub(super) const PAUSED: u8 = 2;
    /// Not welcomed yet: the stream is not ready, or the token is missing.
    pub(super) const JOINING: u8 = 4;
    /// Is being sent the history that it missed.
    pub(super) const CATCHING_UP: u8 = 8;
    /// `bye` was sent or queued; nothing else follows.
    pub(super) const CLOSING: u8 = 16;
    /// Must authenticate before it is welcomed.
    pub(super) const MUST_AUTH: u8 = 32;
    /// The outbox holds a reply that is written before this turn of the event loop ends.
    pub(super) const DEFERRED: u8 = 64;
    /// Has sent a comment. The only flag that does not keep a viewer off the fast path.
    pub(super) const SENDER: u8 = 128;

    /// Reports whether nothing keeps the viewer off the fast path.
    pub(super) fn none(self) -> bool {
        self.0 & !Self::SENDER == 0
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

/// Written frames, comments and bytes, for the metrics.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct WriteCounts {
    pub(super) frames: u64,
    pub(super) comments: u64,
    pub(super) bytes: u64,
    /// Comments that a viewer missed because it was too slow.
    pub(super) skipped: u64,
}

#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) outlet: Outlet,
    pub(super) generation: u32,
    /// Key of its stream in the worker.
    pub(super) stream: u32,
    /// Position among the viewers of the stream.
    pub(super) list_position: u32,
    /// Next frame in the stream's ring of ordered frames.
    pub(super) cursor: u64,
    /// Next frame in the stream's ring of control frames.
    pub(super) control_cursor: u64,
    /// Everything up to here was sent.
    pub(super) seq: Seq,
    /// Position in the stream's shared deflate window.
    pub(super) window: WindowPosition,
    /// The time it last sent anything, in seconds of the worker's clock.
    pub(super) seen_s: u32,
    /// The time its token expires, by the same clock; [`NEVER_S`] without a token.
    pub(super) expires_s: u32,
    /// The key that signed its token, if the issuer may withdraw it.
    pub(super) issuer_key: Option<IssuerKeyId>,
    pub(super) form: Form,
    pub(super) kind: TransportKind,
    pub(super) flags: Flags,
    /// permessage-deflate was agreed, so the viewer may compress what it sends.
    pub(super) may_compress: bool,
    /// Bad messages in a row.
    pub(super) errors: u16,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) permit: Option<Box<dyn Permit>>,
    pub(super) frames: FrameReader,
    pub(super) extras: Option<Box<ViewerExtras>>,
}

/// State that only some viewers need, some of the time.
#[derive(Debug, Default)]
pub(super) struct ViewerExtras {
    /// Bytes that are written before anything else: the rest of a frame that the socket took in
    /// part, and private messages. Bounded by `delivery.outbox_bytes` and one frame.
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
    /// The part of the outbox that is not private: a history page, the rest of a frame. Reset
    /// when the outbox is empty.
    shared_bytes: usize,
    /// Bytes read together with the handshake.
    early_bytes: Vec<u8>,
    /// Last position that the viewer received before it reconnected.
    pub(super) resume_from: Option<StreamPosition>,
    /// A history page was requested and has not arrived.
    pub(super) page_requested: bool,
    /// Comments pushed to its stream's ring before the viewer fell behind.
    pub(super) behind_since: Option<u64>,
    /// The time its full socket last took anything, in seconds of the worker's clock.
    last_progress_s: u32,
    pub(super) turns: ViewerTurns,
}

impl ViewerExtras {
    fn is_idle(&self) -> bool {
        self.outbox.is_empty()
            && self.resume_from.is_none()
            && !self.page_requested
            && self.behind_since.is_none()
            && self.turns.is_unused()
            && self.early_bytes.is_empty()
    }
}

impl Viewer {
    /// Returns the user, if it has authenticated.
    pub(super) fn user_id(&self) -> Option<UserId> {
        self.identity.as_ref().map(|identity| identity.user_id)
    }

    /// Keeps bytes read together with the handshake until the viewer is served.
    pub(super) fn keep_early_bytes(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.extras().early_bytes = bytes;
        }
    }

    pub(super) fn take_early_bytes(&mut self) -> Vec<u8> {
        let extras = self.extras.as_mut();
        extras.map(|extras| std::mem::take(&mut extras.early_bytes)).unwrap_or_default()
    }

    /// Skips everything up to `to_seq` and queues the `gap` message that says so.
    pub(super) fn enqueue_gap(&mut self, stream_id: StreamId, epoch: Epoch, to_seq: Seq) {
        let gap = self.form.encode_gap(stream_id, epoch, self.seq + 1, to_seq);
        self.enqueue(gap);
        self.seq = to_seq;
    }

    /// Records that the socket is full but took something just now.
    pub(super) fn record_full_socket(&mut self, now_s: u32) {
        self.extras().last_progress_s = now_s;
    }

    /// Reports whether the socket is full and drains too slowly. A viewer that does not read at all
    /// is not held up, and neither is one behind a pipe: its pace is that of its requests.
    pub(super) fn is_held_up(&self, now_s: u32) -> bool {
        if self.outlet.is_pipe() {
            return false;
        }
        let last_progress_s = self.extras.as_ref().map_or(0, |extras| extras.last_progress_s);
        self.flags.has(Flags::BLOCKED) && now_s.saturating_sub(last_progress_s) < STUCK_AFTER_S
    }

    /// Reports whether the viewer's socket, while it was full, took something in that second or
    /// later. A socket that is not full takes everything at once, which says nothing about the
    /// peer.
    pub(super) fn took_since(&self, second: u32) -> bool {
        let last_progress_s = self.extras.as_ref().map_or(0, |extras| extras.last_progress_s);
        last_progress_s > 0 && last_progress_s >= second
    }

    pub(super) fn extras(&mut self) -> &mut ViewerExtras {
        self.extras.get_or_insert_default()
    }

    /// Appends a private message to the outbox.
    pub(super) fn enqueue(&mut self, bytes: Bytes) {
        let extras = self.extras();
        extras.outbox_bytes += bytes.len();
        extras.outbox.push_back(bytes);
    }

    /// Puts the rest of a frame in front of the outbox: a frame that was begun must be finished.
    fn enqueue_rest(&mut self, rest: Bytes) {
        let extras = self.extras();
        extras.outbox_bytes += rest.len();
        extras.shared_bytes += rest.len();
        extras.outbox.push_front(rest);
    }

    /// Appends a frame of a history page. It does not count as private: the next page is requested
    /// only when this one is written, which bounds it.
    pub(super) fn enqueue_page(&mut self, bytes: Bytes) {
        self.extras().shared_bytes += bytes.len();
        self.enqueue(bytes);
    }

    /// Returns the size of the outbox without history pages and rests of frames.
    pub(super) fn private_bytes(&self) -> usize {
        let extras = self.extras.as_ref();
        extras.map_or(0, |extras| extras.outbox_bytes.saturating_sub(extras.shared_bytes))
    }

    /// Writes the outbox and adds to `written`. Returns false while something is left.
    pub(super) fn flush_outbox(&mut self, written: &mut u64) -> io::Result<bool> {
        if !self.outlet.flush()? {
            return Ok(false);
        }
        let Some(extras) = &mut self.extras else { return Ok(true) };
        while !extras.outbox.is_empty() {
            let taken = self.outlet.write(&extras.outbox)?;
            if taken == 0 {
                return Ok(false);
            }
            *written += taken as u64;
            extras.outbox_bytes -= taken;
            let mut left = taken;
            while left > 0 {
                let Some(front) = extras.outbox.front_mut() else { break };
                let step = left.min(front.len());
                front.advance(step);
                left -= step;
                if front.is_empty() {
                    extras.outbox.pop_front();
                }
            }
        }
        extras.shared_bytes = 0;
        if extras.is_idle() {
            self.extras = None;
        }
        self.outlet.flush()
    }

    /// Moves the cursors past `taken` bytes of `frames`. The rest of a frame that the socket took
    /// in part goes to the front of the outbox. Returns the number of frames taken, that one
    /// included, and those that are not for this viewer.
    pub(super) fn advance<'a>(
        &mut self,
        frames: impl IntoIterator<Item = &'a Arc<Frame>>,
        taken: usize,
        counts: &mut WriteCounts,
    ) -> usize {
        counts.bytes += taken as u64;
        let mut left = taken;
        let mut passed = 0;
        for frame in frames {
            let (bytes, window) = frame.bytes(self.form, self.window);
            if left == 0 && !bytes.is_empty() {
                break;
            }
            passed += 1;
            self.pass_frame(frame);
            self.window = window;
            counts.frames += 1;
            counts.comments += frame.comments();
            if left < bytes.len() {
                let rest = bytes.slice(left..);
                self.enqueue_rest(rest);
                break;
            }
            left -= bytes.len();
        }
        passed
    }

    /// Moves the cursor of the frame's ring past the frame.
    pub(super) fn pass_frame(&mut self, frame: &Frame) {
        match frame.lane() {
            Lane::Control => self.control_cursor += 1,
            Lane::Ordered => self.cursor += 1,
        }
        if let Some(batch) = frame.batch() {
            self.seq = self.seq.max(batch.to_seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_viewer_fits_two_cache_lines() {
        assert!(size_of::<Viewer>() <= 128, "{} bytes", size_of::<Viewer>());
    }
}
