//! The slow path: writes everything that is pending for one viewer, in order. It serves viewers
//! that are behind and private messages; all other frames are written by the fan-out.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Worker;
use super::outlet::MAX_SLICES;
use super::run::FrameBuffers;
use super::stream::Stream;
use super::viewer::{Flags, Viewer, WriteCounts};
use super::write_times::WriteTimes;
use crate::daemon::stages::delivery::frame::Frame;
use crate::protocol::CloseCode;
use crate::protocol::comment::SequencedComment;
use crate::protocol::message::ServerMessage;

/// Result of writing everything that is pending for a viewer.
#[derive(Debug, PartialEq, Eq)]
enum WriteOutcome {
    /// Nothing is left.
    Done,
    /// The socket takes no more for now.
    Blocked,
    /// Nothing is left here; the viewer needs the next history page.
    NeedsPage,
    /// The viewer missed deletions and must reconnect.
    SlowConsumer,
    SocketError,
}

impl Worker {
    /// Writes everything that is pending for one viewer: its outbox, then deletions, then comments.
    pub(super) fn write_pending(&mut self, slot: usize) {
        let now_s = self.now_s();
        let viewer = &mut self.viewers[slot];
        viewer.flags.clear(Flags::DEFERRED);
        let was_blocked = viewer.flags.has(Flags::BLOCKED);
        let stream = self.streams.get(viewer.stream as usize);
        let mut counts = WriteCounts::default();
        let times = WriteTimes {
            latencies: &self.latencies,
            late: &self.metrics.comments_late,
            clock: &*self.parts.clock,
        };
        let outcome = write_pending(viewer, stream, &times, &mut counts);
        let is_blocked = outcome == WriteOutcome::Blocked;
        if is_blocked {
            viewer.flags.set(Flags::BLOCKED);
            if !was_blocked || counts.bytes > 0 {
                viewer.record_full_socket(now_s);
            }
            if let Some(stream) = stream
                && !viewer.flags.has(Flags::CLOSING)
            {
                record_behind(viewer, stream);
            }
        } else if was_blocked {
            // Its socket took everything, which answers a ping that could not be sent.
            viewer.record_full_socket(now_s);
            viewer.flags.clear(Flags::BLOCKED);
        }
        self.slow_viewers += u64::from(is_blocked && !was_blocked);
        self.slow_viewers -= u64::from(was_blocked && !is_blocked);
        if let Some(stream) = stream {
            stream.meter.add_bytes(counts.bytes);
        }
        self.add_write_counts(counts);
        match outcome {
            WriteOutcome::Done => self.end_if_closing(slot),
            WriteOutcome::Blocked => {}
            WriteOutcome::NeedsPage => self.request_page(slot),
            WriteOutcome::SlowConsumer => self.close(slot, CloseCode::SlowConsumer),
            WriteOutcome::SocketError => self.remove_lost(slot),
        }
    }

    pub(super) fn add_delivered_comments(&mut self, comments: u64) {
        self.add_write_counts(WriteCounts { comments, ..WriteCounts::default() });
    }

    pub(super) fn add_write_counts(&mut self, counts: WriteCounts) {
        self.gauges.frames.fetch_add(counts.frames, Ordering::Relaxed);
        self.gauges.delivered.fetch_add(counts.comments, Ordering::Relaxed);
        self.gauges.bytes_out.fetch_add(counts.bytes, Ordering::Relaxed);
        self.metrics.comments_delivered.inc_by(counts.comments);
        self.metrics.comments_skipped.inc_by(counts.skipped);
        self.metrics.bytes_out.inc_by(counts.bytes);
    }
}

/// Remembers how many comments the ring had seen when the viewer fell behind.
fn record_behind(viewer: &mut Viewer, stream: &Stream) {
    let is_in_ring = viewer.cursor >= stream.ordered.first();
    let before = stream.ordered.comments_before(viewer.cursor);
    let behind_since = &mut viewer.extras().behind_since;
    if behind_since.is_none() || is_in_ring {
        *behind_since = Some(before);
    }
}

fn write_pending(
    viewer: &mut Viewer,
    stream: Option<&Stream>,
    times: &WriteTimes<'_>,
    counts: &mut WriteCounts,
) -> WriteOutcome {
    loop {
        match viewer.flush_outbox(&mut counts.bytes) {
            Err(_) => return WriteOutcome::SocketError,
            Ok(false) => return WriteOutcome::Blocked,
            Ok(true) => {}
        }
        let flags = viewer.flags;
        let Some(stream) = stream else { return WriteOutcome::Done };
        if flags.has(Flags::CLOSING) || flags.has(Flags::JOINING) {
            return WriteOutcome::Done;
        }
        if viewer.control_cursor < stream.control.first() {
            return WriteOutcome::SlowConsumer;
        }
        if pass_personal_deletions(viewer, stream) {
            continue;
        }
        let follows = !flags.has(Flags::PAUSED) && !flags.has(Flags::CATCHING_UP);
        if follows && skip_or_trim_next(viewer, stream, counts) {
            continue;
        }
        let frames = next_frames(viewer, stream, follows);
        if frames.is_empty() {
            if follows && let Some(more) = &mut viewer.extras {
                more.behind_since = None;
            }
            let needs_page = flags.has(Flags::CATCHING_UP) && !flags.has(Flags::PAUSED);
            return if needs_page { WriteOutcome::NeedsPage } else { WriteOutcome::Done };
        }
        let gathered = FrameBuffers::new(frames.iter().copied(), viewer.form, viewer.window);
        match viewer.outlet.write(gathered.buffers.iter().copied()) {
            Err(_) => return WriteOutcome::SocketError,
            Ok(taken) => {
                let passed = viewer.advance(frames.iter().copied(), taken, counts);
                times.record(frames[..passed].iter().copied(), 1);
                // A partial write does not mean that the socket is full: a TLS session takes what
                // its buffer holds. Only a refused write is followed by an event when there is
                // room.
                if taken == 0 && gathered.bytes > 0 {
                    return WriteOutcome::Blocked;
                }
            }
        }
    }
}

/// Passes deletions that this viewer is not sent, up to the next one that it is sent. Returns true
/// if that one is for this viewer only, and was queued: its frame has no bytes for viewers.
fn pass_personal_deletions(viewer: &mut Viewer, stream: &Stream) -> bool {
    let audience = stream.audience(viewer);
    while let Some(frame) = stream.control.get(viewer.control_cursor) {
        if frame.is_kept_from(audience.user) {
            viewer.control_cursor += 1;
            continue;
        }
        if !frame.is_personal_for(audience) {
            return false;
        }
        viewer.control_cursor += 1;
        viewer.enqueue(frame.deletion_bytes(viewer.form).clone());
        return true;
    }
    false
}

/// Handles a next frame that cannot be sent unchanged: the viewer was sent all or part of it
/// already, it is shown a comment of its own in it, it comes after a hole, or it has left the ring.
/// Returns true if the viewer has moved on.
fn skip_or_trim_next(viewer: &mut Viewer, stream: &Stream, counts: &mut WriteCounts) -> bool {
    if viewer.cursor < stream.ordered.first() {
        skip_to_head(viewer, stream, counts);
        return true;
    }
    let Some(frame) = stream.ordered.get(viewer.cursor) else { return false };
    let Some(batch) = frame.batch_for(stream.audience(viewer)) else { return false };
    if batch.to_seq <= viewer.seq {
        viewer.cursor += 1;
        return true;
    }
    if batch.from_seq > viewer.seq + 1 {
        viewer.enqueue_gap(stream.stream_id, stream.epoch, batch.from_seq - 1);
        return true;
    }
    if batch.from_seq <= viewer.seq || matches!(batch, Cow::Owned(_)) {
        let from_seq = viewer.seq + 1;
        let is_left = |comment: &&SequencedComment| comment.seq >= from_seq;
        counts.comments += batch.comments.iter().filter(is_left).count() as u64;
        viewer.pass_frame(frame);
        viewer.seq = batch.to_seq;
        let form = viewer.form;
        let (bytes, window) = match batch {
            Cow::Borrowed(batch) => frame.encode_rest(batch, from_seq, form, viewer.window),
            Cow::Owned(own) => frame.encode_instead(own.rest_from(from_seq), form, viewer.window),
        };
        viewer.window = window;
        viewer.enqueue(bytes);
        return true;
    }
    false
}

fn skip_to_head(viewer: &mut Viewer, stream: &Stream, counts: &mut WriteCounts) {
    let total = stream.ordered.comments_before(stream.ordered.end());
    let oldest = stream.ordered.comments_before(stream.ordered.first());
    let behind_since = viewer.extras.as_ref().and_then(|more| more.behind_since);
    counts.skipped += total - behind_since.unwrap_or(oldest).min(total);
    viewer.cursor = stream.ordered.end();
    if viewer.seq < stream.covered_to {
        viewer.enqueue_gap(stream.stream_id, stream.epoch, stream.covered_to);
    }
    // Apart from comments it missed updates of state, so the current state makes up for them.
    let rate = stream.sample_rate;
    let throttle =
        ServerMessage::ThrottleNotification { sample_rate: rate, message: rate.notice() };
    let presence = ServerMessage::Presence { viewers: stream.viewer_count };
    for message in
        [Some(throttle), Some(presence), stream.reactions_message()].into_iter().flatten()
    {
        let bytes = viewer.form.encode_private(&message);
        viewer.enqueue(bytes);
    }
}

/// Returns the frames that can be sent unchanged: deletions, then frames up to the first hole.
fn next_frames<'a>(viewer: &Viewer, stream: &'a Stream, follows: bool) -> Vec<&'a Arc<Frame>> {
    let audience = stream.audience(viewer);
    let control = (viewer.control_cursor..stream.control.end())
        .filter_map(|index| stream.control.get(index))
        .take_while(|frame| !frame.is_kept_from(audience.user) && !frame.is_personal_for(audience))
        .take(MAX_SLICES);
    let mut frames: Vec<_> = control.collect();
    if !follows {
        return frames;
    }
    let mut seq = viewer.seq;
    for index in viewer.cursor..stream.ordered.end() {
        let Some(frame) = stream.ordered.get(index) else { break };
        if frame.is_personal_for(audience) {
            break;
        }
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
