//! The cost of all moderation stages together per comment, on one core: comments per second, and
//! the slowest hundredth.
//!
//! The stages are measured as they ship (`defaults`), and with every rule on and 2,000 blocked
//! words (`all_rules`), on the recorded chats of `fixtures/chat`. `MODERATION_BENCH_CHAT=FILE`
//! reads the comments from a file instead, one per line. Each comment is checked as the worker does
//! it, with another comment before it, and counted in the histograms of scores.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measures")]

mod support;

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use live_comments::classifier::samples::read_samples;
use live_comments::daemon::base::config::ModerationConfig;
use live_comments::daemon::base::metrics::ScoreHistograms;
use live_comments::daemon::base::status::StatusBoard;
use live_comments::daemon::stages::moderation::{Pipeline, Subject, build_pipeline};
use live_comments::protocol::{Badges, Comment, CommentId, Role, StreamId, UserId};

use support::{BLOCKED_WORDS, all_rules, chosen_chat, longest_comment};

const CHATS: [&str; 2] = [
    "fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz",
    "fixtures/chat/chat_open_chatdownloader_examples.jsonl.gz",
];
/// Each comment is measured so many times, and its median counts: what else runs on the machine
/// would be the slowest hundredth otherwise.
const ROUNDS: usize = 5;

fn texts() -> Vec<String> {
    if let Some(texts) = chosen_chat("MODERATION_BENCH_CHAT") {
        return texts;
    }
    let mut texts = Vec::new();
    for chat in CHATS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(chat);
        let file = File::open(path).expect("the recorded chat is there");
        let samples = read_samples(file).expect("the recorded chat can be read");
        texts.extend(samples.into_iter().map(|sample| sample.text));
    }
    texts
}

fn comment(number: usize, text: &str) -> Comment {
    Comment {
        stream_id: StreamId(1),
        comment_id: CommentId::from_unix_ticks(number as u64, 0, [0; 6]),
        user_id: UserId(number as u64 % 1000 + 1),
        name: "user".into(),
        message: text.into(),
        created_at: number as u64 * 10,
        badges: Badges::default(),
    }
}

/// Returns the stages by the name of their configuration.
fn pipelines() -> Vec<(&'static str, Pipeline)> {
    let defaults = ModerationConfig::default();
    let rules = all_rules(BLOCKED_WORDS);
    let all_rules = ModerationConfig { rules, ..ModerationConfig::default() };
    [("defaults", defaults), ("all_rules", all_rules)]
        .map(|(name, config)| {
            (
                name,
                build_pipeline(&config, &StatusBoard::default(), None)
                    .expect("the stages can be built"),
            )
        })
        .into()
}

fn check(pipeline: &Pipeline, comment: &Comment, scores: &ScoreHistograms) {
    let subject =
        Subject { comment, role: Some(Role::Viewer), lowered: 0.0, raised: 0.0, deadline: None };
    let verdict = pipeline.check(&subject).now_or_never().expect("the stages do not wait");
    scores.observe(&verdict.scores);
    black_box(verdict);
}

/// Prints the figures that are promised: comments per second of a core, and the 99th percentile.
fn print_figures(name: &str, pipeline: &Pipeline, comments: &[Comment]) {
    let scores = ScoreHistograms::default();
    let mut times = vec![[Duration::ZERO; ROUNDS]; comments.len()];
    for round in 0..ROUNDS {
        for (comment, times) in comments.iter().zip(&mut times) {
            let start = Instant::now();
            check(pipeline, comment, &scores);
            times[round] = start.elapsed();
        }
    }
    let mut medians: Vec<Duration> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[ROUNDS / 2]
        })
        .collect();
    let total: Duration = medians.iter().sum();
    medians.sort_unstable();
    let of = medians.len();
    let per_second = of as f64 / total.as_secs_f64();
    let p99 = medians[of * 99 / 100];
    let longest = medians[of - 1];
    println!(
        "moderation_stages/{name}: {per_second:.0} comments/s per core, p99 {p99:?}, max \
         {longest:?}, of {of} comments"
    );
}

fn stages(criterion: &mut Criterion) {
    let texts = texts();
    let comments: Vec<_> =
        texts.iter().enumerate().map(|(number, text)| comment(number, text)).collect();
    let long = comment(0, &longest_comment());
    let scores = ScoreHistograms::default();
    let pipelines = pipelines();
    let mut group = criterion.benchmark_group("moderation_stages");
    for (name, pipeline) in &pipelines {
        group.throughput(Throughput::Elements(comments.len() as u64));
        group.bench_function(BenchmarkId::new("chat", name), |bencher| {
            bencher.iter(|| comments.iter().for_each(|one| check(pipeline, one, &scores)));
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("longest_comment", name), |bencher| {
            bencher.iter(|| check(pipeline, &long, &scores));
        });
    }
    group.finish();
    for (name, pipeline) in &pipelines {
        print_figures(name, pipeline, &comments);
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
