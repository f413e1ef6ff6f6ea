//! The slow path on a real socket whose other end the test reads.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::stages::delivery::audience::ShownBefore;
use crate::daemon::stages::delivery::deflate::{Compressors, WindowPosition};
use crate::daemon::stages::delivery::form::Form;
use crate::daemon::stages::delivery::frame::Lane;
use crate::daemon::stages::delivery::peer::Peer;
use crate::daemon::stages::delivery::worker::fan_out::FastWrite;
use crate::daemon::stages::delivery::worker::outlet::Outlet;
use crate::daemon::testing::comments::{sample_comment, sample_deletion};
use crate::daemon::testing::frames::{comments_frame, deletion_frame};
use crate::net::Transport;
use crate::net::websocket::FrameReader;
use crate::protocol::admin::TransportKind;
use crate::protocol::events::{Removal, Told};
use crate::protocol::message::CommentsBatch;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    Epoch, Identity, Role, Seq, SequencedComment, Standing, StreamId, StreamPosition, UserId,
};

fn stream(ring_frames: usize) -> Stream {
    let config = DeliveryConfig { ring_frames, ..DeliveryConfig::default() };
    Stream::new(StreamId(5), 1, &config)
}

/// A viewer that has had everything up to `seq` and reads the rings from their beginning.
fn viewer(seq: Seq) -> (Viewer, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let viewer = Viewer {
        outlet: Outlet::Socket(Transport::Plain(mio::net::TcpStream::from_std(socket))),
        generation: 1,
        stream: 0,
        list_position: 0,
        cursor: 0,
        control_cursor: 0,
        seq,
        window: WindowPosition::OUTSIDE,
        expires_s: 0,
        issuer_key: None,
        seen_s: 0,
        form: Form::Json,
        kind: TransportKind::Websocket,
        flags: Flags::default(),
        may_compress: false,
        errors: 0,
        identity: None,
        permit: None,
        frames: FrameReader::default(),
        extras: None,
    };
    (viewer, peer)
}

/// Describes the received messages: ranges with their number of comments, gaps, deletions.
fn received(mut peer: &TcpStream) -> Vec<String> {
    let mut bytes = Vec::new();
    // Ends with the read timeout: everything was written before.
    let _ = peer.read_to_end(&mut bytes);
    let mut received = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let header = crate::net::websocket::parse_header(rest).unwrap().unwrap();
        let end = header.header_bytes + header.payload_bytes as usize;
        let text = &rest[header.header_bytes..end];
        let message: ServerMessage = serde_json::from_slice(text).unwrap();
        received.push(match message {
            ServerMessage::Comments(batch) => {
                format!("{}-{}: {}", batch.from_seq, batch.to_seq, batch.comments.len())
            }
            ServerMessage::Gap { from_seq, to_seq, .. } => format!("gap {from_seq}-{to_seq}"),
            ServerMessage::CommentDeleted(_) => "deleted".to_owned(),
            ServerMessage::Presence { .. } => "presence".to_owned(),
            ServerMessage::ThrottleNotification { .. } => "throttle".to_owned(),
            other => panic!("not expected: {other:?}"),
        });
        rest = &rest[end..];
    }
    received
}

fn outcome(viewer: &mut Viewer, stream: &Stream) -> WriteOutcome {
    write_pending(viewer, Some(stream), &WriteTimes::discarded(), &mut WriteCounts::default())
}

#[test]
fn draining_viewer_is_held_up_but_stuck_one_is_not() {
    let (mut viewer, _peer) = viewer(0);
    viewer.record_full_socket(100);
    assert!(!viewer.is_held_up(100), "its socket is not full any more");
    viewer.flags.set(Flags::BLOCKED);
    assert!(viewer.is_held_up(100) && viewer.is_held_up(120));
    assert!(!viewer.is_held_up(140), "it does not read at all, which is its own fault");
    viewer.record_full_socket(140);
    assert!(viewer.is_held_up(141));
}

#[test]
fn received_batches_are_skipped_or_trimmed() {
    let mut stream = stream(16);
    [comments_frame(1, 5), comments_frame(6, 10), comments_frame(11, 12)].into_iter().for_each(
        |frame| {
            stream.push(frame);
        },
    );
    let (mut viewer, peer) = viewer(8);
    assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
    assert_eq!(received(&peer), ["9-10: 2", "11-12: 2"]);
    assert_eq!((viewer.seq, viewer.cursor), (12, 3));
}

#[test]
fn hole_becomes_a_gap() {
    let mut stream = stream(16);
    stream.push(comments_frame(1, 5));
    stream.push(comments_frame(9, 10));
    let (mut viewer, peer) = viewer(0);
    assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
    assert_eq!(received(&peer), ["1-5: 5", "gap 6-8", "9-10: 2"]);
}

#[test]
fn viewer_off_the_ring_skips_to_the_head() {
    let mut stream = stream(2);
    (0..5).for_each(|n| {
        stream.push(comments_frame(n * 10 + 1, n * 10 + 10));
    });
    let (mut viewer, peer) = viewer(10);
    let mut counts = WriteCounts::default();
    let times = WriteTimes::discarded();
    assert_eq!(write_pending(&mut viewer, Some(&stream), &times, &mut counts), WriteOutcome::Done);
    assert_eq!(received(&peer), ["gap 11-50", "throttle", "presence"]);
    stream.push(comments_frame(51, 52));
    assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
    assert_eq!(received(&peer), ["51-52: 2"]);
}

#[test]
fn deletions_come_first_even_while_paused() {
    let mut stream = stream(16);
    stream.push(comments_frame(1, 5));
    stream.push(deletion_frame(3));
    let (mut reading, peer) = viewer(0);
    assert_eq!(outcome(&mut reading, &stream), WriteOutcome::Done);
    assert_eq!(received(&peer), ["deleted", "1-5: 5"]);
    let (mut paused, peer) = viewer(0);
    paused.flags.set(Flags::PAUSED);
    assert_eq!(outcome(&mut paused, &stream), WriteOutcome::Done);
    assert_eq!(received(&peer), ["deleted"]);
    let (mut returning, peer) = viewer(0);
    returning.flags.set(Flags::CATCHING_UP);
    assert_eq!(outcome(&mut returning, &stream), WriteOutcome::NeedsPage);
    assert_eq!(received(&peer), ["deleted"]);
    returning.flags.set(Flags::PAUSED);
    assert_eq!(outcome(&mut returning, &stream), WriteOutcome::Done, "no comments while paused");
}

#[test]
fn viewer_that_missed_deletions_is_slow_consumer() {
    let mut stream = stream(2);
    (1..=3).for_each(|seq| {
        stream.push(deletion_frame(seq));
    });
    let (mut viewer, _peer) = viewer(0);
    assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::SlowConsumer);
}

#[test]
fn fast_path_writes_a_run_once_per_viewer() {
    let mut stream = stream(16);
    [comments_frame(1, 5), deletion_frame(3), comments_frame(6, 6)].into_iter().for_each(|frame| {
        stream.push(frame);
    });
    let mut fan_out = stream.resume_fan_out(Instant::now()).unwrap();
    let (mut viewers, peers): (Vec<_>, Vec<_>) = (0..3).map(|_| viewer(0)).unzip();
    viewers[1].seq = 6;
    let mut counts = WriteCounts::default();
    let mut served = viewers.iter_mut().map(|viewer| fan_out.write(viewer, &mut counts));
    let expected = [FastWrite::Complete, FastWrite::SlowPath, FastWrite::Complete];
    assert!(served.by_ref().eq(expected), "nobody else needs a second write");
    assert_eq!((counts.frames, counts.comments), (6, 12));
    assert_eq!(received(&peers[0]), ["deleted", "1-5: 5", "6-6: 1"]);
    assert_eq!(received(&peers[2]), ["deleted", "1-5: 5", "6-6: 1"]);
    assert!(viewers[0].extras.is_none(), "and owns nothing after it");
}

#[test]
fn partial_frame_is_finished_first() {
    let mut stream = stream(4096);
    let (mut viewer, peer) = viewer(0);
    let mut seq = 0;
    while outcome(&mut viewer, &stream) != WriteOutcome::Blocked {
        stream.push(comments_frame(seq + 1, seq + 50));
        seq += 50;
    }
    assert_eq!(viewer.private_bytes(), 0, "what all are sent is not its private backlog");
    viewer.enqueue(Form::Json.encode_private(&ServerMessage::Presence { viewers: 3 }));
    stream.push(deletion_frame(3));
    let mut all = Vec::new();
    let mut done = false;
    while !done {
        done = outcome(&mut viewer, &stream) == WriteOutcome::Done;
        // Ends with the read timeout, after all that was written.
        let _ = (&peer).read_to_end(&mut all);
    }
    let mut rest = &all[..];
    let mut covered_to = 0;
    while let Some(header) = crate::net::websocket::parse_header(rest).unwrap() {
        let end = header.header_bytes + header.payload_bytes as usize;
        let text = &rest[header.header_bytes..end];
        if let ServerMessage::Comments(batch) = serde_json::from_slice(text).unwrap() {
            assert_eq!(batch.from_seq, covered_to + 1);
            covered_to = batch.to_seq;
        }
        rest = &rest[end..];
    }
    assert!(rest.is_empty() && covered_to == seq, "{covered_to} of {seq}");
}

const AUTHOR: UserId = UserId(42);

fn log_in(viewer: &mut Viewer, user_id: UserId) {
    let identity = Identity {
        user_id,
        name: "ann".into(),
        role: Role::Viewer,
        everywhere: Role::Viewer,
        avatar: None,
        comments_per_minute: None,
        standing: Standing::default(),
    };
    viewer.identity = Some(Arc::new(identity));
}

fn own(seq: Seq) -> Vec<SequencedComment> {
    vec![SequencedComment { user_id: AUTHOR, ..sample_comment(seq).sequenced(seq) }]
}

fn batch_of(from_seq: Seq, to_seq: Seq, seqs: &[Seq]) -> CommentsBatch {
    let comments = seqs.iter().map(|seq| sample_comment(*seq).sequenced(*seq)).collect();
    let sample_rate = SampleRate::ALL;
    CommentsBatch { epoch: Epoch(7), from_seq, to_seq, sample_rate, comments, echo: false }
}

#[test]
fn only_the_author_is_sent_its_hidden_comments() {
    let mut stream = stream(16);
    stream.push(Arc::new(Frame::with_own(batch_of(1, 3, &[1, 3]), own(2))));
    stream.push(Arc::new(Frame::for_authors_only(batch_of(4, 4, &[]), own(4))));
    stream.push(Arc::new(Frame::for_authors_only(batch_of(4, 5, &[]), own(5))));
    stream.push(comments_frame(4, 6));
    assert_eq!(stream.covered_to, 6);
    let sent = [
        (Some(AUTHOR), vec!["1-3: 3", "4-4: 1", "5-5: 1", "6-6: 1"]),
        (Some(UserId(7)), vec!["1-3: 2", "4-6: 3"]),
        (None, vec!["1-3: 2", "4-6: 3"]),
    ];
    for (user, expected) in sent {
        let (mut viewer, peer) = viewer(0);
        if let Some(user) = user {
            log_in(&mut viewer, user);
        }
        assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
        assert_eq!(received(&peer), expected, "{user:?}");
        assert_eq!((viewer.seq, viewer.cursor), (6, 4));
    }
}

#[test]
fn comment_of_an_earlier_epoch_is_sent_once() {
    let place = |seq| StreamPosition { epoch: Epoch(6), seq };
    let again = |seq: Seq, before| {
        let comment = sample_comment(seq).sequenced(seq);
        vec![ShownBefore { comment, place: place(before), is_own: false }]
    };
    let mut stream = stream(16);
    let both = Frame::with_own(batch_of(1, 3, &[1, 3]), Vec::new());
    stream.push(Arc::new(both.with_shown_before(again(2, 242))));
    let nothing_else = Frame::for_authors_only(batch_of(4, 4, &[]), Vec::new());
    stream.push(Arc::new(nothing_else.with_shown_before(again(4, 244))));
    stream.push(Arc::new(Frame::with_own(batch_of(4, 6, &[5, 6]), Vec::new())));
    let unseen = ["1-3: 3", "4-4: 1", "5-6: 2"];
    let sent = [
        (Some(place(244)), &["1-3: 2", "4-6: 2"][..]),
        (Some(place(243)), &["1-3: 2", "4-4: 1", "5-6: 2"]),
        (Some(place(241)), &unseen),
        (Some(StreamPosition { epoch: Epoch(5), seq: 900 }), &unseen),
        (None, &unseen),
    ];
    for (came_from, expected) in sent {
        let (mut viewer, peer) = viewer(0);
        if let Some(came_from) = came_from {
            stream.rejoined.add(viewer.generation, came_from, Instant::now());
        }
        assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
        assert_eq!(received(&peer), expected, "{came_from:?}");
        assert_eq!((viewer.seq, viewer.cursor), (6, 3));
        stream.rejoined.remove(viewer.generation);
    }
    let (mut viewer, _peer) = viewer(0);
    let mut fan_out = stream.resume_fan_out(Instant::now()).unwrap();
    let written = fan_out.write(&mut viewer, &mut WriteCounts::default());
    assert_eq!(written, FastWrite::SlowPath, "which decides for each viewer");
}

#[test]
fn deletion_is_kept_from_its_author() {
    let mut stream = stream(16);
    stream.push(deletion_frame(1));
    let kept = Removal { told: Told::AllBut(AUTHOR), ..sample_deletion(2) };
    stream.push(Arc::new(Frame::deletion(2, &kept)));
    stream.push(deletion_frame(3));
    for (user, deletions) in [(AUTHOR, 2), (UserId(7), 3)] {
        let (mut viewer, peer) = viewer(0);
        log_in(&mut viewer, user);
        assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
        assert_eq!(received(&peer), vec!["deleted"; deletions]);
        assert_eq!(viewer.control_cursor, 3);
    }
}

#[test]
fn viewer_behind_is_not_sent_a_deletion_taken_back() {
    let mut stream = stream(16);
    let kept = Removal { told: Told::AllBut(AUTHOR), ..sample_deletion(2) };
    stream.push(Arc::new(Frame::deletion(1, &kept)));
    stream.push(deletion_frame(3));
    stream.take_deletions_back(kept.comment_id);
    for user in [AUTHOR, UserId(7)] {
        let (mut viewer, peer) = viewer(0);
        log_in(&mut viewer, user);
        assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
        assert_eq!(received(&peer), ["deleted"]);
        assert_eq!(viewer.control_cursor, 2);
    }
}

#[test]
fn deletion_of_a_hidden_comment_is_for_its_author() {
    let mut stream = stream(16);
    stream.push(deletion_frame(1));
    let only = Removal { told: Told::Only(AUTHOR), ..sample_deletion(2) };
    stream.push(Arc::new(Frame::deletion(2, &only)));
    stream.push(deletion_frame(3));
    for (user, deletions) in [(Some(AUTHOR), 3), (Some(UserId(7)), 2), (None, 2)] {
        let (mut viewer, peer) = viewer(0);
        if let Some(user) = user {
            log_in(&mut viewer, user);
        }
        assert_eq!(outcome(&mut viewer, &stream), WriteOutcome::Done);
        assert_eq!(received(&peer), vec!["deleted"; deletions], "{user:?}");
        assert_eq!(viewer.control_cursor, 3);
    }
}

/// Returns for each message that `viewer` is sent whether it is compressed, for six frames of a
/// stream. The comments 4 and 7 are those of [`AUTHOR`].
fn compressed(form: Form, is_hidden: bool, user: UserId) -> Vec<bool> {
    let config = DeliveryConfig { deflate_key_frames: 2, ..DeliveryConfig::default() };
    let window = Compressors::new(&config).stream();
    let presence = || Frame::new(Lane::Ordered, ServerMessage::Presence { viewers: 3 });
    let comments = |from_seq, to_seq, seqs: &[Seq]| {
        Frame::with_own(batch_of(from_seq, to_seq, seqs), Vec::new())
    };
    let frames = if is_hidden {
        let told = Told::Only(AUTHOR);
        [
            comments(1, 2, &[1, 2]),
            Frame::with_own(batch_of(3, 5, &[3, 5]), own(4)),
            presence(),
            Frame::for_authors_only(batch_of(6, 7, &[]), own(7)),
            comments(6, 8, &[8]),
            Frame::deletion(9, &Removal { told, ..sample_deletion(7) }),
        ]
    } else {
        [
            comments(1, 2, &[1, 2]),
            comments(3, 5, &[3, 4, 5]),
            presence(),
            comments(6, 7, &[7]),
            comments(8, 8, &[8]),
            Frame::deletion(9, &sample_deletion(7)),
        ]
    };
    let mut stream = stream(16);
    let (mut reader, mut socket) = viewer(0);
    reader.form = form;
    log_in(&mut reader, user);
    let (mut other, _other_socket) = viewer(0);
    other.form = form;
    for frame in frames {
        stream.push(Arc::new(frame.with_window(&window)));
        assert_eq!(outcome(&mut other, &stream), WriteOutcome::Done);
        assert_eq!(outcome(&mut reader, &stream), WriteOutcome::Done);
    }
    let mut bytes = Vec::new();
    // Ends with the read timeout: everything was written before.
    let _ = socket.read_to_end(&mut bytes);
    Peer::new(form.encoding()).read(&bytes).iter().map(|read| read.compressed).collect()
}

#[test]
fn compression_does_not_tell_who_is_hidden() {
    let forms = [Form::JsonShared, Form::MsgpackShared, Form::JsonDeflate, Form::MsgpackDeflate];
    for form in forms {
        let shown = compressed(form, false, AUTHOR);
        assert_eq!(shown.len(), 6);
        assert!(shown[1], "{form:?}");
        assert_eq!(compressed(form, true, AUTHOR), shown, "{form:?}");
    }
    assert!(compressed(Form::JsonShared, true, UserId(7))[..4].iter().all(|is| *is));
}

#[test]
fn hidden_frames_cost_other_viewers_no_byte() {
    let mut stream = stream(16);
    let (mut other, peer) = viewer(0);
    let (mut author, _peer) = viewer(0);
    log_in(&mut author, AUTHOR);
    stream.push(Arc::new(Frame::for_authors_only(batch_of(1, 1, &[]), own(1))));
    let mut fan_out = stream.resume_fan_out(Instant::now()).unwrap();
    let mut counts = WriteCounts::default();
    assert_eq!(fan_out.write(&mut author, &mut counts), FastWrite::SlowPath);
    assert_eq!(fan_out.write(&mut other, &mut counts), FastWrite::Complete);
    assert_eq!((counts.bytes, other.cursor, other.seq), (0, 1, 0));
    assert!(received(&peer).is_empty());
}
