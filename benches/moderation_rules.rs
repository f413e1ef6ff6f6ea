//! The cost of the rules stage per comment, with every rule on, on one core.
//!
//! `MODERATION_BENCH_CHAT=FILE` reads the comments from a file, one per line, instead of the
//! built-in ones.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use live_comments::daemon::stages::moderation::{RulesStage, Stage as _, Subject};
use live_comments::protocol::{Comment, CommentId, StreamId, UserId};

use support::{BLOCKED_WORDS, all_rules, chosen_chat};

const CHAT: &[&str] = &[
    "gg",
    "LUL",
    "what a save!!!",
    "PogChamp PogChamp PogChamp",
    "is this the same map as yesterday?",
    "I can't believe he's still alive",
    "@ann you said that an hour ago",
    "5 minutes left, 3:2",
    "see https://clips.example.com/abc for the replay",
    "NOOOOOOOOOO",
    "that was so close i nearly dropped my coffee, honestly the best round so far",
    "привет всем из Москвы",
    "かわいい！！！",
    "🎉🎉🎉",
    "c'est vraiment incroyable, bravo à toute l'équipe",
];

fn stage(words: usize) -> RulesStage {
    RulesStage::new(&all_rules(words)).expect("the words have letters")
}

fn comments() -> Vec<Comment> {
    let built_in = || CHAT.iter().map(|line| (*line).to_owned()).collect();
    let lines: Vec<String> = chosen_chat("MODERATION_BENCH_CHAT").unwrap_or_else(built_in);
    let comment = |(n, line): (usize, String)| Comment {
        stream_id: StreamId(1),
        comment_id: CommentId::from_unix_ticks(n as u64, 0, [0; 6]),
        user_id: UserId(n as u64 % 1000 + 1),
        name: "user".into(),
        message: line.into(),
        created_at: n as u64 * 10,
        badges: Default::default(),
        parent_id: None,
    };
    lines.into_iter().enumerate().map(comment).collect()
}

fn rules(criterion: &mut Criterion) {
    let comments = comments();
    let mut group = criterion.benchmark_group("moderation_rules");
    group.throughput(Throughput::Elements(comments.len() as u64));
    for words in [50, BLOCKED_WORDS] {
        let stage = stage(words);
        group.bench_function(BenchmarkId::new("blocked_words", words), |bencher| {
            bencher.iter(|| {
                for comment in &comments {
                    let subject =
                        Subject { comment, role: None, lowered: 0.0, raised: 0.0, deadline: None };
                    let finding = stage.check(&subject).now_or_never();
                    black_box(finding.expect("rules decide without waiting"));
                }
            });
        });
    }
    let hostile = Comment { message: "ba cr-o D u!n ".repeat(30).into(), ..comments[0].clone() };
    let stage = stage(BLOCKED_WORDS);
    group.throughput(Throughput::Elements(1));
    group.bench_function("hostile_420_characters", |bencher| {
        bencher.iter(|| {
            let subject = Subject {
                comment: &hostile,
                role: None,
                lowered: 0.0,
                raised: 0.0,
                deadline: None,
            };
            black_box(stage.check(&subject).now_or_never());
        });
    });
    group.finish();
}

criterion_group!(benches, rules);
criterion_main!(benches);
