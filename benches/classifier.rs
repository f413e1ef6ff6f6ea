//! The cost of the moderation model per comment, on one core: comments per second for toxicity and
//! spam together, and the slowest hundredth.
//!
//! `CLASSIFIER_BENCH_CHAT=FILE` reads the comments from a file, one per line, instead of the
//! recorded chat in `fixtures/chat`.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measures")]

mod support;

use std::fs::File;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use live_comments::classifier::features::FeatureExtractor;
use live_comments::classifier::samples::read_samples;
use live_comments::classifier::{Model, Task};

use support::{chosen_chat, longest_comment};

const CHAT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz");

fn comments() -> Vec<String> {
    if let Some(comments) = chosen_chat("CLASSIFIER_BENCH_CHAT") {
        return comments;
    }
    let file = File::open(CHAT).expect("the recorded chat is there");
    let samples = read_samples(file).expect("the recorded chat can be read");
    samples.into_iter().map(|sample| sample.text).collect()
}

fn score(model: &Model, text: &str, extractor: &mut FeatureExtractor) {
    for task in Task::ALL {
        black_box(model.score(task, text, extractor));
    }
}

fn classifier(criterion: &mut Criterion) {
    let model = Model::built_in().expect("the built-in model");
    let mut extractor = FeatureExtractor::default();
    let comments = comments();
    let long = longest_comment();
    let mut group = criterion.benchmark_group("classifier");
    group.throughput(Throughput::Elements(comments.len() as u64));
    group.bench_function("chat", |bencher| {
        bencher.iter(|| comments.iter().for_each(|text| score(&model, text, &mut extractor)));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("longest_comment", |bencher| {
        bencher.iter(|| score(&model, &long, &mut extractor));
    });
    group.finish();
    let mut times: Vec<Duration> = comments
        .iter()
        .map(|text| {
            let start = Instant::now();
            score(&model, text, &mut extractor);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("classifier/chat p99 {:?} of {}", times[times.len() * 99 / 100], times.len());
}

criterion_group!(benches, classifier);
criterion_main!(benches);
