//! Commands from the rest of the node to a worker thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ahash::AHashSet;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::egress_meter::EgressMeter;
use super::frame::{Frame, Lane};
use crate::daemon::base::handoff::{Bearer, ConnectionId, IssuerKeyId, NewViewer, Permit, Reply};
use crate::daemon::base::telemetry::QueueReading;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::Removal;
use crate::protocol::message::ServerMessage;
use crate::protocol::room::RoomRules;
use crate::protocol::stream::StreamSchedule;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    CloseCode, CommentId, Epoch, PinnedComment, PollState, Seq, StreamId, UserId, UserScope,
};

/// Frames that may wait for a worker. Further ones are dropped, and its viewers get a `gap`.
const MAX_FRAMES: usize = 8192;
/// Deletions and announcements that may wait besides. No `gap` stands for these, so when further
/// ones are dropped the viewers of the stream are closed; they reconnect and read what they
/// missed.
const MAX_CONTROL_FRAMES: usize = 65_536;

#[derive(Debug)]
pub(super) enum Command {
    Attach(Box<NewViewer>),
    /// Answers a watch request. The frames of the stream follow.
    StreamReady {
        stream_id: StreamId,
        activation: u64,
        start: Box<StreamStart>,
    },
    Frame {
        stream_id: StreamId,
        frame: Arc<Frame>,
    },
    /// The deletions of a comment were taken back.
    Restored {
        stream_id: StreamId,
        comment_id: CommentId,
    },
    /// Deletions or announcements of the stream were dropped.
    ControlLost {
        stream_id: StreamId,
    },
    /// The event is over.
    StreamEnded {
        stream_id: StreamId,
    },
    /// Closes the viewers of a stream with an error, or only those without a token.
    CloseStream {
        stream_id: StreamId,
        error: ErrorBody,
        anonymous_only: bool,
        done: oneshot::Sender<u64>,
    },
    Replies(Vec<Reply>),
    Authenticated {
        connection: ConnectionId,
        outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    },
    /// The answer to a change of a room.
    RoomChanged {
        connection: ConnectionId,
        client_ref: Option<Arc<str>>,
        outcome: Result<ServerMessage, ErrorBody>,
    },
    /// The pipe of a viewer has room again, or nobody reads it any more.
    PipeReady {
        connection: ConnectionId,
    },
    CaughtUp {
        connection: ConnectionId,
        page: CatchUpPage,
    },
    DisconnectUser {
        who: UserScope,
        code: CloseCode,
        /// Sent before the close.
        error: Option<ErrorBody>,
        done: oneshot::Sender<u64>,
    },
    /// The issuer has withdrawn these keys.
    CloseSignedBy {
        keys: Arc<[IssuerKeyId]>,
        done: oneshot::Sender<u64>,
    },
    /// Pings the connections of a user, so that dead ones are found.
    ProbeUser {
        user_id: UserId,
        done: oneshot::Sender<u64>,
    },
    Direct {
        user_id: UserId,
        message: Arc<ServerMessage>,
        done: oneshot::Sender<u64>,
    },
    /// Closes all viewers. `done` is told once all have left.
    CloseAll {
        code: CloseCode,
        jitter: Duration,
        done: oneshot::Sender<u64>,
    },
    /// Answered with 1 by a worker that is alive.
    Ping {
        done: oneshot::Sender<u64>,
    },
    Stop,
}

/// Position and state of a stream when a worker begins to follow it.
#[derive(Debug, Clone)]
pub(super) struct StreamStart {
    pub(super) epoch: Epoch,
    pub(super) covered_to: Seq,
    /// Deletions after `covered_to` that were sent already.
    pub(super) deleted_ahead: BTreeMap<Seq, Removal>,
    pub(super) sample_rate: SampleRate,
    /// Counts what the viewers of the stream are sent.
    pub(super) meter: Arc<EgressMeter>,
    pub(super) viewers: u64,
    pub(super) room: RoomRules,
    pub(super) schedule: StreamSchedule,
    pub(super) pinned: Option<Arc<PinnedComment>>,
    /// The poll that is open.
    pub(super) poll: Option<Arc<PollState>>,
    /// The reaction totals, if there are any.
    pub(super) reactions: Option<ServerMessage>,
}

/// A page of the history for a viewer that catches up, encoded in its form.
#[derive(Debug)]
pub(super) struct CatchUpPage {
    /// Shared by all viewers that need the same page.
    pub(super) frames: Arc<[Bytes]>,
    pub(super) comments: u64,
    /// Position that the page was requested for.
    pub(super) after: Seq,
    /// Position of the viewer after the page.
    pub(super) covered_to: Seq,
    /// Position of the stream when the viewer asked.
    pub(super) until: Seq,
    /// The position of the viewer is beyond the end of the log, so it is from a log that has lost
    /// its end.
    pub(super) beyond_end: bool,
}

/// Queue of commands to a worker. It is no channel: one lock takes over everything that waits,
/// and one wake-up serves all commands sent before the worker takes them.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// Frames are bounded here, everything else at its source: a connection attaches and
    /// authenticates once, a pipe has one command under way, and replies answer submissions, whose
    /// number the queue of ingest bounds.
    queue: Mutex<Queue>,
    notified: AtomicBool,
    waker: mio::Waker,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    frames: usize,
    control_frames: usize,
    control_lost: AHashSet<StreamId>,
}

impl Queue {
    fn put_frame(&mut self, stream_id: StreamId, frame: Arc<Frame>) -> bool {
        let (waiting, max) = match frame.lane() {
            Lane::Ordered => (&mut self.frames, MAX_FRAMES),
            Lane::Control => (&mut self.control_frames, MAX_CONTROL_FRAMES),
        };
        if *waiting < max {
            *waiting += 1;
            self.commands.push(Command::Frame { stream_id, frame });
            return true;
        }
        if frame.lane() == Lane::Control && self.control_lost.insert(stream_id) {
            self.commands.push(Command::ControlLost { stream_id });
        }
        false
    }
}

impl Mailbox {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { queue: Mutex::default(), notified: AtomicBool::new(false), waker }
    }

    pub(super) fn send(&self, command: Command) {
        self.with_queue(|queue| queue.commands.push(command));
    }

    /// Sends a frame. Returns false if it was dropped.
    pub(super) fn send_frame(&self, stream_id: StreamId, frame: Arc<Frame>) -> bool {
        self.with_queue(|queue| queue.put_frame(stream_id, frame))
    }

    /// Takes all waiting commands in order. `spare` becomes the new queue, so that its capacity
    /// is reused.
    pub(super) fn take(&self, spare: Vec<Command>) -> Vec<Command> {
        self.notified.store(false, Ordering::SeqCst);
        let mut queue = self.queue.lock();
        queue.frames = 0;
        queue.control_frames = 0;
        queue.control_lost.clear();
        std::mem::replace(&mut queue.commands, spare)
    }

    fn with_queue<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        let result = act(&mut self.queue.lock());
        if !self.notified.swap(true, Ordering::SeqCst) {
            // Fails only if the event queue is gone, and with it the worker.
            let _ = self.waker.wake();
        }
        result
    }
}

/// Returns a reader of the frames that wait for the worker with the fullest mailbox: each has a
/// bound of its own, so that of all together says nothing. It does not keep the mailboxes.
pub(super) fn queue_reader(
    mailboxes: &Arc<[Arc<Mailbox>]>,
) -> impl Fn() -> Option<QueueReading> + Send + use<> {
    let mailboxes = Arc::downgrade(mailboxes);
    move || {
        let mailboxes = mailboxes.upgrade()?;
        let queue = mailboxes.iter().map(|mailbox| mailbox.queue.lock().frames as u64).max()?;
        Some(QueueReading { queue, queue_max: MAX_FRAMES as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId(1);

    fn frame(lane: Lane) -> Arc<Frame> {
        Arc::new(Frame::new(lane, ServerMessage::Pong))
    }

    #[test]
    fn full_mailbox_drops_comments_not_deletions() {
        let mut queue = Queue::default();
        let sent = (0..MAX_FRAMES + 5).filter(|_| queue.put_frame(STREAM, frame(Lane::Ordered)));
        assert_eq!(sent.count(), MAX_FRAMES);
        assert!(queue.put_frame(STREAM, frame(Lane::Control)));
    }

    #[test]
    fn dropped_deletions_are_reported_once() {
        let mut queue = Queue::default();
        let deletion = frame(Lane::Control);
        for _ in 0..MAX_CONTROL_FRAMES {
            assert!(queue.put_frame(STREAM, deletion.clone()));
        }
        assert!(!queue.put_frame(STREAM, deletion.clone()));
        assert!(!queue.put_frame(STREAM, deletion));
        let is_lost = |command: &&Command| matches!(command, Command::ControlLost { .. });
        assert_eq!(queue.commands.iter().filter(is_lost).count(), 1);
    }
}
