//! The pump: all there is for one viewer, in order. For who is not up to date, and for what is private;
//! everybody else is written by the fan-out alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Worker;
use super::forms::Piece;
use crate::daemon::stages::delivery::frame::{Frame, Lane};
use crate::daemon::stages::delivery::stream::Stream;
use crate::daemon::stages::delivery::viewer::{Flags, MAX_SLICES, Viewer};
use crate::protocol::CloseCode;
use crate::protocol::message::ServerMessage;

/// How pumping a viewer ended.
#[derive(Debug, PartialEq, Eq)]
enum Pumped {
    /// Everything there is was written.
    Idle,
    /// The socket takes no more for now.
    Blocked,
    /// Everything at hand was written; a page of the past is wanted.
    NeedsPage,
    /// Deletions were lost to it: it must start anew.
    SlowConsumer,
    /// The socket is broken.
    Failed,
}

/// What was written, for the counters.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) frames: u64,
    pub(super) comments: u64,
    pub(super) bytes: u64,
    skipped: u64,
}

impl Worker {
    /// Writes everything there is for one viewer, in order: what was begun, private messages,
    /// deletions, comments.
    pub(super) fn pump(&mut self, slot: usize) {
        let now_s = self.now_s();
        let viewer = &mut self.viewers[slot];
        viewer.flags.clear(Flags::OWED);
        let was_blocked = viewer.flags.has(Flags::BLOCKED);
        let stream = self.streams.get(viewer.stream as usize);
        let mut tally = Tally::default();
        let pumped = pump(viewer, stream, &mut tally);
        let is_blocked = pumped == Pumped::Blocked;
        if is_blocked {
            viewer.flags.set(Flags::BLOCKED);
            if !was_blocked || tally.bytes > 0 {
                viewer.took_and_full(now_s);
            }
            if let Some(stream) = stream
                && !viewer.flags.has(Flags::CLOSING)
            {
                let (cursor, first) = (viewer.cursor, stream.ordered.first());
                let before = stream.ordered.comments_before(cursor);
                let behind_since = &mut viewer.more().behind_since;
                if behind_since.is_none() || cursor >= first {
                    *behind_since = Some(before);
                }
            }
        } else {
            viewer.flags.clear(Flags::BLOCKED);
        }
        self.slow_viewers += u64::from(is_blocked && !was_blocked);
        self.slow_viewers -= u64::from(was_blocked && !is_blocked);
        if let Some(stream) = stream {
            stream.meter.add_bytes(tally.bytes);
        }
        self.tally(tally);
        match pumped {
            Pumped::Idle | Pumped::Blocked => {}
            Pumped::NeedsPage => self.request_page(slot),
            Pumped::SlowConsumer => self.close(slot, CloseCode::SlowConsumer),
            Pumped::Failed => self.lose(slot),
        }
    }

    pub(super) fn tally_delivered(&mut self, comments: u64) {
        self.tally(Tally { comments, ..Tally::default() });
    }

    pub(super) fn tally(&mut self, tally: Tally) {
        self.gauges.frames.fetch_add(tally.frames, Ordering::Relaxed);
        self.gauges.delivered.fetch_add(tally.comments, Ordering::Relaxed);
        self.gauges.bytes_out.fetch_add(tally.bytes, Ordering::Relaxed);
        self.metrics.comments_delivered.inc_by(tally.comments);
        self.metrics.comments_skipped.inc_by(tally.skipped);
        self.metrics.bytes_out.inc_by(tally.bytes);
    }
}

/// Moves a viewer's cursors over `taken` bytes of `frames`. A frame that was taken in part has been
/// begun: its rest goes to the front of the outbox.
pub(super) fn advance<'a>(
    viewer: &mut Viewer,
    frames: impl IntoIterator<Item = &'a Arc<Frame>>,
    taken: usize,
    tally: &mut Tally,
) {
    tally.bytes += taken as u64;
    let mut left = taken;
    for frame in frames {
        if left == 0 {
            return;
        }
        let (bytes, window) = frame.bytes(viewer.form, viewer.window);
        pass(viewer, frame);
        viewer.window = window;
        tally.frames += 1;
        tally.comments += frame.comments();
        if left < bytes.len() {
            let rest = bytes.slice(left..);
            viewer.enqueue_rest(rest);
            return;
        }
        left -= bytes.len();
    }
}

/// Moves a viewer's cursor over one frame.
fn pass(viewer: &mut Viewer, frame: &Frame) {
    match frame.lane() {
        Lane::Control => viewer.control_cursor += 1,
        Lane::Ordered => viewer.cursor += 1,
    }
    if let Some(batch) = frame.batch() {
        viewer.seq = viewer.seq.max(batch.to_seq);
    }
}

fn pump(viewer: &mut Viewer, stream: Option<&Stream>, tally: &mut Tally) -> Pumped {
    loop {
        match viewer.flush_outbox(&mut tally.bytes) {
            Err(_) => return Pumped::Failed,
            Ok(false) => return Pumped::Blocked,
            Ok(true) => {}
        }
        let flags = viewer.flags;
        let Some(stream) = stream else { return Pumped::Idle };
        if flags.has(Flags::CLOSING) || flags.has(Flags::JOINING) {
            return Pumped::Idle;
        }
        if viewer.control_cursor < stream.control.first() {
            return Pumped::SlowConsumer;
        }
        let follows = !flags.has(Flags::PAUSED) && !flags.has(Flags::CATCHING_UP);
        if follows && catch_on(viewer, stream, tally) {
            continue;
        }
        let frames = next_frames(viewer, stream, follows);
        if frames.is_empty() {
            if follows && let Some(more) = &mut viewer.more {
                more.behind_since = None;
            }
            let needs_page = flags.has(Flags::CATCHING_UP) && !flags.has(Flags::PAUSED);
            return if needs_page { Pumped::NeedsPage } else { Pumped::Idle };
        }
        let piece = Piece::new(frames.iter().copied(), viewer.form, viewer.window);
        match viewer.transport.write(&piece.slices) {
            Err(_) => return Pumped::Failed,
            Ok(taken) => {
                advance(viewer, frames.iter().copied(), taken, tally);
                // Less than all is not yet "no more": a TLS session takes what its buffer holds at a
                // time, and only a refused write brings an event when there is room again.
                if taken == 0 && piece.bytes > 0 {
                    return Pumped::Blocked;
                }
            }
        }
    }
}

/// Deals with a next frame that cannot be sent as it is: one the viewer has had, one it has had in
/// part, one after a hole, one that is gone. True if it did something.
fn catch_on(viewer: &mut Viewer, stream: &Stream, tally: &mut Tally) -> bool {
    if viewer.cursor < stream.ordered.first() {
        skip_to_newest(viewer, stream, tally);
        return true;
    }
    let Some(frame) = stream.ordered.get(viewer.cursor) else { return false };
    let Some(batch) = frame.batch() else { return false };
    if batch.to_seq <= viewer.seq {
        viewer.cursor += 1;
        return true;
    }
    if batch.from_seq > viewer.seq + 1 {
        viewer.tell_gap(batch.from_seq - 1);
        return true;
    }
    if batch.from_seq <= viewer.seq {
        let mut rest = batch.clone();
        rest.from_seq = viewer.seq + 1;
        rest.comments.retain(|comment| comment.seq > viewer.seq);
        tally.comments += rest.comments.len() as u64;
        let bytes = viewer.form.encode_private(&ServerMessage::Comments(rest));
        viewer.enqueue(bytes);
        pass(viewer, frame);
        return true;
    }
    false
}

fn skip_to_newest(viewer: &mut Viewer, stream: &Stream, tally: &mut Tally) {
    let total = stream.ordered.comments_before(stream.ordered.end());
    let oldest = stream.ordered.comments_before(stream.ordered.first());
    let behind_since = viewer.more.as_ref().and_then(|more| more.behind_since);
    tally.skipped += total - behind_since.unwrap_or(oldest).min(total);
    viewer.cursor = stream.ordered.end();
    if viewer.seq < stream.covered_to {
        viewer.tell_gap(stream.covered_to);
    }
    // What it missed besides comments is a matter of state: it is told how things stand.
    let rate = stream.sample_rate;
    let throttle =
        ServerMessage::ThrottleNotification { sample_rate: rate, message: rate.notice() };
    let presence = ServerMessage::Presence { viewers: stream.viewers };
    for message in
        [Some(throttle), Some(presence), stream.reactions_message()].into_iter().flatten()
    {
        let bytes = viewer.form.encode_private(&message);
        viewer.enqueue(bytes);
    }
}

/// What can be written as it is: deletions first, then frames as far as their ranges join.
fn next_frames<'a>(viewer: &Viewer, stream: &'a Stream, follows: bool) -> Vec<&'a Arc<Frame>> {
    let control = (viewer.control_cursor..stream.control.end())
        .filter_map(|index| stream.control.get(index))
        .take(MAX_SLICES);
    let mut frames: Vec<_> = control.collect();
    if !follows {
        return frames;
    }
    let mut seq = viewer.seq;
    for index in viewer.cursor..stream.ordered.end() {
        let Some(frame) = stream.ordered.get(index) else { break };
        if let Some(batch) = frame.batch() {
            if batch.from_seq != seq + 1 {
                break;
            }
            seq = batch.to_seq;
        }
        if frames.len() == MAX_SLICES {
            break;
        }
        frames.push(frame);
    }
    frames
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod window_tests;
