//! The bytes of a run of frames for all viewers of one form, put together once.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use crate::daemon::stages::delivery::deflate::{InWindow, Link};
use crate::daemon::stages::delivery::frame::{FORMS, Form, Frame};

/// Frames one after another, as one write.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) slices: Vec<IoSlice<'a>>,
    pub(super) bytes: usize,
    /// How far the window of who was written all of it goes; `None` leaves it as it was.
    pub(super) window: Option<InWindow>,
}

impl<'a> Piece<'a> {
    /// For a viewer whose window goes as far as `window`.
    pub(super) fn new(
        frames: impl ExactSizeIterator<Item = &'a Arc<Frame>>,
        form: Form,
        mut window: InWindow,
    ) -> Self {
        let mut slices = Vec::with_capacity(frames.len());
        let (mut total, mut enters) = (0, false);
        for frame in frames {
            let (bytes, after) = frame.bytes(form, window);
            window = after;
            enters |= frame.link(form).is_some();
            total += bytes.len();
            slices.push(IoSlice::new(bytes));
        }
        Self { slices, bytes: total, window: enters.then_some(window) }
    }
}

/// A run in the forms that its viewers use, each made when the first of them comes. Owns its frames, so
/// that a fan-out can go on when the ring has moved.
#[derive(Debug)]
pub(super) struct RunForms {
    pub(super) frames: Vec<Arc<Frame>>,
    forms: [Option<RunForm>; FORMS],
}

#[derive(Debug)]
struct RunForm {
    /// The window that the first compressed frame refers to, if it refers to any. Nobody who is
    /// written the run was sent that frame before, so who lacks the window reads no compressed frame
    /// up to a key frame.
    needs: Option<InWindow>,
    /// For who has the window.
    inside: RunBytes,
    /// For who has not; made when somebody comes.
    outside: Option<RunBytes>,
}

/// A run as one piece of memory: copied together once, so that no viewer's write gathers it.
#[derive(Debug)]
pub(super) struct RunBytes {
    pub(super) bytes: Bytes,
    /// As in a [`Piece`].
    pub(super) window: Option<InWindow>,
}

impl RunBytes {
    fn new(frames: &[Arc<Frame>], form: Form, window: InWindow) -> Self {
        if let [frame] = frames {
            let (bytes, after) = frame.bytes(form, window);
            let window = frame.link(form).is_some().then_some(after);
            return Self { bytes: bytes.clone(), window };
        }
        let piece = Piece::new(frames.iter(), form, window);
        let mut bytes = Vec::with_capacity(piece.bytes);
        piece.slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        Self { bytes: bytes.into(), window: piece.window }
    }
}

impl RunForms {
    pub(super) fn new(frames: Vec<Arc<Frame>>) -> Self {
        Self { frames, forms: Default::default() }
    }

    /// What a viewer of this form is written.
    pub(super) fn piece(&mut self, form: Form, window: InWindow) -> &RunBytes {
        let frames = &self.frames;
        let run = self.forms[form as usize].get_or_insert_with(|| RunForm::new(frames, form));
        if run.needs.is_none_or(|needed| needed == window) {
            return &run.inside;
        }
        run.outside.get_or_insert_with(|| RunBytes::new(frames, form, InWindow::OUTSIDE))
    }
}

impl RunForm {
    fn new(frames: &[Arc<Frame>], form: Form) -> Self {
        let first = frames.iter().find_map(|frame| frame.link(form));
        let needs = first.and_then(Link::needs);
        let inside = RunBytes::new(frames, form, needs.unwrap_or(InWindow::OUTSIDE));
        Self { needs, inside, outside: None }
    }
}
