//! A page of what was missed, as the frames that all who missed it are sent.

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
    /// The viewer's position after it.
    pub(super) covered_to: Seq,
    /// The position asked about is not in the log yet, so nobody can have been there.
    pub(super) beyond_end: bool,
    /// How far who asked first knew the stream to reach.
    pub(super) until: Seq,
    /// Deletions that had come when its reading began.
    pub(super) deletions: u64,
}

impl Page {
    fn new(request: &CatchUpRequest, frames: Vec<Bytes>, comments: u64, covered_to: Seq) -> Self {
        let (frames, until) = (frames.into(), request.until);
        Self { frames, comments, covered_to, beyond_end: false, until, deletions: 0 }
    }

    /// Whether it brings this viewer on, or nothing read for it would.
    pub(super) fn serves(&self, request: &CatchUpRequest) -> bool {
        self.covered_to > request.after || self.until >= request.until
    }

    pub(super) fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }
}

/// Nothing could be read: the viewer goes on with the ring, and is told the gap.
pub(super) fn nothing(request: &CatchUpRequest) -> Page {
    // Who asks meanwhile is answered the same: what failed for one is not tried again for thousands.
    Page { until: Seq::MAX, ..Page::new(request, Vec::new(), 0, request.after) }
}

pub(super) fn gap(request: &CatchUpRequest, before: Seq) -> Page {
    let to_seq = before.saturating_sub(1);
    let gap = ServerMessage::Gap { from_seq: request.after + 1, to_seq };
    Page::new(request, vec![request.form.encode_private(&gap)], 0, to_seq)
}

/// Deletions first, then the comments.
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
