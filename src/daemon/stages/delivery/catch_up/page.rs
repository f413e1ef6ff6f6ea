//! A history page, encoded as the frames that all viewers who need it are sent.

use std::sync::Arc;

use bytes::Bytes;

use super::CatchUpRequest;
use crate::daemon::engines::recent::{RecentEvent, RecentPage};
use crate::protocol::message::{CommentsBatch, ServerMessage};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, Seq, SequencedComment, UserId};

/// Estimate of the texts of an event.
const EVENT_TEXT_BYTES: usize = 256;

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
    /// `None` if the page is the same for all viewers, as nearly all are.
    pub(super) personal: Option<Box<Personal>>,
}

/// The parts to encode a page again for one of the users that are sent another one.
#[derive(Debug)]
pub(super) struct Personal {
    /// Authors of comments that only they are shown, or whose deletion only they, or all others,
    /// are told of. Some may be there repeatedly.
    users: Vec<UserId>,
    events: RecentPage,
    epoch: Epoch,
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
            personal: None,
        }
    }

    /// Returns the page as a user is sent it; `None` if it is the same as for everybody.
    pub(super) fn frames_for(&self, request: &CatchUpRequest) -> Option<Encoded> {
        let personal = self.personal.as_ref()?;
        let user = request.user.filter(|user| personal.users.contains(user))?;
        Some(encode_for(Some(user), request, &personal.events, personal.epoch))
    }

    /// Reports whether the page advances this viewer, or no page would.
    pub(super) fn serves(&self, request: &CatchUpRequest) -> bool {
        self.covered_to > request.after || self.until >= request.until
    }

    pub(super) fn bytes(&self) -> usize {
        let personal = self.personal.as_ref().map_or(0, |personal| {
            personal.events.events.len() * (size_of::<RecentEvent>() + EVENT_TEXT_BYTES)
        });
        personal + self.frames.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The page of a failed read: the viewer gets a gap and continues with the ring.
pub(super) fn nothing(request: &CatchUpRequest) -> Page {
    // Viewers that ask meanwhile share it, so a failing read is not repeated for thousands.
    Page { until: Seq::MAX, ..Page::new(request, Vec::new(), 0, request.after) }
}

/// The page for events that are gone: a `gap` up to the offset `before`.
pub(super) fn gap(request: &CatchUpRequest, before: Seq, epoch: Epoch) -> Page {
    let to_seq = before.saturating_sub(1);
    let gap = request.form.encode_gap(request.stream_id, epoch, request.after + 1, to_seq);
    Page::new(request, vec![gap], 0, to_seq)
}

/// Encodes a page as most viewers are sent it: deletions first, then the comments in one batch. A
/// page that differs for some users keeps its events, for [`Page::frames_for`].
pub(super) fn encode(request: &CatchUpRequest, events: RecentPage, epoch: Epoch) -> Page {
    let users: Vec<UserId> = events.events.iter().filter_map(user_of).collect();
    let Encoded { frames, comments } = encode_for(None, request, &events, epoch);
    let page = Page::new(request, frames, comments, events.covered_to);
    let personal = (!users.is_empty()).then(|| Box::new(Personal { users, events, epoch }));
    Page { personal, ..page }
}

/// Returns the user for whom an event is another one than for all others.
fn user_of(event: &RecentEvent) -> Option<UserId> {
    match event {
        RecentEvent::Comment(_) => None,
        RecentEvent::Deleted { deletion, .. } => deletion.told.exception(),
        RecentEvent::Own(comment) => Some(comment.user_id),
    }
}

/// The frames of a page and the number of comments in them.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) frames: Vec<Bytes>,
    pub(super) comments: u64,
}

fn encode_for(
    user: Option<UserId>,
    request: &CatchUpRequest,
    page: &RecentPage,
    epoch: Epoch,
) -> Encoded {
    let mut messages: Vec<ServerMessage> = Vec::new();
    let mut comments: Vec<SequencedComment> = Vec::new();
    for event in &page.events {
        match event {
            RecentEvent::Comment(comment) => comments.push(comment.clone()),
            RecentEvent::Own(comment) if Some(comment.user_id) == user => {
                comments.push(comment.clone());
            }
            RecentEvent::Deleted { deletion, .. } if deletion.told.includes(user) => {
                messages.push(ServerMessage::CommentDeleted(deletion.deletion()));
            }
            RecentEvent::Own(_) | RecentEvent::Deleted { .. } => {}
        }
    }
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
    Encoded { frames, comments: count }
}
