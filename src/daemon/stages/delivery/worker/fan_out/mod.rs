//! Fan-out: a run of frames to each of a stream's viewers, one write each, the same bytes for all of one
//! form.
//!
//! To write to thousands takes tens of milliseconds, and no comment is to wait so long to be read, nor
//! its ack to be written. So a fan-out is cut into slices, between which the worker turns to what else
//! there is. Streams that are written to at the same time take turns, slice by slice.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use super::Worker;
use super::forms::RunForms;
use super::outbound::{Tally, advance};
use crate::daemon::stages::delivery::stream::{Echo, Run, Stream};
use crate::daemon::stages::delivery::viewer::{Flags, MAX_SLICES, Viewer};

/// How long the worker writes before it turns to what else there is. Each turn reads and answers who
/// comments one by one: with less time between two, their comments and answers would gather less.
pub(super) const SLICE: Duration = Duration::from_millis(5);

/// Viewers that are written between two looks at the clock.
const STRIDE: usize = 16;

/// A fan-out that has begun.
#[derive(Debug)]
pub(crate) struct FanOut {
    run: Run,
    /// What who is up to date is written; `None` if the run cannot be sent as it is.
    forms: Option<RunForms>,
    /// Own comments that the run leaves out, for their senders when it is written.
    echoes: Vec<Echo>,
    began: Instant,
    took: Duration,
    turns: u64,
    held_up: u64,
}

/// How writing a run to one viewer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Served {
    Whole,
    /// It is the pump's: not up to date, or its socket is full.
    Aside,
    Broken,
}

impl FanOut {
    /// Takes what waits for fan-out in a stream.
    pub(crate) fn begin(stream: &mut Stream, now: Instant) -> Option<Self> {
        let run = stream.take_run()?;
        stream.members.rewind();
        Some(Self {
            forms: run_forms(stream, &run),
            run,
            echoes: stream.due_echoes(),
            began: now,
            took: Duration::ZERO,
            turns: 0,
            held_up: 0,
        })
    }

    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// The fast path: one write for a viewer that had everything before the run and is not held up.
    pub(super) fn write(&mut self, viewer: &mut Viewer, tally: &mut Tally) -> Served {
        let run = &self.run;
        let up_to_date = viewer.flags.none()
            && viewer.cursor == run.ordered.start
            && viewer.control_cursor == run.control.start
            && viewer.seq == run.seq_before;
        let Some(forms) = self.forms.as_mut().filter(|_| up_to_date) else { return Served::Aside };
        let piece = forms.piece(viewer.form, viewer.window);
        match viewer.transport.write(&[IoSlice::new(&piece.bytes)]) {
            Err(_) => Served::Broken,
            Ok(taken) if taken == piece.bytes.len() => {
                viewer.cursor = run.ordered.end;
                viewer.control_cursor = run.control.end;
                viewer.seq = run.seq_after;
                viewer.window = piece.window.unwrap_or(viewer.window);
                tally.frames += forms.frames.len() as u64;
                tally.comments += run.comments;
                tally.bytes += taken as u64;
                Served::Whole
            }
            Ok(taken) => {
                advance(viewer, &forms.frames, taken, tally);
                Served::Aside
            }
        }
    }
}

/// The frames of a run, deletions first; `None` if they cannot be sent as they are.
fn run_forms(stream: &Stream, run: &Run) -> Option<RunForms> {
    if !run.joins || run.frames() > MAX_SLICES as u64 {
        return None;
    }
    let control = run.control.clone().map(|index| stream.control.get(index));
    let ordered = run.ordered.clone().map(|index| stream.ordered.get(index));
    let frames: Option<Vec<_>> = control.chain(ordered).map(Option::<&_>::cloned).collect();
    frames.map(RunForms::new)
}

impl Worker {
    /// Notes that a stream has something to fan out.
    pub(super) fn mark_dirty(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        if !std::mem::replace(&mut stream.dirty, true) {
            self.dirty.push_back(key);
        }
    }

    /// Writes for one slice, to streams whose turn has come.
    pub(super) fn fan_out_dirty(&mut self) {
        let began = Instant::now();
        for _ in 0..self.dirty.len() {
            let Some(key) = self.dirty.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if !stream.fan_out_wait(began).is_zero() {
                self.dirty.push_back(key);
                continue;
            }
            let until = began + self.slice;
            self.fan_out_until(key, Some(until));
            let stream = &mut self.streams[key];
            stream.dirty = stream.awaits_fan_out();
            if stream.dirty {
                self.dirty.push_back(key);
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Writes everything that waits for fan-out, before anything else is done.
    pub(super) fn fan_out_all(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.dirty = false;
                self.fan_out(key);
            }
        }
    }

    /// How long until the next stream's turn comes.
    pub(super) fn next_fan_out(&self, now: Instant) -> Option<Duration> {
        let waiting = self.dirty.iter().filter_map(|key| self.streams.get(*key));
        waiting.map(|stream| stream.fan_out_wait(now)).min()
    }

    /// Writes all that waits in a stream, before anything else is done.
    pub(super) fn fan_out(&mut self, key: usize) {
        while self.streams[key].awaits_fan_out() {
            self.fan_out_until(key, None);
        }
    }

    /// Goes on with a stream's fan-out, or begins one, until all are written or the time is over.
    fn fan_out_until(&mut self, key: usize, until: Option<Instant>) {
        let went_on = Instant::now();
        let Some(mut fan_out) = self.streams[key].go_on(went_on) else { return };
        let mut tally = Tally::default();
        let mut finished = false;
        while !finished {
            finished = self.write_stride(key, &mut fan_out, &mut tally);
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        self.streams[key].meter.add_bytes(tally.bytes);
        self.tally(tally);
        fan_out.took += went_on.elapsed();
        if finished {
            self.finish(key, fan_out);
        } else {
            self.streams[key].interrupt(fan_out);
        }
    }

    /// Writes to the next few; true if they were the last.
    fn write_stride(&mut self, key: usize, fan_out: &mut FanOut, tally: &mut Tally) -> bool {
        let now_s = self.now_s();
        for _ in 0..STRIDE {
            let Some(slot) = self.streams[key].members.next() else { return true };
            fan_out.turns += 1;
            match fan_out.write(&mut self.viewers[slot], tally) {
                Served::Whole => {}
                Served::Broken => self.lose(slot),
                Served::Aside => {
                    if !self.waits_for_room(slot, key) {
                        self.pump(slot);
                    }
                    let viewer = self.viewers.get(slot);
                    fan_out.held_up += u64::from(viewer.is_some_and(|v| v.is_held_up(now_s)));
                }
            }
        }
        false
    }

    fn finish(&mut self, key: usize, fan_out: FanOut) {
        let stream = &mut self.streams[key];
        stream.meter.add_turns(fan_out.turns, fan_out.held_up);
        stream.coalescing.wrote(fan_out.began, fan_out.took, &self.parts.delivery);
        for echo in fan_out.echoes {
            self.send_echo(&echo);
        }
    }

    /// Whether there is nothing to do for a viewer until its socket takes more, of which an event
    /// tells: to try at every frame would let who does not read cost more than who does.
    fn waits_for_room(&self, slot: usize, key: usize) -> bool {
        let (viewer, control) = (&self.viewers[slot], &self.streams[key].control);
        viewer.flags.has(Flags::BLOCKED) && viewer.control_cursor >= control.first()
    }
}

#[cfg(test)]
mod tests;
