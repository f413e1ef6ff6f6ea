//! A run: consecutive frames of one stream that a fan-out writes to each viewer in one go, and the
//! bytes of these frames, assembled once per form.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::daemon::stages::delivery::deflate::{WindowFrame, WindowPosition};
use crate::daemon::stages::delivery::form::{FORMS, Form};
use crate::daemon::stages::delivery::frame::Frame;
use crate::protocol::{Identity, Seq, UserId};

/// The frames pushed to a stream since its last fan-out began, as ranges of its rings.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) ordered: Range<u64>,
    pub(super) control: Range<u64>,
    pub(super) seq_before: Seq,
    pub(super) seq_after: Seq,
    pub(super) comments: u64,
    /// The batches of the run follow each other and `seq_before` without a hole, so a viewer that
    /// is up to date can be sent all frames unchanged.
    pub(super) is_contiguous: bool,
    pub(super) ordered_bytes: usize,
    pub(super) control_bytes: usize,
    /// Whether a frame of the run must be written at once.
    pub(super) is_urgent: bool,
    /// Users for whom a frame of the run is another one; nearly always none. The slow path serves
    /// them.
    pub(super) personal_for: Vec<UserId>,
    /// A frame has comments that some viewers were shown in an earlier epoch of the log, so the
    /// slow path serves everybody. That occurs only after a log was replaced.
    pub(super) has_shown_before: bool,
}

/// Number and memory of the frames of a run in one ring.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RingShare {
    pub(super) frames: u64,
    pub(super) bytes: usize,
}

impl std::ops::Add for RingShare {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { frames: self.frames + other.frames, bytes: self.bytes + other.bytes }
    }
}

impl Run {
    /// Reports whether a viewer of this identity cannot be sent all frames unchanged.
    pub(super) fn is_personal_for(&self, identity: Option<&Arc<Identity>>) -> bool {
        !self.personal_for.is_empty()
            && identity.is_some_and(|identity| self.personal_for.contains(&identity.user_id))
    }

    pub(super) fn frames(&self) -> u64 {
        self.ordered_share().frames + self.control_share().frames
    }

    pub(super) fn ordered_share(&self) -> RingShare {
        RingShare { frames: self.ordered.end - self.ordered.start, bytes: self.ordered_bytes }
    }

    pub(super) fn control_share(&self) -> RingShare {
        RingShare { frames: self.control.end - self.control.start, bytes: self.control_bytes }
    }
}

/// Consecutive frames for one viewer, as the buffers of one vectored write.
#[derive(Debug)]
pub(super) struct FrameBuffers<'a> {
    pub(super) buffers: Vec<&'a Bytes>,
    pub(super) bytes: usize,
    /// Position in the shared window after all frames; `None` leaves the position unchanged.
    pub(super) window: Option<WindowPosition>,
}

impl<'a> FrameBuffers<'a> {
    /// Chooses the bytes for a viewer at the position `window`.
    pub(super) fn new(
        frames: impl ExactSizeIterator<Item = &'a Arc<Frame>>,
        form: Form,
        mut window: WindowPosition,
    ) -> Self {
        let mut buffers = Vec::with_capacity(frames.len());
        let mut total = 0;
        let mut enters = false;
        for frame in frames {
            let (bytes, after) = frame.bytes(form, window);
            window = after;
            enters |= frame.window_frame(form).is_some();
            total += bytes.len();
            buffers.push(bytes);
        }
        Self { buffers, bytes: total, window: enters.then_some(window) }
    }
}

/// The bytes of a run in each form that its viewers use, made when the first viewer needs them. It
/// owns the frames, so a suspended fan-out can continue after the ring has dropped them.
#[derive(Debug)]
pub(super) struct RunBytes {
    pub(super) frames: Vec<Arc<Frame>>,
    forms: [Option<FormBytes>; FORMS],
}

#[derive(Debug)]
struct FormBytes {
    /// Position in the shared window that the first compressed frame requires, if it requires one.
    /// A viewer at any other position can read no compressed frame before the next key frame.
    required: Option<WindowPosition>,
    /// For viewers at the required position.
    inside: JoinedFrames,
    /// For all other viewers; made when the first of them is visited.
    outside: Option<JoinedFrames>,
}

/// The frames of a run copied into one buffer, so that no write has to gather them.
#[derive(Debug)]
pub(super) struct JoinedFrames {
    pub(super) bytes: Bytes,
    /// As in [`FrameBuffers`].
    pub(super) window: Option<WindowPosition>,
}

impl JoinedFrames {
    fn new(frames: &[Arc<Frame>], form: Form, window: WindowPosition) -> Self {
        if let [frame] = frames {
            let (bytes, after) = frame.bytes(form, window);
            let window = frame.window_frame(form).is_some().then_some(after);
            return Self { bytes: bytes.clone(), window };
        }
        let gathered = FrameBuffers::new(frames.iter(), form, window);
        let mut bytes = Vec::with_capacity(gathered.bytes);
        gathered.buffers.iter().for_each(|buffer| bytes.extend_from_slice(buffer));
        Self { bytes: bytes.into(), window: gathered.window }
    }
}

impl RunBytes {
    pub(super) fn new(frames: Vec<Arc<Frame>>) -> Self {
        Self { frames, forms: Default::default() }
    }

    /// Returns the bytes for a viewer of a form at a position in the shared window.
    pub(super) fn for_viewer(&mut self, form: Form, window: WindowPosition) -> &JoinedFrames {
        let frames = &self.frames;
        let bytes = self.forms[form as usize].get_or_insert_with(|| FormBytes::new(frames, form));
        if bytes.required.is_none_or(|required| required == window) {
            return &bytes.inside;
        }
        bytes
            .outside
            .get_or_insert_with(|| JoinedFrames::new(frames, form, WindowPosition::OUTSIDE))
    }
}

impl FormBytes {
    fn new(frames: &[Arc<Frame>], form: Form) -> Self {
        let first = frames.iter().find_map(|frame| frame.window_frame(form));
        let required = first.and_then(WindowFrame::position_before);
        let window = required.unwrap_or(WindowPosition::OUTSIDE);
        Self { required, inside: JoinedFrames::new(frames, form, window), outside: None }
    }
}
