//! Bytes per comment on the wire of recorded chats, in each form.
//!
//! The chats are replayed at twenty times their speed through the frames of delivery, on a
//! computed clock. `scripts/bench bytes` prints the table, with the bytes per comment on the bus
//! and in the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::deflate::{Compressors, WindowPosition};
use super::form::Form;
use super::frame::{Frame, Lane};
use super::peer::Peer;
use crate::daemon::base::config::{BroadcastConfig, DeliveryConfig};
use crate::daemon::engines::bus::{Batch, BusMessage, HeldBack};
use crate::loadgen::recording;
use crate::plan::costs::{Cost, CostFile, CostName};
use crate::protocol::comment::Comment;
use crate::protocol::events::{CommentSubmitted, Event};
use crate::protocol::message::{CommentsBatch, Encoding, ServerMessage};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, Role, SequencedComment, StreamId, UserId};

const CHATS: [&str; 2] = [
    "fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz",
    "fixtures/chat/chat_open_chatdownloader_examples.jsonl.gz",
];
const SPEED: u64 = 20;
/// Frames are made at most this often; a comment after a pause leaves at once.
fn batch_interval() -> Duration {
    BroadcastConfig::default().batch_interval
}

fn comments(chat: &str) -> Vec<SequencedComment> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(chat);
    let recorded = recording::read(&path).unwrap().comments;
    let sequenced = |(at, comment): (u64, recording::RecordedComment)| {
        let created_at = 1_700_000_000_000 + comment.ts_ms / SPEED;
        // The part below a millisecond, which recordings do not have.
        let ticks = created_at * 10_000 + at * 7_919 % 10_000;
        SequencedComment {
            comment_id: CommentId::from_unix_ticks(ticks, 1, [2, 4, 8, 16, 32, 64]),
            user_id: UserId(
                comment.user.bytes().fold(0, |id, byte| id * 31 + u64::from(byte)) % 1_000_000_000,
            ),
            name: comment.user,
            message: comment.text,
            created_at,
            seq: at + 1,
            badges: Default::default(),
            parent_id: None,
        }
    };
    (0..).zip(recorded).map(sequenced).collect()
}

/// Collects batches as the broadcast stage does.
fn batches(comments: &[SequencedComment], interval: Duration) -> Vec<ServerMessage> {
    let interval_ms = interval.as_millis() as u64;
    let mut batches = Vec::new();
    let mut rest = comments;
    let mut last_sent = 0_u64;
    let mut covered_to = 0;
    while let Some(first) = rest.first() {
        let sent = first.created_at.max(last_sent + interval_ms);
        let count = rest.iter().take_while(|comment| comment.created_at <= sent).count();
        let (batch, later) = rest.split_at(count);
        let to_seq = batch[count - 1].seq;
        batches.push(ServerMessage::Comments(CommentsBatch {
            epoch: Epoch(1_700_000_000),
            from_seq: covered_to + 1,
            to_seq,
            sample_rate: SampleRate::ALL,
            comments: batch.to_vec(),
            echo: false,
        }));
        rest = later;
        last_sent = sent;
        covered_to = to_seq;
    }
    batches
}

/// Returns the bytes per comment in a form. A viewer always waits for a key frame, so one comes
/// every `key_frames` frames; with 0 no viewer waits.
fn bytes_per_comment(batches: &[ServerMessage], form: Form, key_frames: u32) -> f64 {
    let config = DeliveryConfig {
        deflate_key_frames: key_frames.max(1),
        deflate_key_interval: Duration::from_secs(86_400),
        ..DeliveryConfig::default()
    };
    let stream = Compressors::new(&config).stream();
    let mut peer = Peer::new(form.encoding());
    let mut window = WindowPosition::OUTSIDE;
    let mut bytes = 0;
    let mut comments = 0;
    for message in batches {
        if key_frames > 0 {
            stream.request_key_frame(form.encoding());
        }
        let frame = Arc::new(Frame::new(Lane::Ordered, message.clone()).with_window(&stream));
        let (frame_bytes, after) = frame.bytes(form, window);
        window = after;
        for read in peer.read(frame_bytes) {
            assert_eq!(read.message, *message, "what is counted can be read");
            bytes += read.bytes;
        }
        comments += frame.comments();
    }
    bytes as f64 / comments as f64
}

/// Bytes of a record in the log besides its event.
const RECORD_HEAD_BYTES: usize = 36;

/// Returns the bytes per comment on the bus.
fn bus_bytes_per_comment(batches: &[ServerMessage]) -> f64 {
    let mut bytes = 0;
    let mut comments = 0;
    for message in batches {
        let ServerMessage::Comments(batch) = message else { continue };
        comments += batch.comments.len();
        let batch = Batch {
            epoch: batch.epoch,
            from_seq: batch.from_seq,
            to_seq: batch.to_seq,
            sample_rate: batch.sample_rate,
            comments: batch.comments.clone(),
            sampled_out: 0,
            deletions: Vec::new(),
            staff: Vec::new(),
            own: Vec::new(),
            held_back: HeldBack::default(),
        };
        bytes += rmp_serde::to_vec(&[BusMessage::Batch(batch.into())]).unwrap().len();
    }
    bytes as f64 / comments as f64
}

/// Returns the bytes per comment in the log.
fn log_bytes_per_comment(comments: &[SequencedComment]) -> f64 {
    let bytes_of = |comment: &SequencedComment| {
        let comment = Comment {
            stream_id: StreamId(1),
            comment_id: comment.comment_id,
            user_id: comment.user_id,
            name: comment.name.clone(),
            message: comment.message.clone(),
            created_at: comment.created_at,
            badges: Default::default(),
            parent_id: None,
        };
        let submitted = CommentSubmitted {
            comment: comment.into(),
            role: Role::Viewer,
            client_ref: Some("0-1000".into()),
            shadow: false,
            screened: false,
        };
        RECORD_HEAD_BYTES + Event::CommentSubmitted(submitted).encode().len()
    };
    let bytes: usize = comments.iter().map(bytes_of).sum();
    bytes as f64 / comments.len() as f64
}

/// Reports whether all tables are wanted, not only those with a budget.
fn print_all() -> bool {
    std::env::var_os("BENCH_BYTES_ALL").is_some()
}

#[test]
fn bytes_per_comment_stay_within_budget() {
    let mut costs = Vec::new();
    for chat in CHATS {
        let [json, msgpack] = print_forms(chat);
        let comments = comments(chat);
        let bus = bus_bytes_per_comment(&batches(&comments, batch_interval()));
        let log = log_bytes_per_comment(&comments);
        println!("  on the bus {bus:.1}, in the log {log:.1}");
        costs.push([
            (CostName::JsonBytes, json[0]),
            (CostName::JsonDeflateBytes, json[2]),
            (CostName::MsgpackBytes, msgpack[0]),
            (CostName::MsgpackDeflateBytes, msgpack[2]),
            (CostName::BusBytes, bus),
            (CostName::LogBytes, log),
        ]);
        let plain = json[0];
        assert!(json[2] <= 0.26 * plain, "{} of {plain}", json[2]);
        assert!(msgpack[2] <= 0.18 * plain, "{} of {plain}", msgpack[2]);
    }
    if print_all() {
        CHATS.into_iter().for_each(print_key_frames_and_intervals);
    }
    if let Some(path) = std::env::var_os("BENCH_COSTS").filter(|path| !path.is_empty()) {
        write_costs(Path::new(&path), &costs);
    }
}

/// Writes the larger figures of the two chats into a file of costs.
fn write_costs(path: &Path, costs: &[[(CostName, f64); 6]]) {
    let larger = |index: usize| {
        let name = costs[0][index].0;
        let bytes = costs.iter().map(|chat| chat[index].1).fold(0.0, f64::max);
        let what = match name {
            CostName::BusBytes => "bytes of a comment on the bus, in batches of 25 ms",
            CostName::LogBytes => "bytes of a comment in the log, with the head of its record",
            _ => {
                "bytes of a comment in the frames of a viewer, in frames of 25 ms; compressed: shared"
            }
        };
        let mut cost = Cost::measured_now(name, bytes.round(), what, "scripts/bench bytes");
        cost.source =
            "docs/benchmarks.md, Bytes on the wire: the larger figure of two recorded chats"
                .to_owned();
        (name, cost)
    };
    CostFile::update(path, (0..6).map(larger).collect()).unwrap();
}

/// Prints the bytes per comment for each encoding: plain, compressed by itself, and shared, with
/// the default settings.
fn print_forms(chat: &str) -> [[f64; 3]; 2] {
    let key_frames = DeliveryConfig::default().deflate_key_frames;
    let comments = comments(chat);
    let batches = batches(&comments, batch_interval());
    let of = |form| bytes_per_comment(&batches, form, key_frames);
    let json = [Form::Json, Form::JsonDeflate, Form::JsonShared].map(of);
    let msgpack = [Form::Msgpack, Form::MsgpackDeflate, Form::MsgpackShared].map(of);
    let per_frame = comments.len() as f64 / batches.len() as f64;
    println!("{chat} x {SPEED}: {} comments, {per_frame:.2} per frame", comments.len());
    println!("  bytes per comment      plain       alone      shared   (of plain JSON)");
    for (name, figures) in [("JSON", json), ("MessagePack", msgpack)] {
        let cells = figures.map(|bytes| format!("{bytes:6.1} {:3.0}%", 100.0 * bytes / json[0]));
        println!("  {name:<14}{}", cells.join(" "));
    }
    [json, msgpack]
}

/// Prints the tables that the default key frame interval and batch interval were chosen by.
fn print_key_frames_and_intervals(chat: &str) {
    let comments = comments(chat);
    println!("{chat} x {SPEED}: bytes per comment, shared; a key frame every");
    println!("  batches  per frame  encoding      plain    16    32    64   128   192   never");
    for interval_ms in [25, 50] {
        let batches = batches(&comments, Duration::from_millis(interval_ms));
        let per_frame = comments.len() as f64 / batches.len() as f64;
        for (encoding, plain, form) in [
            (Encoding::Json, Form::Json, Form::JsonShared),
            (Encoding::Msgpack, Form::Msgpack, Form::MsgpackShared),
        ] {
            let plain = bytes_per_comment(&batches, plain, 0);
            let shared = [16, 32, 64, 128, 192, 0]
                .map(|keys| format!("{:6.1}", bytes_per_comment(&batches, form, keys)));
            let encoding = format!("{encoding:?}");
            println!(
                "  {interval_ms:>4} ms  {per_frame:>7.2}  {encoding:<11}{plain:>7.1}{}",
                shared.join("")
            );
        }
    }
}
