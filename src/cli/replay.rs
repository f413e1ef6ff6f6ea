//! `lc replay FILE`: says again what was recorded, as real comments of one user for each recorded one.
//!
//! In: a recording, a stream, a speed. Out: comments at their times, and a summary. Always holds: a
//! recorded user is always the same user here (the id is a hash of the name), and what one user said
//! stays in order. When full: beyond `--connections` the user who was silent longest is disconnected.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ahash::AHashMap;
use clap::Args;
use serde::Serialize;
use sha1::{Digest as _, Sha1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::context::Context;
use super::recording::{self, RecordedComment};
use crate::client::viewer::ViewerOptions;
use crate::client::{Endpoint, TokenSource, Trust};
use crate::loadgen::clock::RunClock;
use crate::loadgen::progress::Progress;
use crate::loadgen::schedule::{Planned, Workload, keep_pace};
use crate::loadgen::sender::{Outgoing, QUEUE_COMMENTS, Say, Sender};
use crate::loadgen::{Submissions, default_endpoint, parse_speed, stop_on_interrupt};
use crate::protocol::{StreamId, UserId};

/// How long to wait, after the last comment, for the answers.
const GRACE: Duration = Duration::from_secs(10);
/// Names longer than this are cut: a token's may have no more.
const MAX_NAME_CHARS: usize = 64;

/// Post a recording as real comments, one user for each recorded user.
///
/// Exit codes: 0 well, 1 could not run or comments stayed without an answer, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// JSON lines as lc record writes them, compressed if the name ends in .gz
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[arg(long, value_name = "ID", default_value = "1")]
    pub stream: StreamId,

    /// How many times as fast as it was recorded
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse_speed)]
    pub speed: f64,

    /// Where to connect, as ws://host:port. Default: the local daemon
    #[arg(long, value_name = "WS_URL")]
    pub url: Option<Endpoint>,

    /// Users connected at the same time
    #[arg(long, value_name = "N", default_value = "500",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,

    /// Make tokens with the secret in this file instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,

    /// Accept any certificate, as of lcd --dev-tls
    #[arg(long)]
    pub insecure: bool,
}

/// What it came to.
#[derive(Debug, Serialize)]
struct Summary {
    comments: u64,
    users: u64,
    published: u64,
    acked: u64,
    rejected: crate::loadgen::ByKind,
    /// Neither acked nor rejected, or never sent because their user could not connect.
    unanswered: u64,
    duration_s: f64,
}

/// Posts the recording and prints a summary.
///
/// # Errors
/// Where there is no such recording, no daemon or no way to make tokens.
pub async fn run(args: ReplayArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let recording = Arc::new(recording::read(&args.file)?);
    let source = match &args.signing_key {
        Some(path) => TokenSource::from_secret_file(path).await?,
        None => TokenSource::find(&context.socket, &context.data_dir).await?,
    };
    let endpoint = match &args.url {
        Some(endpoint) => endpoint.clone(),
        None => default_endpoint(&context.socket).await,
    };
    let mut options = ViewerOptions::new(endpoint, args.stream);
    if args.insecure {
        options.trust = Trust::AnyCertificate;
    }
    let cast = Cast::new(options, source, args.connections as usize);
    let summary = replay(recording, args.speed, cast).await;
    print(&summary, context.json);
    Ok(if summary.unanswered == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn replay(recording: Arc<Vec<RecordedComment>>, speed: f64, mut cast: Cast) -> Summary {
    let progress = Progress::new();
    let stop = stop_on_interrupt();
    let submissions = cast.submissions.clone();
    let workload = Workload::Replay { recording: recording.clone(), speed, limit: None };
    let line = || {
        let (acked, rejected) = submissions.answered();
        format!("{acked} of {} comments posted, {rejected} rejected", recording.len())
    };
    let start = Instant::now();
    let say = keep_pace(start, workload.plan(), &stop, async |planned: Planned, intended| {
        let user = &recording[planned.number as usize].user;
        let outgoing = Outgoing { number: planned.number, intended, text: planned.text };
        cast.say(user, Say::Comment(outgoing)).await;
    });
    let slippage = progress.show(line, say).await;
    let comments = cast.said;
    let users = progress.show(line, cast.leave()).await;
    let (acked, rejected) = submissions.answered();
    Summary {
        comments,
        users,
        published: submissions.published(),
        acked,
        rejected: submissions.outcomes().rejected,
        unanswered: comments - (acked + rejected).min(comments),
        duration_s: (slippage.ended_after.as_secs_f64() * 1000.0).round() / 1000.0,
    }
}

/// The users of a recording, as far as they are connected.
struct Cast {
    options: ViewerOptions,
    source: Arc<TokenSource>,
    connections: usize,
    run: u32,
    submissions: Arc<Submissions>,
    members: AHashMap<Arc<str>, Member>,
    /// Said something at least once.
    users: ahash::AHashSet<UserId>,
    said: u64,
    tasks: JoinSet<()>,
    failures: Arc<Failures>,
}

struct Member {
    queue: mpsc::Sender<Say>,
    /// Value of `Cast::said` when this user last spoke.
    last_said: u64,
}

/// Tells the first failure to connect, and counts the rest.
#[derive(Debug, Default)]
struct Failures {
    count: AtomicU64,
}

impl Failures {
    fn tell(&self, user: &str, error: &dyn std::fmt::Display) {
        if self.count.fetch_add(1, Relaxed) == 0 {
            eprintln!("warning: {user} could not connect: {error}");
        }
    }
}

impl Cast {
    fn new(options: ViewerOptions, source: TokenSource, connections: usize) -> Self {
        Self {
            options,
            source: Arc::new(source),
            connections,
            run: rand::random(),
            submissions: Arc::new(Submissions::without_viewers(RunClock::start())),
            members: AHashMap::new(),
            users: ahash::AHashSet::new(),
            said: 0,
            tasks: JoinSet::new(),
            failures: Arc::default(),
        }
    }

    /// Hands a comment to its user, who is connected first if need be.
    async fn say(&mut self, user: &Arc<str>, outgoing: Say) {
        self.said += 1;
        while self.tasks.try_join_next().is_some() {}
        if let Some(member) = self.members.get_mut(user) {
            member.last_said = self.said;
            match member.queue.send(outgoing).await {
                Ok(()) => return,
                // The server sent this user away; another attempt may fare better.
                Err(mpsc::error::SendError(returned)) => {
                    self.members.remove(user);
                    return self.introduce(user, returned).await;
                }
            }
        }
        self.introduce(user, outgoing).await;
    }

    async fn introduce(&mut self, user: &Arc<str>, first: Say) {
        if self.members.len() >= self.connections {
            let silent = self.members.iter().min_by_key(|(_, member)| member.last_said);
            if let Some(longest) = silent.map(|(user, _)| user.clone()) {
                // Closing its queue lets the user finish and leave.
                self.members.remove(&longest);
            }
        }
        self.users.insert(user_id(user));
        let (queue, outgoing) = mpsc::channel(QUEUE_COMMENTS);
        // A queue that was just made has room.
        if queue.send(first).await.is_ok() {
            self.members.insert(user.clone(), Member { queue, last_said: self.said });
            self.tasks.spawn(self.member(user.clone(), outgoing));
        }
    }

    /// One user's connection, from its token to its last answer.
    fn member(
        &self,
        user: Arc<str>,
        outgoing: mpsc::Receiver<Say>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (source, mut options) = (self.source.clone(), self.options.clone());
        let (run, submissions, failures) =
            (self.run, self.submissions.clone(), self.failures.clone());
        async move {
            let name: String = user.chars().take(MAX_NAME_CHARS).collect();
            match source.one(user_id(&user), &name).await {
                Ok(token) => options.token = Some(token.into()),
                Err(error) => return failures.tell(&user, &error),
            }
            let sender = Sender::new(options, run, submissions);
            match sender.connect().await {
                // Why the server sent the user away is counted among the interruptions.
                Ok(connection) => drop(Box::pin(sender.run(connection, outgoing)).await),
                Err(error) => failures.tell(&user, &error),
            }
        }
    }

    /// Waits for the answers, and says how many users there were.
    async fn leave(mut self) -> u64 {
        self.members.clear();
        let answered = async { while self.tasks.join_next().await.is_some() {} };
        // What has no answer by then is counted as such.
        let _ = tokio::time::timeout(GRACE, answered).await;
        self.users.len() as u64
    }
}

/// The same id for the same name, in every run: 52 bits of its SHA-1, in the range 2^52 to 2^53,
/// which operators' own accounts hardly use and JavaScript still counts exactly.
fn user_id(name: &str) -> UserId {
    let digest = Sha1::digest(name.as_bytes());
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    UserId(1 << 52 | u64::from_be_bytes(first) >> 12)
}

fn print(summary: &Summary, json: bool) {
    if json || !std::io::stdout().is_terminal() {
        match serde_json::to_string(summary) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("warning: the summary is no JSON: {error}"),
        }
        return;
    }
    let Summary { comments, users, acked, unanswered, duration_s, .. } = summary;
    println!(
        "{acked} of {comments} comments of {users} users posted in {duration_s:.1} s, {} rejected, \
         {unanswered} without an answer",
        summary.rejected.values().sum::<u64>()
    );
    for (code, count) in &summary.rejected {
        println!("  {code} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadgen::test_server::{Fault, TestServer};
    use crate::protocol::message::Encoding;

    #[test]
    fn ids_are_stable_and_in_range() {
        assert_eq!(user_id("ann"), user_id("ann"));
        assert_ne!(user_id("ann"), user_id("ben"));
        for name in ["", "ann", "a name of many words"] {
            assert!((1 << 52..1 << 53).contains(&user_id(name).0));
        }
    }

    fn recording(comments: u64, users: u64) -> Arc<Vec<RecordedComment>> {
        let line = |n| RecordedComment {
            ts_ms: n * 10,
            user: format!("user{}", n % users).into(),
            text: format!("text {n}").into(),
            moderation: None,
            moderation_s: None,
        };
        Arc::new((0..comments).map(line).collect())
    }

    #[tokio::test]
    async fn every_comment_is_posted_by_its_own_user_within_the_connection_limit() {
        let server = TestServer::start(Fault::None, UserId(1), Encoding::Json).await;
        let options = ViewerOptions::new(server.endpoint.clone(), StreamId(1));
        let cast = Cast::new(options, TokenSource::Secret(b"secret".to_vec()), 3);
        let summary = replay(recording(60, 10), 5.0, cast).await;
        assert_eq!((summary.comments, summary.users), (60, 10));
        assert_eq!((summary.acked, summary.unanswered), (60, 0));
    }

    #[tokio::test]
    async fn users_who_cannot_connect_are_told_of() {
        let options = ViewerOptions::new(Endpoint::plain("127.0.0.1", 1), StreamId(1));
        let cast = Cast::new(options, TokenSource::Secret(b"secret".to_vec()), 3);
        let failures = cast.failures.clone();
        let summary = replay(recording(5, 5), 10.0, cast).await;
        assert_eq!((summary.acked, summary.unanswered), (0, 5));
        assert_eq!(failures.count.load(Relaxed), 5);
    }
}
