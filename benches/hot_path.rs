//! The steps of the hot path that are computation alone, one core: encoding a batch in each form,
//! reading a viewer's message, sampling, the rate that decides on it, comment ids, frame heads.
//!
//! The comments are those of a recorded chat in `fixtures/chat`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compress, Compression, FlushCompress};
use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::IngestConfig;
use live_comments::daemon::stages::ingest::{CommentIds, validate};
use live_comments::loadgen::recording;
use live_comments::net::websocket::{Opcode, apply_mask, parse_header, put_header, server_frame};
use live_comments::policy::rate::RateEstimator;
use live_comments::policy::throttle::{ThrottlePolicy, ThrottleRules};
use live_comments::protocol::message::{CommentsBatch, Encoding};
use live_comments::protocol::throttle::SampleRate;
use live_comments::protocol::{
    ClientMessage, CommentId, Epoch, SequencedComment, ServerMessage, UserId,
};
use tokio::time::Instant;

const CHAT: &str = "fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz";
/// Comments of a frame: a calm stream's, a busy one's, a storm's.
const BATCHES: [usize; 3] = [1, 10, 100];
const ENCODINGS: [(&str, Encoding); 2] = [("json", Encoding::Json), ("msgpack", Encoding::Msgpack)];

fn comments() -> Vec<SequencedComment> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(CHAT);
    let recorded = recording::read(&path).expect("the fixture can be read").comments;
    let ids = CommentIds::new(Arc::new(SystemClock));
    let sequenced = |(at, comment): (usize, recording::RecordedComment)| SequencedComment {
        comment_id: ids.next(),
        user_id: UserId(1_000 + at as u64 % 836),
        name: comment.user,
        message: comment.text,
        created_at: 1_700_000_000_000 + comment.ts_ms,
        seq: at as u64 + 1,
        badges: Default::default(),
        parent_id: None,
    };
    recorded.into_iter().enumerate().map(sequenced).collect()
}

/// A frame of the first `count` comments.
fn message(comments: &[SequencedComment], count: usize) -> ServerMessage {
    ServerMessage::Comments(CommentsBatch {
        epoch: Epoch(7),
        from_seq: 1,
        to_seq: count as u64,
        sample_rate: SampleRate::ALL,
        comments: comments[..count].to_vec(),
        echo: false,
    })
}

/// Frames of `count` comments, one after another.
fn run(comments: &[SequencedComment], count: usize) -> Vec<ServerMessage> {
    comments.chunks_exact(count).map(|chunk| message(chunk, count)).collect()
}

fn deflate(compress: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    // Room for all of it, so it does not fail.
    let _ = compress.compress_vec(payload, &mut out, FlushCompress::Sync);
    server_frame(Opcode::Text, true, &out)
}

fn encode(criterion: &mut Criterion) {
    let comments = comments();
    let mut group = criterion.benchmark_group("encode a frame");
    for count in BATCHES {
        let message = message(&comments, count);
        group.throughput(Throughput::Elements(count as u64));
        for (name, encoding) in ENCODINGS {
            group.bench_with_input(BenchmarkId::new(name, count), &message, |bencher, message| {
                bencher.iter(|| server_frame(Opcode::Text, false, &encoding.encode(message)));
            });
            // As delivery does it: each frame by itself.
            let mut compress = Compress::new(Compression::new(6), false);
            let id = BenchmarkId::new(format!("{name} deflated alone"), count);
            group.bench_with_input(id, &message, |bencher, message| {
                bencher.iter(|| {
                    compress.reset();
                    deflate(&mut compress, &encoding.encode(message))
                });
            });
            // And one after another, with the frames before as context.
            let messages = run(&comments, count);
            let mut compress = Compress::new(Compression::new(9), false);
            let mut next = 0;
            let id = BenchmarkId::new(format!("{name} deflated in context"), count);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    next = (next + 1) % messages.len();
                    deflate(&mut compress, &encoding.encode(&messages[next]))
                });
            });
        }
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a viewer's comment");
    let text = "that was so close i nearly dropped my coffee, best round so far";
    let comment = ClientMessage::Comment {
        message: text.to_owned(),
        client_ref: Some("r42".to_owned()),
        parent_id: None,
    };
    use live_comments::protocol::message::{json, msgpack};
    for (name, encoding, payload) in [
        ("json", Encoding::Json, json::encode_client(&comment)),
        ("msgpack", Encoding::Msgpack, msgpack::encode_client(&comment)),
    ] {
        let mask = [1, 2, 3, 4];
        let mut frame = Vec::new();
        put_header(&mut frame, Opcode::Text, false, Some(mask), payload.len());
        let head = frame.len();
        frame.extend_from_slice(&payload);
        apply_mask(&mut frame[head..], mask, 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut frame = frame.clone();
                let header = parse_header(&frame).ok().flatten().expect("a whole frame");
                apply_mask(&mut frame[header.header_bytes..], mask, 0);
                encoding.decode_client(&frame[header.header_bytes..])
            });
        });
    }
    let config = IngestConfig::default();
    group.bench_function("validate the text", |bencher| {
        bencher.iter(|| validate(black_box(text), &config));
    });
    group.finish();
}

fn sample(criterion: &mut Criterion) {
    let ids: Vec<CommentId> = comments().iter().map(|comment| comment.comment_id).collect();
    let rate = SampleRate::from_share(0.05).expect("a share of 0 to 1");
    let mut group = criterion.benchmark_group("decide what is shown");
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("sample", |bencher| {
        bencher.iter(|| ids.iter().filter(|id| rate.keeps(**id)).count());
    });
    group.throughput(Throughput::Elements(1));
    let rules = ThrottleRules::default();
    let mut now = Instant::now();
    let mut estimator = RateEstimator::new(now);
    let mut policy = ThrottlePolicy::new();
    group.bench_function("estimate and throttle", |bencher| {
        bencher.iter(|| {
            now += Duration::from_micros(100);
            estimator.add(1, now);
            policy.observe(estimator.per_second(now), now, &rules);
            policy.sample_rate(&rules)
        });
    });
    let ids = CommentIds::new(Arc::new(SystemClock));
    group.bench_function("comment id", |bencher| bencher.iter(|| ids.next()));
    group.finish();
}

criterion_group!(benches, encode, decode, sample);
criterion_main!(benches);
