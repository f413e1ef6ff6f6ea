//! The shared deflate window under everything that happens to viewers: whatever they were sent in
//! between, what is compressed must be readable, and all must have seen the same comments.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use slab::Slab;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::base::handoff::Deflate;
use crate::daemon::stages::delivery::deflate::{Compressors, StreamWindow, WindowPosition};
use crate::daemon::stages::delivery::form::Form;
use crate::daemon::stages::delivery::frame::{Frame, Lane};
use crate::daemon::stages::delivery::peer::{Peer, Read};
use crate::daemon::stages::delivery::worker::fan_out::FastWrite;
use crate::daemon::stages::delivery::worker::outlet::Outlet;
use crate::daemon::testing::comments::sample_comment_id;
use crate::net::Transport;
use crate::net::websocket::FrameReader;
use crate::protocol::admin::TransportKind;
use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::message::{CommentsBatch, Encoding};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Epoch, Seq, StreamId, UserId};

const FORMS: [Form; 6] = [
    Form::JsonShared,
    Form::MsgpackShared,
    Form::JsonShared,
    Form::MsgpackShared,
    Form::MsgpackDeflate,
    Form::Json,
];

/// Small, so that a viewer that does not read blocks and falls off the ring.
const BUFFER_BYTES: usize = 2048;
const RING_FRAMES: usize = 6;

fn comment(seq: Seq) -> SequencedComment {
    let filler = "no way he made that jump ".repeat(seq as usize % 11);
    SequencedComment {
        comment_id: sample_comment_id(seq),
        user_id: UserId(seq % 13 + 1),
        name: format!("viewer {}", seq % 13).into(),
        message: format!("{seq}: {filler}").into(),
        created_at: 1_700_000_000_000 + seq,
        seq,
        badges: Default::default(),
        parent_id: None,
    }
}

fn batch(from_seq: Seq, to_seq: Seq) -> ServerMessage {
    let comments = (from_seq..=to_seq).map(comment).collect();
    let epoch = Epoch(7);
    let sample_rate = SampleRate::ALL;
    let echo = false;
    ServerMessage::Comments(CommentsBatch { epoch, from_seq, to_seq, sample_rate, comments, echo })
}

/// A socket and its other end, both with little room.
fn connection() -> (std::net::TcpStream, TcpStream) {
    let small = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(BUFFER_BYTES).unwrap();
        socket.set_send_buffer_size(BUFFER_BYTES).unwrap();
        socket
    };
    let listener = small();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let peer = small();
    peer.connect(&listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    (socket.into(), peer.into())
}

/// A viewer's end and what it has understood.
#[derive(Debug)]
struct Audience {
    slot: usize,
    socket: TcpStream,
    peer: Peer,
    /// Everything up to here it was shown, or told that it was skipped.
    covered_to: Seq,
    compressed: u64,
    gaps: u64,
    gone: bool,
}

impl Audience {
    /// Reads what is there; true if there was anything.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(bytes) => {
                for read in self.peer.read(&buffer[..bytes]) {
                    self.check(read);
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn check(&mut self, read: Read) {
        self.compressed += u64::from(read.compressed);
        match read.message {
            ServerMessage::Comments(shown) => {
                assert_eq!(shown.from_seq, self.covered_to + 1);
                let expected: Vec<_> = (shown.from_seq..=shown.to_seq).map(comment).collect();
                assert_eq!(shown.comments, expected);
                self.covered_to = shown.to_seq;
            }
            ServerMessage::Gap { from_seq, to_seq, .. } => {
                assert_eq!(from_seq, self.covered_to + 1);
                (self.covered_to, self.gaps) = (to_seq, self.gaps + 1);
            }
            ServerMessage::CommentDeleted(_) | ServerMessage::Announcement { .. } => {
                assert!(!read.compressed, "it overtakes what is in the window");
            }
            ServerMessage::Direct { .. } => assert!(!read.compressed, "it is private"),
            _ => {}
        }
    }
}

/// An event, and the viewer it happens to.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join(u8),
    Comments(u8),
    Presence(u64),
    Deletion,
    Announcement,
    /// To so many viewers.
    FanOut(u8),
    Private(u8),
    /// A page of what lies ahead, up to so far into it.
    Page(u8, u8),
    Pause(u8),
    Resume(u8),
    Read(u8),
    Leave(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u8>().prop_map(Step::Join),
        12 => (1_u8..12).prop_map(Step::Comments),
        2 => (0_u64..900).prop_map(Step::Presence),
        1 => Just(Step::Deletion),
        1 => Just(Step::Announcement),
        12 => prop_oneof![1_u8..6, Just(u8::MAX)].prop_map(Step::FanOut),
        2 => any::<u8>().prop_map(Step::Private),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(who, part)| Step::Page(who, part)),
        1 => any::<u8>().prop_map(Step::Pause),
        2 => any::<u8>().prop_map(Step::Resume),
        6 => any::<u8>().prop_map(Step::Read),
        1 => any::<u8>().prop_map(Step::Leave),
    ]
}

/// One worker's part of a stream, without the worker.
struct Rig {
    stream: Stream,
    deflate: Arc<StreamWindow>,
    viewers: Slab<Viewer>,
    audience: Vec<Audience>,
    seq: Seq,
    key_frames: u32,
}

impl Rig {
    fn new(key_frames: u32) -> Self {
        let config = DeliveryConfig {
            ring_frames: RING_FRAMES,
            deflate_key_frames: key_frames,
            deflate_key_interval: Duration::from_secs(3600),
            ..DeliveryConfig::default()
        };
        let stream = Stream::new(StreamId(5), 1, &config);
        let deflate = Compressors::new(&config).stream();
        let viewers = Slab::new();
        let audience = Vec::new();
        Self { stream, deflate, viewers, audience, seq: 0, key_frames }
    }

    /// As the worker takes a frame in.
    fn push(&mut self, lane: Lane, message: ServerMessage) {
        let frame = Arc::new(Frame::new(lane, message).with_window(&self.deflate));
        if self.stream.must_flush_before(&frame) {
            self.fan_out();
        }
        self.stream.push(frame);
    }

    fn comments(&mut self, count: u64) {
        let from_seq = self.seq + 1;
        self.seq += count;
        self.push(Lane::Ordered, batch(from_seq, self.seq));
    }

    fn fan_out(&mut self) {
        while self.stream.has_pending_fan_out() {
            self.fan_out_to(u8::MAX);
        }
    }

    /// Goes on with a fan-out, as far as so many viewers.
    fn fan_out_to(&mut self, viewers: u8) {
        let Some(mut fan_out) = self.stream.resume_fan_out(Instant::now()) else { return };
        for _ in 0..viewers {
            let Some(slot) = self.stream.viewers.next_unvisited() else { return };
            match fan_out.write(&mut self.viewers[slot], &mut WriteCounts::default()) {
                FastWrite::Complete => {}
                FastWrite::Partial(_) | FastWrite::SlowPath => self.write_pending(slot),
                FastWrite::SocketError => panic!("the socket is sound"),
            }
        }
        self.stream.suspend_fan_out(fan_out);
    }

    fn write_pending(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        viewer.flags.clear(Flags::BLOCKED);
        let counts = &mut WriteCounts::default();
        match write_pending(viewer, Some(&self.stream), &WriteTimes::discarded(), counts) {
            WriteOutcome::Done => {}
            WriteOutcome::Blocked => viewer.flags.set(Flags::BLOCKED),
            // The page that a joiner would wait for is the test's to give.
            WriteOutcome::NeedsPage => {}
            WriteOutcome::SlowConsumer => self.leave(slot),
            WriteOutcome::SocketError => panic!("the socket is sound"),
        }
    }

    fn leave(&mut self, slot: usize) {
        let place = self.viewers[slot].list_position as usize;
        for (moved, place) in self.stream.viewers.remove(place, false) {
            self.viewers[moved].list_position = place;
        }
        self.viewers.remove(slot);
        let left =
            self.audience.iter_mut().find(|audience| audience.slot == slot && !audience.gone);
        left.unwrap().gone = true;
    }

    fn join(&mut self, form: Form) -> usize {
        let (socket, peer) = connection();
        let viewer = Viewer {
            outlet: Outlet::Socket(Transport::Plain(mio::net::TcpStream::from_std(socket))),
            generation: 1,
            stream: 0,
            list_position: 0,
            cursor: self.stream.ordered.end(),
            control_cursor: self.stream.control.end(),
            seq: self.stream.covered_to,
            window: WindowPosition::OUTSIDE,
            expires_s: 0,
            issuer_key: None,
            seen_s: 0,
            form,
            kind: TransportKind::Websocket,
            flags: Flags::default(),
            may_compress: false,
            errors: 0,
            identity: None,
            permit: None,
            frames: FrameReader::default(),
            extras: None,
        };
        let slot = self.viewers.insert(viewer);
        self.viewers[slot].list_position = self.stream.viewers.add(slot, false);
        self.audience.push(Audience {
            slot,
            socket: peer,
            peer: Peer::new(form.encoding()),
            covered_to: self.stream.covered_to,
            compressed: 0,
            gaps: 0,
            gone: false,
        });
        self.audience.len() - 1
    }

    /// The viewer that a number means, if there is any.
    fn who(&self, number: u8) -> Option<(usize, usize)> {
        let here: Vec<_> = (0..self.audience.len()).filter(|at| !self.audience[*at].gone).collect();
        let at = *here.get(usize::from(number) % here.len().max(1))?;
        Some((at, self.audience[at].slot))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Join(form) => {
                self.join(FORMS[usize::from(form) % FORMS.len()]);
            }
            Step::Comments(count) => self.comments(u64::from(count)),
            Step::Presence(viewers) => {
                self.push(Lane::Ordered, ServerMessage::Presence { viewers });
            }
            Step::Deletion => {
                let comment_id = comment(self.seq).comment_id;
                let deletion = Deletion { comment_id, reason: "moderator".into(), timestamp: 1 };
                self.push(Lane::Control, ServerMessage::CommentDeleted(deletion));
            }
            Step::Announcement => {
                let message = "the stream moves to the other channel after this round".into();
                self.push(Lane::Control, ServerMessage::Announcement { message });
            }
            Step::FanOut(viewers) => self.fan_out_to(viewers),
            _ => self.take_of_viewer(step),
        }
    }

    fn take_of_viewer(&mut self, step: Step) {
        let (Step::Private(who)
        | Step::Page(who, _)
        | Step::Pause(who)
        | Step::Resume(who)
        | Step::Read(who)
        | Step::Leave(who)) = step
        else {
            return;
        };
        let Some((at, slot)) = self.who(who) else { return };
        let viewer = &mut self.viewers[slot];
        match step {
            Step::Private(_) => {
                let from = "operator".into();
                let message = "a word ".repeat(20).into();
                let direct =
                    ServerMessage::Direct { from, message, message_id: Some(1), from_user: None };
                let bytes = viewer.form.encode_private(&direct);
                viewer.enqueue(bytes);
                self.write_pending(slot);
            }
            Step::Page(_, part) => {
                // Waits for what was begun, as the worker's page does, and reaches into what the
                // ring has: the rest of a batch is then cut out for this viewer alone.
                let ahead = self.stream.covered_to - viewer.seq;
                let to_seq = viewer.seq + u64::from(part) % (ahead + 1);
                if to_seq > viewer.seq {
                    let page = viewer.form.encode_private(&batch(viewer.seq + 1, to_seq));
                    viewer.enqueue_page(page);
                    viewer.seq = to_seq;
                }
                self.write_pending(slot);
            }
            Step::Pause(_) => viewer.flags.set(Flags::PAUSED),
            Step::Resume(_) => {
                viewer.flags.clear(Flags::PAUSED);
                self.write_pending(slot);
            }
            Step::Read(_) => {
                self.audience[at].read();
                self.write_pending(slot);
            }
            Step::Leave(_) => self.leave(slot),
            _ => {}
        }
    }

    /// Everybody reads to the end and must know everything.
    fn finish(&mut self) {
        self.fan_out();
        for at in 0..self.audience.len() {
            while !self.audience[at].gone {
                let slot = self.audience[at].slot;
                self.viewers[slot].flags.clear(Flags::PAUSED);
                self.write_pending(slot);
                let audience = &mut self.audience[at];
                let more = audience.read();
                let done = self.viewers.get(slot).is_none_or(|viewer| {
                    !viewer.flags.has(Flags::BLOCKED) && audience.covered_to == self.seq
                });
                if !more && done {
                    break;
                }
            }
            let audience = &mut self.audience[at];
            while audience.read() {}
            assert!(audience.gone || audience.peer.is_at_rest());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn all_viewers_read_the_same_comments(
        steps in prop::collection::vec(step(), 1..250),
        key_frames in 1_u32..12,
    ) {
        let mut rig = Rig::new(key_frames);
        (0..4).for_each(|form| rig.take(Step::Join(form)));
        steps.into_iter().for_each(|step| rig.take(step));
        rig.finish();
    }
}

#[test]
fn joiner_enters_at_the_next_key_frame() {
    const FRAMES: u64 = 80;
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let mut rig = Rig::new(16);
        let form = Form::new(encoding, Deflate::Shared);
        let mut waited = [0; FRAMES as usize];
        for _ in 0..FRAMES {
            rig.join(form);
            rig.comments(2);
            rig.fan_out();
            let newest = rig.audience.len() - 1;
            let slot = rig.audience.last().unwrap().slot;
            let direct = ServerMessage::Direct {
                from: "op".into(),
                message: "hello".into(),
                message_id: Some(1),
                from_user: None,
            };
            let direct = form.encode_private(&direct);
            rig.viewers[slot].enqueue(direct);
            rig.write_pending(slot);
            (0..=newest).for_each(|at| while rig.audience[at].read() {});
            for (waited, audience) in waited.iter_mut().zip(&rig.audience) {
                let window = rig.viewers[audience.slot].window;
                *waited += u32::from(window == WindowPosition::OUTSIDE);
            }
        }
        for (joined, audience) in (0_u64..).zip(&rig.audience) {
            assert_eq!((audience.covered_to, audience.gaps), (rig.seq, 0));
            assert_eq!(audience.compressed, FRAMES - joined, "also before the key frame");
        }
        assert!(waited.iter().all(|waited| *waited <= rig.key_frames), "{waited:?}");
        assert_eq!(waited[0], 0, "the first frame of all is a key frame");
    }
}

#[test]
fn viewer_off_the_ring_re_enters_at_a_key_frame() {
    let mut rig = Rig::new(4);
    let slow = rig.join(Form::JsonShared);
    let quick = rig.join(Form::JsonShared);
    for _ in 0..400 {
        rig.comments(11);
        rig.fan_out();
        while rig.audience[quick].read() {}
    }
    assert_eq!((rig.audience[quick].compressed, rig.audience[quick].gaps), (400, 0));
    while rig.audience[slow].covered_to < rig.seq {
        rig.audience[slow].read();
        rig.write_pending(rig.audience[slow].slot);
    }
    assert!(rig.audience[slow].gaps > 0, "it was told that it skipped");
    let compressed = rig.audience[slow].compressed;
    for _ in 0..8 {
        rig.comments(1);
        rig.fan_out();
        (0..2).for_each(|at| while rig.audience[at].read() {});
    }
    assert!(rig.audience[slow].compressed > compressed);
    let window = rig.viewers[rig.audience[slow].slot].window;
    assert_ne!(window, WindowPosition::OUTSIDE);
    assert_eq!(rig.audience[slow].covered_to, rig.seq);
}

#[test]
fn viewers_inside_and_outside_are_written_once() {
    let mut rig = Rig::new(64);
    let inside = rig.join(Form::JsonShared);
    rig.comments(3);
    rig.fan_out();
    let outside = rig.join(Form::JsonShared);
    rig.comments(3);
    rig.push(Lane::Ordered, ServerMessage::Presence { viewers: 2 });
    let mut fan_out = rig.stream.resume_fan_out(Instant::now()).unwrap();
    while let Some(slot) = rig.stream.viewers.next_unvisited() {
        let served = fan_out.write(&mut rig.viewers[slot], &mut WriteCounts::default());
        assert_eq!(served, FastWrite::Complete, "nobody needs a second write");
    }
    rig.finish();
    assert_eq!((rig.audience[inside].compressed, rig.audience[outside].compressed), (3, 2));
}
