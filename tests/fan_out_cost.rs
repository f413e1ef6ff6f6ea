//! Cost of a frame, without a clock: one write per viewer and no allocation per viewer. And cost
//! of replies: one write for a batch of them. Comments of shadow-banned authors cost other viewers
//! nothing.
//!
//! Delivery runs in this process between its contracts, and its viewers are loopback sockets.
//! Writes are counted where they arrive: a socket without Nagle's delay sends one segment per
//! write, and the kernel counts the segments with data of each connection. This is the only test
//! here, because the allocations of the whole process are counted.

#![allow(unsafe_code, reason = "counts allocations, and asks the kernel for segments received")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::Config;
use live_comments::daemon::base::handoff::{
    Accepted, ConnectionId, Deflate, NewViewer, Permit, Reply, ReplySink as _, ViewerLink,
    ViewerSink as _,
};
use live_comments::daemon::base::status::StatusBoard;
use live_comments::daemon::engines::bus::{Batch, BusMessage, HeldBack, SharedBus};
use live_comments::daemon::engines::choose::Engines;
use live_comments::daemon::engines::directory::{RoomPolls, Streams};
use live_comments::daemon::engines::registry::NodeIdentity;
use live_comments::daemon::stages::delivery::{
    Delivery, DeliveryHandle, DeliveryParts, ViewerRequests,
};
use live_comments::net::Transport;
use live_comments::protocol::message::Encoding;
use live_comments::protocol::throttle::SampleRate;
use live_comments::protocol::{CommentId, Epoch, NodeId, SequencedComment, StreamId, UserId};
use nix::libc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const STREAM: StreamId = StreamId(1);
/// Viewers of each form. As many join a shared window between two key frames.
const VIEWERS: usize = 200;
const FRAMES: u64 = 25;
/// Allocations per frame for message, encoding, queues and logging. Far below one per viewer.
const MAX_ALLOCATIONS_PER_FRAME: u64 = 60;
/// Replies to one viewer at a time.
const ANSWERS: u64 = 50;
/// Bounds a hang.
const PATIENCE: Duration = Duration::from_secs(30);

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[derive(Debug)]
struct NothingHeld;

impl Permit for NothingHeld {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frame_costs_one_write_per_viewer() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.node.data_dir = directory.path().to_owned();
    config.node.name = "here".to_owned();
    config.delivery.workers = 2;
    // Nothing else may be written while frames are counted: no ping, and no presence.
    config.gateway.ping_interval = Duration::from_secs(3600);
    let identity = NodeIdentity {
        node: NodeId::new("here"),
        identity: "here".to_owned(),
        about: "here".to_owned(),
    };
    let engines =
        Engines::open(&config, &(Arc::new(SystemClock) as _), &StatusBoard::default(), &identity)
            .await
            .unwrap();
    let (submissions, _submissions) = mpsc::channel(1);
    let (reactions, _reactions) = mpsc::channel(1);
    let (auth, _auth) = mpsc::channel(1);
    let (rooms, _rooms) = mpsc::channel(1);
    let (votes, _votes) = mpsc::channel(1);
    let streams = Streams::load(engines.metadata.clone()).await.unwrap();
    let clock = Arc::new(SystemClock);
    let polls = RoomPolls::new(engines.metadata.clone(), streams.clone(), clock.clone());
    let delivery = Delivery::start(DeliveryParts {
        node: NodeId::new("here"),
        config: Arc::new(config),
        bus: engines.bus.clone(),
        log: engines.log.clone(),
        recent: engines.recent.clone(),
        comments: engines.comments.clone(),
        registry: engines.registry.clone(),
        totals: engines.totals.clone(),
        requests: ViewerRequests { submissions, reactions, auth, rooms, votes },
        board: StatusBoard::default(),
        clock,
        streams,
        polls,
    })
    .await
    .unwrap();
    let handle = delivery.handle();
    let stop = CancellationToken::new();
    let tasks = delivery.into_tasks(&stop);
    let running = [tokio::spawn(async { tasks.hub.await.unwrap() }), tokio::spawn(tasks.history)];

    let plain = Kind { deflate: Deflate::Off, head: 0x81 };
    let inside = Kind { deflate: Deflate::Shared, head: 0xC1 };
    // A viewer that joins between two key frames is sent frames that are compressed by themselves.
    let outside = Kind { deflate: Deflate::Shared, head: 0xC1 };
    let mut buffer = vec![0; 64 * 1024];
    let mut viewers = connect(&handle, plain, VIEWERS, &mut buffer);
    viewers.extend(connect(&handle, inside, VIEWERS, &mut buffer));
    let bus = &engines.bus;
    let epoch = engines.log.epoch();
    let allocations = send(bus, epoch, 1..=FRAMES, &mut viewers, &mut buffer).await;
    viewers.extend(connect(&handle, outside, VIEWERS, &mut buffer));
    let with_joiners = send(bus, epoch, FRAMES + 1..=2 * FRAMES, &mut viewers, &mut buffer).await;
    let with_hidden = send_beside_hidden(bus, epoch, 2 * FRAMES, &mut viewers, &mut buffer).await;
    // Beside each frame there is one of hidden comments, which nobody is sent.
    let counted = [(allocations, FRAMES), (with_joiners, FRAMES), (with_hidden, 2 * FRAMES)];
    for (allocations, frames) in counted {
        let limit = frames * MAX_ALLOCATIONS_PER_FRAME;
        assert!(allocations <= limit, "{allocations} allocations for {frames} frames, not {limit}");
    }

    // The first viewer is the first of the first worker.
    let connection = ConnectionId { worker: 0, generation: 1, slot: 0 };
    assert_eq!(
        answer(&handle, connection, &mut viewers[0], &mut buffer),
        1,
        "all acks in one write"
    );

    stop.cancel();
    handle.stop();
    for task in running {
        task.await.unwrap();
    }
    for (_, worker) in tasks.workers {
        worker.join().unwrap().unwrap();
    }
}

/// Sends as many frames as [`send`] beside comments of a shadow-banned author, in the same batches
/// and in batches of their own. Viewers are written what they would be without them.
async fn send_beside_hidden(
    bus: &SharedBus,
    epoch: Epoch,
    after: u64,
    viewers: &mut [Viewer],
    buffer: &mut [u8],
) -> u64 {
    let writes_before: Vec<u32> = viewers.iter().map(Viewer::data_segments).collect();
    let mut allocations = 0;
    for number in 0..FRAMES {
        let first = after + 3 * number + 1;
        let hidden = |seq| vec![SequencedComment { user_id: UserId(666), ..comment(seq) }];
        let alone = Batch { comments: Vec::new(), own: hidden(first), ..batch(first, epoch) };
        let shown =
            Batch { from_seq: first + 1, own: hidden(first + 1), ..batch(first + 2, epoch) };
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for batch in [alone, shown] {
            bus.publish(STREAM, vec![BusMessage::Batch(Arc::new(batch))]).await.unwrap();
        }
        for viewer in viewers.iter_mut() {
            let head = viewer.kind.head;
            viewer.read_frame(head, buffer);
        }
        allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
    }
    for (viewer, before) in viewers.iter().zip(writes_before) {
        let writes = u64::from(viewer.data_segments() - before);
        assert_eq!(writes, FRAMES, "hidden comments cost viewers no write");
    }
    allocations
}

/// Sends frames to all viewers and returns the number of allocations.
async fn send(
    bus: &SharedBus,
    epoch: Epoch,
    seqs: RangeInclusive<u64>,
    viewers: &mut [Viewer],
    buffer: &mut [u8],
) -> u64 {
    let writes_before: Vec<u32> = viewers.iter().map(Viewer::data_segments).collect();
    let mut allocations = 0;
    for seq in seqs.clone() {
        let message = BusMessage::Batch(Arc::new(batch(seq, epoch)));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        bus.publish(STREAM, vec![message]).await.unwrap();
        for viewer in viewers.iter_mut() {
            let head = viewer.kind.head;
            let frame = viewer.read_frame(head, buffer);
            let compressed = head & 0x40 != 0;
            assert!(compressed || frame.starts_with(br#"{"type":"comments""#));
        }
        allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
    }
    let frames = seqs.count();
    for (viewer, before) in viewers.iter().zip(writes_before) {
        let writes = viewer.data_segments() - before;
        assert_eq!(writes as usize, frames, "one write for each frame");
    }
    allocations
}

/// Sends a viewer many acks at once and returns the number of writes.
fn answer(
    handle: &DeliveryHandle,
    connection: ConnectionId,
    viewer: &mut Viewer,
    buffer: &mut [u8],
) -> u32 {
    let before = viewer.data_segments();
    let accepted = |seq| Accepted {
        comment_id: CommentId::from_unix_ticks(seq, 0, [2; 6]),
        seq,
        comment: None,
        delayed: false,
    };
    let reply = |seq| Reply { connection, client_ref: None, outcome: Ok(accepted(seq)) };
    handle.reply((1..=ANSWERS).map(reply).collect());
    for _ in 0..ANSWERS {
        assert!(viewer.read_frame(0x81, buffer).starts_with(br#"{"type":"ack""#));
    }
    viewer.data_segments() - before
}

/// The compression a viewer agreed to, and the first byte of its frames.
#[derive(Debug, Clone, Copy)]
struct Kind {
    deflate: Deflate,
    head: u8,
}

struct Viewer {
    socket: TcpStream,
    kind: Kind,
}

/// Connects viewers as the gateway does, and reads their welcome.
fn connect(handle: &DeliveryHandle, kind: Kind, count: usize, buffer: &mut [u8]) -> Vec<Viewer> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pair = |_| {
        let viewer = TcpStream::connect(address).unwrap();
        viewer.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        handle.attach(NewViewer {
            link: ViewerLink::WebSocket {
                transport: Transport::Plain(mio::net::TcpStream::from_std(socket)),
                early_bytes: Vec::new(),
                encoding: Encoding::Json,
                deflate: kind.deflate,
            },
            stream_id: STREAM,
            bearer: None,
            must_authenticate: false,
            resume_from: None,
            permit: Box::new(NothingHeld),
        });
        Viewer { socket: viewer, kind }
    };
    let mut viewers: Vec<_> = (0..count).map(pair).collect();
    for viewer in &mut viewers {
        assert!(viewer.read_frame(0x81, buffer).starts_with(br#"{"type":"welcome""#));
    }
    viewers
}

fn comment(seq: u64) -> SequencedComment {
    SequencedComment {
        comment_id: CommentId::from_unix_ticks(seq, 0, [1; 6]),
        user_id: UserId(7),
        name: "ann".into(),
        message: "what a save".into(),
        created_at: seq,
        seq,
        badges: Default::default(),
        parent_id: None,
    }
}

fn batch(seq: u64, epoch: Epoch) -> Batch {
    Batch {
        epoch,
        from_seq: seq,
        to_seq: seq,
        sample_rate: SampleRate::ALL,
        comments: vec![comment(seq)],
        sampled_out: 0,
        deletions: Vec::new(),
        staff: Vec::new(),
        own: Vec::new(),
        held_back: HeldBack::default(),
    }
}

impl Viewer {
    /// Reads the payload of the next frame, which is unfragmented and shorter than 64 KiB.
    fn read_frame<'a>(&mut self, first: u8, buffer: &'a mut [u8]) -> &'a [u8] {
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).unwrap();
        assert_eq!(head[0], first, "a whole text frame");
        let length = if head[1] == 126 {
            let mut length = [0; 2];
            self.socket.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        } else {
            assert!(head[1] < 126);
            usize::from(head[1])
        };
        self.socket.read_exact(&mut buffer[..length]).unwrap();
        &buffer[..length]
    }

    /// Returns the segments with data that the connection has received: `tcpi_data_segs_in` of
    /// Linux.
    fn data_segments(&self) -> u32 {
        const AT: usize = 152;
        let mut info = [0_u8; 256];
        let mut length = info.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `info`.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        assert!(length as usize >= AT + 4, "a kernel since 4.6 counts segments with data");
        u32::from_ne_bytes([info[AT], info[AT + 1], info[AT + 2], info[AT + 3]])
    }
}
