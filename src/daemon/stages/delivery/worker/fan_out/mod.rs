//! The fast path: a fan-out writes a run of frames to each viewer of a stream, with one system call
//! per viewer and the same bytes for all viewers of a form.
//!
//! Writing to thousands of viewers takes tens of milliseconds. Comments must not wait that long to
//! be read, nor acks to be written, so a fan-out is cut into slices with the rest of the event loop
//! in between. Streams that are written at the same time alternate, slice by slice.

use std::time::{Duration, Instant};

use super::Worker;
use super::echo::Echo;
use super::run::{Run, RunBytes};
use super::viewer::{Flags, Viewer, WriteCounts};

/// Time that the worker writes before it returns to the event loop. Each turn of the loop reads
/// comments and answers them together; shorter slices would make these batches smaller.
pub(super) const SLICE: Duration = Duration::from_millis(5);

/// Viewers written between two readings of the clock.
const STRIDE: usize = 16;

/// A fan-out that has begun.
#[derive(Debug)]
pub(super) struct FanOut {
    run: Run,
    /// Bytes for viewers that are up to date; `None` if the run cannot be sent unchanged.
    bytes: Option<RunBytes>,
    /// Comments that the run leaves out, for their senders once it is written.
    echoes: Vec<Echo>,
    began: Instant,
    /// Time spent writing, without the pauses between slices.
    spent: Duration,
    visits: u64,
    held_up: u64,
    /// Viewers written since their delay was last recorded.
    completed: u64,
}

/// Result of writing a run to one viewer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FastWrite {
    Complete,
    /// The socket took this many frames, the last perhaps in part. The slow path continues.
    Partial(usize),
    /// The viewer is not up to date: the slow path serves it.
    SlowPath,
    SocketError,
}

impl FanOut {
    pub(super) fn new(run: Run, bytes: Option<RunBytes>, echoes: Vec<Echo>, now: Instant) -> Self {
        Self {
            run,
            bytes,
            echoes,
            began: now,
            spent: Duration::ZERO,
            visits: 0,
            held_up: 0,
            completed: 0,
        }
    }

    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    /// Writes the run with one system call, if the viewer was sent everything before it and nothing
    /// keeps it off the fast path.
    pub(super) fn write(&mut self, viewer: &mut Viewer, counts: &mut WriteCounts) -> FastWrite {
        let run = &self.run;
        let up_to_date = viewer.flags.none()
            && viewer.cursor == run.ordered.start
            && viewer.control_cursor == run.control.start
            && viewer.seq == run.seq_before
            && !run.is_personal_for(viewer.identity.as_ref());
        let Some(run_bytes) = self.bytes.as_mut().filter(|_| up_to_date) else {
            return FastWrite::SlowPath;
        };
        let joined = run_bytes.for_viewer(viewer.form, viewer.window);
        // Frames of comments that only their authors are shown have no bytes for this viewer.
        let written =
            if joined.bytes.is_empty() { Ok(0) } else { viewer.outlet.write_one(&joined.bytes) };
        match written {
            Err(_) => FastWrite::SocketError,
            Ok(taken) if taken == joined.bytes.len() => {
                viewer.cursor = run.ordered.end;
                viewer.control_cursor = run.control.end;
                viewer.seq = run.seq_after;
                viewer.window = joined.window.unwrap_or(viewer.window);
                counts.frames += run_bytes.frames.len() as u64;
                counts.comments += run.comments;
                counts.bytes += taken as u64;
                self.completed += 1;
                FastWrite::Complete
            }
            Ok(taken) => FastWrite::Partial(viewer.advance(&run_bytes.frames, taken, counts)),
        }
    }
}

impl Worker {
    /// Puts a stream with pending frames into the fan-out queue.
    pub(super) fn queue_fan_out(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        if !std::mem::replace(&mut stream.queued, true) {
            self.fan_out_queue.push_back(key);
        }
    }

    /// Writes for one slice to the streams whose frames are not held back.
    pub(super) fn fan_out_ready_streams(&mut self) {
        let began = Instant::now();
        for _ in 0..self.fan_out_queue.len() {
            let Some(key) = self.fan_out_queue.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if !stream.fan_out_delay(began).is_zero() {
                self.fan_out_queue.push_back(key);
                continue;
            }
            let until = began + self.fan_out_slice;
            self.fan_out_until(key, Some(until));
            let stream = &mut self.streams[key];
            stream.queued = stream.has_pending_fan_out();
            if stream.queued {
                self.fan_out_queue.push_back(key);
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Writes the pending frames of all streams without interruption.
    pub(super) fn fan_out_all_now(&mut self) {
        for key in std::mem::take(&mut self.fan_out_queue) {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.queued = false;
                self.fan_out_now(key);
            }
        }
    }

    /// Returns the time until the next stream may be written; `None` if no frames are pending.
    pub(super) fn until_next_fan_out(&self, now: Instant) -> Option<Duration> {
        let pending = self.fan_out_queue.iter().filter_map(|key| self.streams.get(*key));
        pending.map(|stream| stream.fan_out_delay(now)).min()
    }

    /// Writes the pending frames of a stream without interruption.
    pub(super) fn fan_out_now(&mut self, key: usize) {
        while self.streams[key].has_pending_fan_out() {
            self.fan_out_until(key, None);
        }
    }

    /// Resumes or begins the fan-out of a stream, until all viewers are written or the time is
    /// over.
    fn fan_out_until(&mut self, key: usize, until: Option<Instant>) {
        let resumed = Instant::now();
        let Some(mut fan_out) = self.streams[key].resume_fan_out(resumed) else { return };
        let mut counts = WriteCounts::default();
        let mut finished = false;
        while !finished {
            finished = self.write_stride(key, &mut fan_out, &mut counts);
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        if let Some(bytes) = &fan_out.bytes {
            self.write_times().record(&bytes.frames, std::mem::take(&mut fan_out.completed));
        }
        self.streams[key].meter.add_bytes(counts.bytes);
        self.add_write_counts(counts);
        fan_out.spent += resumed.elapsed();
        if finished {
            self.finish_fan_out(key, fan_out);
        } else {
            self.streams[key].suspend_fan_out(fan_out);
        }
    }

    /// Writes to the next few viewers. Returns true after the last one.
    fn write_stride(&mut self, key: usize, fan_out: &mut FanOut, counts: &mut WriteCounts) -> bool {
        let now_s = self.now_s();
        for _ in 0..STRIDE {
            let Some(slot) = self.streams[key].viewers.next_unvisited() else { return true };
            fan_out.visits += 1;
            let written = fan_out.write(&mut self.viewers[slot], counts);
            match written {
                FastWrite::Complete => continue,
                FastWrite::SocketError => {
                    self.remove_lost(slot);
                    continue;
                }
                FastWrite::Partial(frames) => {
                    let taken = fan_out.bytes.iter().flat_map(|bytes| &bytes.frames[..frames]);
                    self.write_times().record(taken, 1);
                }
                FastWrite::SlowPath => {}
            }
            if !self.waits_for_socket(slot, key) {
                self.write_pending(slot);
            }
            let viewer = self.viewers.get(slot);
            fan_out.held_up += u64::from(viewer.is_some_and(|v| v.is_held_up(now_s)));
        }
        false
    }

    fn finish_fan_out(&mut self, key: usize, fan_out: FanOut) {
        let stream = &mut self.streams[key];
        stream.meter.add_visits(fan_out.visits, fan_out.held_up);
        stream.coalescing.record_fan_out(fan_out.began, fan_out.spent, &self.parts.delivery);
        for echo in fan_out.echoes {
            self.send_echo(&echo);
        }
    }

    /// Reports whether nothing can be written to a viewer before an event says that its socket has
    /// room. Trying with every frame would make a viewer that does not read cost more than others.
    fn waits_for_socket(&self, slot: usize, key: usize) -> bool {
        let viewer = &self.viewers[slot];
        let control = &self.streams[key].control;
        viewer.flags.has(Flags::BLOCKED) && viewer.control_cursor >= control.first()
    }
}

#[cfg(test)]
mod tests;
