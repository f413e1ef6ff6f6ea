//! What the rest of the node tells a worker thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ahash::AHashSet;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::egress::Meter;
use super::frame::{Frame, Lane};
use crate::daemon::base::handoff::{Bearer, ConnectionId, NewViewer, Permit, Reply};
use crate::protocol::comment::Deletion;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::ServerMessage;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CloseCode, Epoch, Seq, StreamId, UserId};

/// Frames that may wait for a worker; more are dropped, and its viewers get `gap`.
const MAX_FRAMES: usize = 8192;
/// Deletions and announcements that may wait besides. Nobody could be told a gap in these, so when
/// more are dropped the stream's viewers are closed and come back for what they missed.
const MAX_CONTROL_FRAMES: usize = 65_536;

#[derive(Debug)]
pub(super) enum Command {
    Attach(Box<NewViewer>),
    /// The answer to a watch request: from here on the stream's frames follow.
    StreamReady {
        stream_id: StreamId,
        activation: u64,
        start: StreamStart,
    },
    Frame {
        stream_id: StreamId,
        frame: Arc<Frame>,
    },
    /// Deletions were dropped here.
    ControlLost {
        stream_id: StreamId,
    },
    /// The event is over.
    StreamEnded {
        stream_id: StreamId,
    },
    Replies(Vec<Reply>),
    Authenticated {
        connection: ConnectionId,
        outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    },
    CaughtUp {
        connection: ConnectionId,
        page: CatchUpPage,
    },
    DisconnectUser {
        user_id: UserId,
        code: CloseCode,
        done: oneshot::Sender<u64>,
    },
    Direct {
        user_id: UserId,
        message: Arc<ServerMessage>,
        done: oneshot::Sender<u64>,
    },
    /// Say goodbye to everybody; `done` once all are gone.
    Dismiss {
        code: CloseCode,
        jitter: Duration,
        done: oneshot::Sender<u64>,
    },
    /// Whether the worker still takes commands.
    Answer {
        done: oneshot::Sender<u64>,
    },
    Stop,
}

/// Where a stream stands when a worker begins to follow it.
#[derive(Debug, Clone)]
pub(super) struct StreamStart {
    pub(super) epoch: Epoch,
    pub(super) covered_to: Seq,
    /// Deletions whose place lies after `covered_to` and that were sent out already.
    pub(super) deleted_ahead: BTreeMap<Seq, Deletion>,
    pub(super) sample_rate: SampleRate,
    /// Where the worker writes what the stream's viewers were sent.
    pub(super) meter: Arc<Meter>,
    pub(super) viewers: u64,
    /// Running reaction totals, as a message if there are any.
    pub(super) reactions: Option<ServerMessage>,
}

/// A piece of what a returning viewer has missed, as bytes in its form.
#[derive(Debug)]
pub(super) struct CatchUpPage {
    /// Shared by all who missed the same.
    pub(super) frames: Arc<[Bytes]>,
    pub(super) comments: u64,
    /// The viewer's position after it.
    pub(super) covered_to: Seq,
    /// How far the stream had come when the viewer asked.
    pub(super) until: Seq,
    /// The viewer's position is not in the log yet, so it cannot have been there.
    pub(super) beyond_end: bool,
}

/// The worker's end and everybody else's. Not a channel: one lock hands over everything that waits,
/// and one wake-up serves all that came before it was heard.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// Frames are bounded here. The rest is bounded where it comes from: a connection attaches and
    /// authenticates once, replies answer submissions, of which the ingest queue bounds the number.
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

    /// Sends a frame, or says that it was dropped.
    pub(super) fn send_frame(&self, stream_id: StreamId, frame: Arc<Frame>) -> bool {
        self.with_queue(|queue| queue.put_frame(stream_id, frame))
    }

    /// Everything that waits, in order; `spare` takes its place and keeps its capacity.
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
            // Fails only if the event queue is gone, and then so is the worker.
            let _ = self.waker.wake();
        }
        result
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
    fn a_full_mailbox_drops_comments_but_not_deletions() {
        let mut queue = Queue::default();
        let sent = (0..MAX_FRAMES + 5).filter(|_| queue.put_frame(STREAM, frame(Lane::Ordered)));
        assert_eq!(sent.count(), MAX_FRAMES);
        assert!(queue.put_frame(STREAM, frame(Lane::Control)));
    }

    #[test]
    fn dropped_deletions_are_told_once() {
        let mut queue = Queue::default();
        let deletion = frame(Lane::Control);
        for _ in 0..MAX_CONTROL_FRAMES {
            assert!(queue.put_frame(STREAM, deletion.clone()));
        }
        assert!(!queue.put_frame(STREAM, deletion.clone()));
        assert!(!queue.put_frame(STREAM, deletion));
        let told = |command: &&Command| matches!(command, Command::ControlLost { .. });
        assert_eq!(queue.commands.iter().filter(told).count(), 1);
    }
}
