//! A worker in the middle of a fan-out, turned by hand: each turn writes to one stride of viewers.

use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use mio::{Events, Poll, Waker};
use tokio::sync::mpsc;

use super::*;
use crate::daemon::base::clock::SystemClock;
use crate::daemon::base::handoff::{
    Accepted, ConnectionId, Deflate, NewViewer, Permit, Reply, ViewerLink,
};
use crate::daemon::base::pipe::{PipeReader, pipe};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::stages::delivery::audience::ShownBefore;
use crate::daemon::stages::delivery::frame::Frame;
use crate::daemon::stages::delivery::mailbox::{Command, Mailbox, StreamStart};
use crate::daemon::stages::delivery::peer::Peer;
use crate::daemon::stages::delivery::worker::{ViewerRequests, WAKER, WorkerParts};
use crate::daemon::testing::comments::sample_comment;
use crate::daemon::testing::frames::{comments_frame, deletion_frame};
use crate::net::Transport;
use crate::protocol::message::{CommentsBatch, Encoding, ServerMessage};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CloseCode, Epoch, StreamId, StreamPosition};

const STREAM: StreamId = StreamId(5);
const VIEWERS: usize = 3 * STRIDE;

#[derive(Debug)]
struct NothingHeld;

impl Permit for NothingHeld {}

/// Both ends of a connection.
fn connected() -> (Transport, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    (Transport::Plain(mio::net::TcpStream::from_std(socket)), peer)
}

/// A worker and the other ends of its viewers' sockets; viewer `n` has slot `n`.
struct Rig {
    worker: Worker,
    mailbox: Arc<Mailbox>,
    events: Events,
    viewers: Vec<(TcpStream, Peer)>,
}

impl Rig {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let mailbox = Arc::new(Mailbox::new(Waker::new(poll.registry(), WAKER).unwrap()));
        // Nobody listens: these viewers ask for nothing.
        let requests = ViewerRequests {
            submissions: mpsc::channel(1).0,
            reactions: mpsc::channel(1).0,
            auth: mpsc::channel(1).0,
            rooms: mpsc::channel(1).0,
            votes: mpsc::channel(1).0,
        };
        let worker = Worker::new(WorkerParts {
            index: 0,
            poll,
            mailbox: mailbox.clone(),
            delivery: Arc::default(),
            gateway: Arc::default(),
            reaction_kinds: Arc::default(),
            reaction_names: Arc::default(),
            reactions_per_second: 1,
            requests,
            hub: mpsc::unbounded_channel().0,
            history: mpsc::channel(1).0,
            counts: Arc::default(),
            board: StatusBoard::default(),
            clock: Arc::new(SystemClock),
        });
        let worker = Worker { fan_out_slice: Duration::ZERO, ..worker };
        let mut rig = Self { worker, mailbox, events: Events::with_capacity(64), viewers: vec![] };
        (0..VIEWERS).for_each(|_| rig.attach());
        let start = StreamStart {
            epoch: Epoch(7),
            covered_to: 0,
            deleted_ahead: Default::default(),
            sample_rate: SampleRate::ALL,
            meter: Arc::default(),
            viewers: 0,
            room: Default::default(),
            schedule: Default::default(),
            pinned: None,
            poll: None,
            reactions: None,
        };
        rig.mailbox.send(Command::StreamReady {
            stream_id: STREAM,
            activation: 1,
            start: Box::new(start),
        });
        rig.poll_once();
        let welcomed = (0..VIEWERS).all(|viewer| rig.received(viewer) == ["welcome 0"]);
        assert!(welcomed, "all stand at the beginning");
        rig
    }

    fn attach(&mut self) {
        self.attach_from(None);
    }

    /// Attaches a viewer that resumes from a position, if it has one.
    fn attach_from(&mut self, resume_from: Option<StreamPosition>) {
        let (transport, peer) = connected();
        self.viewers.push((peer, Peer::new(Encoding::Json)));
        let encoding = Encoding::Json;
        let deflate = Deflate::Off;
        let early_bytes = Vec::new();
        let link = ViewerLink::WebSocket { transport, early_bytes, encoding, deflate };
        self.attach_viewer(link, resume_from);
    }

    fn attach_link(&self, link: ViewerLink) {
        self.attach_viewer(link, None);
    }

    fn attach_viewer(&self, link: ViewerLink, resume_from: Option<StreamPosition>) {
        self.mailbox.send(Command::Attach(Box::new(NewViewer {
            link,
            stream_id: STREAM,
            bearer: None,
            must_authenticate: false,
            resume_from,
            permit: Box::new(NothingHeld),
        })));
    }

    fn poll_once(&mut self) {
        self.worker.poll_once(&mut self.events, &mut Vec::new()).unwrap();
    }

    fn finish(&mut self) {
        while self.worker.streams.iter().any(|(_, stream)| stream.has_pending_fan_out()) {
            self.poll_once();
        }
    }

    fn push(&self, frame: Arc<Frame>) {
        self.mailbox.send_frame(STREAM, frame);
    }

    /// Returns what a viewer has received since the last call.
    fn received(&mut self, viewer: usize) -> Vec<String> {
        let (socket, peer) = &mut self.viewers[viewer];
        let mut bytes = Vec::new();
        match socket.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
        let received = peer.read(&bytes).into_iter().map(|read| match read.message {
            ServerMessage::Welcome { seq, .. } => format!("welcome {seq}"),
            ServerMessage::Comments(batch) => format!("{}-{}", batch.from_seq, batch.to_seq),
            ServerMessage::CommentDeleted(_) => "deleted".to_owned(),
            ServerMessage::Ack { seq, .. } => format!("ack {seq}"),
            other => panic!("not expected: {other:?}"),
        });
        received.collect()
    }
}

#[test]
fn comment_is_acked_during_a_fan_out() {
    let mut rig = Rig::new();
    rig.push(comments_frame(1, 5));
    rig.poll_once();
    let written: Vec<bool> = (0..VIEWERS).map(|viewer| !rig.received(viewer).is_empty()).collect();
    assert_eq!(written.iter().filter(|written| **written).count(), STRIDE, "one slice");
    let last = VIEWERS - 1;
    let connection = ConnectionId { worker: 0, generation: last as u32 + 1, slot: last as u32 };
    let comment_id = sample_comment(9).comment_id;
    let seq = 9;
    let accepted = Accepted { comment_id, seq, comment: None, delayed: false };
    let reply = Reply { connection, client_ref: None, outcome: Ok(accepted) };
    rig.mailbox.send(Command::Replies(vec![reply]));
    rig.poll_once();
    assert_eq!(rig.received(last), ["ack 9", "1-5"], "it did not wait for its turn in the fan-out");
    assert!(rig.received(last - 1).is_empty(), "which goes on meanwhile");
    rig.finish();
    assert!(rig.received(last).is_empty(), "and sends nothing twice");
    let all = (0..last).all(|n| written[n] != rig.received(n).contains(&"1-5".to_owned()));
    assert!(all, "and leaves nobody out");
}

#[test]
fn viewers_of_another_epoch_see_nothing_twice() {
    let mut rig = Rig::new();
    let came_from = |seq| Some(StreamPosition { epoch: Epoch(6), seq });
    rig.attach_from(came_from(244));
    rig.attach_from(came_from(243));
    rig.poll_once();
    let saw_it = VIEWERS;
    let missed_it = VIEWERS + 1;
    for viewer in [saw_it, missed_it] {
        assert_eq!(rig.received(viewer), ["welcome 0"], "in the present epoch");
    }
    let place = StreamPosition { epoch: Epoch(6), seq: 244 };
    let comment = sample_comment(1).sequenced(1);
    let shown_before = vec![ShownBefore { comment, place, is_own: false }];
    let batch = |to_seq, comments| CommentsBatch {
        epoch: Epoch(7),
        from_seq: 1,
        to_seq,
        sample_rate: SampleRate::ALL,
        comments,
        echo: false,
    };
    let again = Frame::for_authors_only(batch(1, Vec::new()), Vec::new());
    rig.push(Arc::new(again.with_shown_before(shown_before)));
    rig.push(Arc::new(Frame::with_own(batch(2, vec![sample_comment(2).sequenced(2)]), Vec::new())));
    rig.poll_once();
    rig.finish();
    assert_eq!(rig.received(saw_it), ["1-2"]);
    for viewer in [missed_it, 0, VIEWERS - 1] {
        assert_eq!(rig.received(viewer), ["1-1", "2-2"], "{viewer}");
    }
    rig.push(comments_frame(3, 4));
    rig.poll_once();
    rig.finish();
    assert!((0..VIEWERS + 2).all(|viewer| rig.received(viewer).contains(&"3-4".to_owned())));
    let viewers = &rig.worker.streams.iter().next().unwrap().1.rejoined;
    assert_eq!(viewers.position(VIEWERS as u32 + 1), came_from(244));
    rig.viewers[saw_it].0.shutdown(std::net::Shutdown::Both).unwrap();
    while rig.worker.viewers.contains(saw_it) {
        rig.poll_once();
    }
    let viewers = &rig.worker.streams.iter().next().unwrap().1.rejoined;
    assert_eq!(viewers.position(VIEWERS as u32 + 1), None, "forgotten with the viewer");
}

#[test]
fn joins_and_leaves_between_slices_lose_no_frame() {
    let mut rig = Rig::new();
    rig.push(comments_frame(1, 5));
    rig.poll_once();
    // One that has been written, one that has not.
    let gone = [VIEWERS - 2, 1];
    for viewer in gone {
        rig.viewers[viewer].0.shutdown(std::net::Shutdown::Both).unwrap();
    }
    rig.attach();
    rig.push(comments_frame(6, 8));
    rig.push(deletion_frame(2));
    rig.finish();
    let here: Vec<usize> = (0..VIEWERS).filter(|viewer| !gone.contains(viewer)).collect();
    for viewer in here {
        let seen = rig.received(viewer);
        let deleted = "deleted".to_owned();
        assert_eq!(
            seen.iter().filter(|received| **received != deleted).count(),
            2,
            "{viewer}: {seen:?}"
        );
        assert_eq!(
            seen.iter().filter(|received| **received == deleted).count(),
            1,
            "{viewer}: {seen:?}"
        );
        assert!(
            seen.iter().position(|received| received == "1-5")
                < seen.iter().position(|t| t == "6-8")
        );
    }
    let newcomer = rig.received(VIEWERS);
    assert!(newcomer == ["welcome 5", "deleted", "6-8"], "{newcomer:?}");
}

#[test]
fn joiner_is_not_sent_a_deletion_taken_back() {
    let mut rig = Rig::new();
    [7, 8].into_iter().for_each(|seq| rig.push(deletion_frame(seq)));
    rig.poll_once();
    rig.finish();
    let comment_id = sample_comment(7).comment_id;
    rig.mailbox.send(Command::Restored { stream_id: STREAM, comment_id });
    rig.attach();
    rig.poll_once();
    assert_eq!(rig.received(0), ["deleted", "deleted"], "it was there before");
    assert_eq!(rig.received(VIEWERS), ["welcome 0", "deleted"], "that of the other comment");
}

#[test]
fn closing_all_waits_for_the_running_fan_out() {
    let mut rig = Rig::new();
    rig.push(comments_frame(1, 5));
    rig.poll_once();
    rig.push(comments_frame(6, 8));
    let (done, _done) = tokio::sync::oneshot::channel();
    let code = CloseCode::Shutdown;
    rig.mailbox.send(Command::CloseAll { code, jitter: Duration::ZERO, done });
    rig.poll_once();
    for (socket, _) in &mut rig.viewers {
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let places = ["\"to_seq\":5", "\"to_seq\":8", "\"bye\""].map(|what| text.find(what));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
    }
}

/// Returns what has arrived.
fn arrived(mut peer: &TcpStream) -> String {
    let mut bytes = Vec::new();
    match peer.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Ok(_) => bytes.extend_from_slice(b"END"),
        other => panic!("{other:?}"),
    }
    String::from_utf8(bytes).unwrap()
}

fn piped(reader: &mut PipeReader) -> String {
    let bytes: Vec<u8> = reader.take().iter().flatten().copied().collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn socket_and_pipe_get_the_same_events() {
    let mut rig = Rig::new();
    let (transport, peer) = connected();
    let (writer, mut reader) = pipe();
    rig.attach_link(ViewerLink::EventSocket { transport, head: "HEAD\n\n".into() });
    rig.attach_link(ViewerLink::Poll(writer));
    rig.poll_once();
    rig.push(comments_frame(1, 5));
    rig.push(deletion_frame(2));
    rig.poll_once();
    rig.finish();
    let events = piped(&mut reader);
    let arrived = arrived(&peer);
    // The `welcome` of each tells another number of viewers.
    let mut parts = arrived.splitn(3, "\n\n");
    assert_eq!(parts.next(), Some("HEAD"));
    assert_eq!(parts.nth(1), events.split_once("\n\n").map(|(_, rest)| rest));
    let ids: Vec<_> = events.lines().filter(|line| line.starts_with("id: ")).collect();
    assert_eq!(ids, ["id: 7:0", "id: 7:5"]);
    let kinds = ["welcome", "comment.deleted", "comments"];
    let places = kinds.map(|kind| events.find(&format!("data: {{\"type\":\"{kind}\"")));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{events}");
}

#[test]
fn event_viewers_end_with_bye() {
    let mut rig = Rig::new();
    let (transport, peer) = connected();
    let (writer, mut reader) = pipe();
    rig.attach_link(ViewerLink::EventSocket { transport, head: "HEAD\n\n".into() });
    rig.attach_link(ViewerLink::EventPipe(writer));
    rig.poll_once();
    let (done, _done) = tokio::sync::oneshot::channel();
    let code = CloseCode::Shutdown;
    rig.mailbox.send(Command::CloseAll { code, jitter: Duration::ZERO, done });
    rig.poll_once();
    let bye = "data: {\"type\":\"bye\",\"code\":\"shutdown\",\"reconnect_after_ms\":0}\n\n";
    let events = piped(&mut reader);
    assert!(events.ends_with(bye) && reader.is_finished(), "{events}");
    let read = arrived(&peer);
    assert!(read.ends_with(&format!("{bye}END")), "{read}");
}

#[test]
fn full_pipe_ends_in_a_gap_and_memory_is_bounded() {
    let mut rig = Rig::new();
    let (writer, mut reader) = pipe();
    rig.attach_link(ViewerLink::Poll(writer));
    rig.poll_once();
    piped(&mut reader);
    let ring_frames = rig.worker.parts.delivery.ring_frames as u64;
    let mut pushed = 0;
    // More than the pipe and the ring hold together.
    while pushed < 3 * ring_frames {
        for _ in 0..64 {
            rig.push(comments_frame(10 * pushed + 1, 10 * pushed + 10));
            pushed += 1;
        }
        rig.poll_once();
        rig.finish();
    }
    let first = piped(&mut reader);
    assert!(first.len() < 2 * crate::daemon::base::pipe::PIPE_BYTES, "{}", first.len());
    assert!(!first.contains("\"gap\""));
    rig.poll_once();
    let rest = piped(&mut reader);
    let end = format!("id: 7:{}\ndata: {{\"type\":\"gap\"", 10 * pushed);
    assert!(rest.contains(&end), "{rest}");
}

#[test]
fn pipe_without_a_reader_frees_its_viewer() {
    let mut rig = Rig::new();
    let (writer, reader) = pipe();
    rig.attach_link(ViewerLink::Poll(writer));
    rig.poll_once();
    assert_eq!(rig.worker.viewers.len(), VIEWERS + 1);
    drop(reader);
    rig.poll_once();
    assert_eq!(rig.worker.viewers.len(), VIEWERS);
}
