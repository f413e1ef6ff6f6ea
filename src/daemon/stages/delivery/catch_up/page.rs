//! A history page, encoded as the frames that all viewers who need it are sent.

use std::sync::Arc;

use bytes::Bytes;

use super::CatchUpRequest;
use crate::daemon::engines::recent::{RecentEvent, RecentPage};
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, Seq, SequencedComment};

#[derive(Debug)]
pub(super) struct Page {
    pub(super) frames: Arc<[Bytes]>,
    pub(super) comments: u64,
    /// Position of the viewer after the page.
    pub(super) covered_to: Seq,
    /// The requested position is beyond the end of the log, so no viewer of this log can have
    /// been there.
    pub(super) beyond_end: bool,
    /// Position of the stream on the worker of the viewer that asked first.
    pub(super) until: Seq,
    /// Changes seen when its reading began.
    pub(super) changes: u64,
}

impl Page {
    fn new(request: &CatchUpRequest, frames: Vec<Bytes>, comments: u64, covered_to: Seq) -> Self {
        Self {
            frames: frames.into(),
            comments,
            covered_to,
            beyond_end: false,
            until: request.until,
            changes: 0,
        }
    }

    /// Reports whether the page advances this viewer, or no page would.
    pub(super) fn serves(&self, request: &CatchUpRequest) -> bool {
        self.covered_to > request.after || self.until >= request.until
    }

    pub(super) fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }
}

/// The page of a failed read: the viewer gets a gap and continues with the ring.
pub(super) fn nothing(request: &CatchUpRequest) -> Page {
    // Viewers that ask meanwhile share it, so a failing read is not repeated for thousands.
    Page { until: Seq::MAX, ..Page::new(request, Vec::new(), 0, request.after) }
}

/// The page for events that are gone: a `gap` up to the offset `before`.
pub(super) fn gap(request: &CatchUpRequest, before: Seq) -> Page {
    let to_seq = before.saturating_sub(1);
    let gap = ServerMessage::Gap { from_seq: request.after + 1, to_seq };
    Page::new(request, vec![request.form.encode_private(&gap)], 0, to_seq)
}

/// Encodes a page: deletions first, then the comments in one batch.
pub(super) fn encode(request: &CatchUpRequest, page: &RecentPage, epoch: Epoch) -> Page {
    let comments: Vec<SequencedComment> = page
        .events
        .iter()
        .filter_map(|event| match event {
            RecentEvent::Comment(comment) => Some(comment.clone()),
            RecentEvent::Deleted { .. } => None,
        })
        .collect();
    let deletions = page.events.iter().filter_map(|event| match event {
        RecentEvent::Deleted { deletion, .. } => {
            Some(ServerMessage::CommentDeleted(deletion.clone()))
        }
        RecentEvent::Comment(_) => None,
    });
    let mut messages: Vec<_> = deletions.collect();
    let count = comments.len() as u64;
    if page.covered_to > request.after {
        messages.push(ServerMessage::Comments(CommentsBatch {
            epoch,
            from_seq: request.after + 1,
            to_seq: page.covered_to,
            sample_rate: SampleRate::ALL,
            comments,
            echo: false,
        }));
    }
    let frames = messages.iter().map(|message| request.form.encode_private(message)).collect();
    Page::new(request, frames, count, page.covered_to)
}
