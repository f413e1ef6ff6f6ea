//! The cost of all moderation stages together per comment, on one core: comments per second, and
//! the slowest hundredth.
//!
//! The stages are measured as they ship (`defaults`), and with every rule on and 2,000 blocked
//! words (`all_rules`), in a room that has two languages and 200 terms, on the recorded chats of
//! `fixtures/chat`. `MODERATION_BENCH_CHAT=FILE` reads the comments from a file instead, one per
//! line. Each comment is checked as the worker does it, with another comment before it: the context
//! of its user and stream is read before and counted after, and its scores go to their histograms.
//!
//! Ends with 1 if fewer than 50,000 comments/s are checked by a core, or a comment in a hundred
//! takes longer than 1 ms.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measures")]

mod support;

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::FutureExt as _;
use live_comments::classifier::samples::read_samples;
use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::{ModerationConfig, ReputationConfig};
use live_comments::daemon::base::metrics::ScoreHistograms;
use live_comments::daemon::base::status::StatusBoard;
use live_comments::daemon::base::supervise::breaker::Breaker;
use live_comments::daemon::engines::directory::Streams;
use live_comments::daemon::engines::metadata::sqlite::SqliteMetadata;
use live_comments::daemon::engines::metadata::{MetadataStore as _, NewAudit, SharedMetadataStore};
use live_comments::daemon::stages::moderation::{
    ModerationContext, ModerationContextParts, Pipeline, Subject, build_pipeline,
};
use live_comments::protocol::room::{
    Language, LanguageAction, LanguagePolicy, RoomPatch, RoomTerm, TermAction, TermsPatch,
};
use live_comments::protocol::stream::NewStream;
use live_comments::protocol::{Badges, Comment, CommentId, Role, StreamId, UserId};
use tempfile::TempDir;

use support::{BLOCKED_WORDS, all_rules, chosen_chat, longest_comment, word};

const CHATS: [&str; 2] = [
    "fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz",
    "fixtures/chat/chat_open_chatdownloader_examples.jsonl.gz",
];
/// Each comment is measured so many times, and its median counts: what else runs on the machine
/// would be the slowest hundredth otherwise.
const ROUNDS: usize = 5;
/// The number of blocked terms of the room.
const ROOM_TERMS: usize = 200;
/// The stream of the comments.
const STREAM: StreamId = StreamId(1);
/// Comments per second and core that are promised.
const LEAST_PER_SECOND: f64 = 50_000.0;
/// The time that 99 of 100 comments are promised to take at most.
const LONGEST_P99: Duration = Duration::from_millis(1);

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
        stream_id: STREAM,
        comment_id: CommentId::from_unix_ticks(number as u64, 0, [0; 6]),
        user_id: UserId(number as u64 % 1000 + 1),
        name: "user".into(),
        message: text.into(),
        created_at: number as u64 * 10,
        badges: Badges::default(),
        parent_id: None,
    }
}

/// A store with one stream, whose room has languages and terms.
struct Room {
    _directory: TempDir,
    store: SharedMetadataStore,
    streams: Streams,
}

impl Room {
    async fn open() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = Arc::new(SqliteMetadata::open(&directory.path().join("metadata.db")).await?);
        let new = NewStream { stream_id: Some(STREAM), ..NewStream::default() };
        store.create_stream(new, audit("create_stream")).await?;
        let languages = LanguagePolicy {
            allowed: vec![Language::De, Language::En],
            action: LanguageAction::Flag,
        };
        let room = RoomPatch { languages: Some(Some(languages)), ..RoomPatch::default() };
        store.update_room(STREAM, room, audit("room")).await?;
        let term =
            |number| RoomTerm { term: word(BLOCKED_WORDS + number), action: TermAction::Flag };
        let terms = TermsPatch { add: (0..ROOM_TERMS).map(term).collect(), remove: Vec::new() };
        store.change_terms(STREAM, &terms, audit("terms")).await?;
        let streams = Streams::load(store.clone()).await?;
        Ok(Self { _directory: directory, store, streams })
    }
}

fn audit(action: &'static str) -> NewAudit {
    NewAudit {
        at: 1,
        actor: "bench".to_owned(),
        action,
        target: String::new(),
        detail: serde_json::Value::Null,
        points: None,
    }
}

/// The stages, and the context of users and streams.
struct Moderation {
    name: &'static str,
    pipeline: Pipeline,
    context: ModerationContext,
    scores: ScoreHistograms,
}

impl Moderation {
    fn new(name: &'static str, config: &ModerationConfig, room: &Room) -> Self {
        let board = StatusBoard::default();
        let pipeline = build_pipeline(config, &board, Some(&room.streams));
        let context = ModerationContext::new(ModerationContextParts {
            metadata: room.store.clone(),
            metadata_breaker: Arc::new(Breaker::new("metadata")),
            clock: Arc::new(SystemClock),
            config: ReputationConfig::default(),
        });
        let pipeline = pipeline.expect("the stages can be built");
        Self { name, pipeline, context, scores: ScoreHistograms::default() }
    }

    fn check(&self, comment: &Comment) {
        let role = Some(Role::Viewer);
        let context = self.context.of_comment(comment, role);
        let subject = Subject {
            comment,
            role,
            lowered: context.lowered(),
            raised: context.raised(),
            deadline: None,
        };
        let verdict = self.pipeline.check(&subject).now_or_never();
        let verdict = verdict.expect("the stages do not wait");
        self.context.record(&subject, &context, &verdict);
        self.scores.observe(&verdict.scores);
        black_box(verdict);
    }
}

/// Returns the stages as they ship, and with every rule on.
fn moderations(room: &Room) -> [Moderation; 2] {
    let rules = all_rules(BLOCKED_WORDS);
    let all_rules = ModerationConfig { rules, ..ModerationConfig::default() };
    [
        Moderation::new("defaults", &ModerationConfig::default(), room),
        Moderation::new("all_rules", &all_rules, room),
    ]
}

/// Prints the figures that are promised: comments per second of a core, and the 99th percentile.
/// Returns whether they are kept.
fn print_figures(moderation: &Moderation, comments: &[Comment]) -> bool {
    let name = moderation.name;
    let mut times = vec![[Duration::ZERO; ROUNDS]; comments.len()];
    for round in 0..ROUNDS {
        for (comment, times) in comments.iter().zip(&mut times) {
            let start = Instant::now();
            moderation.check(comment);
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
    per_second >= LEAST_PER_SECOND && p99 <= LONGEST_P99
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let room = runtime.block_on(Room::open())?;
    let texts = texts();
    let comments: Vec<_> =
        texts.iter().enumerate().map(|(number, text)| comment(number, text)).collect();
    let long = comment(0, &longest_comment());
    let moderations = moderations(&room);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("moderation_stages");
    for moderation in &moderations {
        let name = moderation.name;
        group.throughput(Throughput::Elements(comments.len() as u64));
        group.bench_function(BenchmarkId::new("chat", name), |bencher| {
            bencher.iter(|| comments.iter().for_each(|one| moderation.check(one)));
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("longest_comment", name), |bencher| {
            bencher.iter(|| moderation.check(&long));
        });
    }
    group.finish();
    criterion.final_summary();
    // Without the option, tests run the code once, not optimized.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let mut kept = true;
    for moderation in &moderations {
        kept &= print_figures(moderation, &comments);
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
