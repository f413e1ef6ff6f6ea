//! `lc replay FILE`: posts a recording as real comments, one user per recorded user.
//!
//! In: a recording, a stream, a speed. Out: comments at their times, and a summary. Always holds: a
//! recorded user is always the same user (the id is a hash of the recorded id, or of the name where
//! the recording has no ids), and the comments of one user stay in order. When full: beyond
//! `--connections` the user that has been silent longest is disconnected.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use clap::Args;
use serde::Serialize;
use sha1::{Digest as _, Sha1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::arguments::{count_in, path};
use super::context::Context;
use super::loadgen::{parse_speed, read_recording};
use super::local_daemon::local_daemon;
use super::output::note;
use super::progress::ProgressLine;
use super::stop::stop_on_signal;
use crate::client::viewer::ViewerOptions;
use crate::client::{Endpoint, TokenSource, Trust};
use crate::loadgen::recording::{RecordedComment, RecordedSender};
use crate::loadgen::{
    CountsByKind, OutgoingComment, OutgoingMessage, QUEUE_COMMENTS, RunClock, ScheduledComment,
    Sender, Submissions, Workload, run_schedule, show_while,
};
use crate::protocol::admin::TokenUser;
use crate::protocol::quantity::counted;
use crate::protocol::{StreamId, UserId, text};

/// Time to wait for the answers after the last comment.
const GRACE: Duration = Duration::from_secs(10);
/// The time that a signalled replay may take beyond its grace.
const PATIENCE: Duration = Duration::from_secs(5);
/// The name of users whose recorded name no token can have.
const UNNAMED: &str = "replayed user";

/// Post a recording as real comments, one user for each recorded user.
///
/// Exit codes: 0 success, 1 the replay failed or comments have no answer, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// JSON lines as lc record writes them, compressed if the name ends in .gz
    #[arg(value_name = "FILE", value_parser = path)]
    pub file: PathBuf,

    #[arg(long, value_name = "ID", default_value = "1")]
    pub stream: StreamId,

    /// Speed of the replay, as a multiple of the recorded speed
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse_speed)]
    pub speed: f64,

    /// Where to connect, as ws://host:port. Default: the local daemon
    #[arg(long, value_name = "WS_URL")]
    pub url: Option<Endpoint>,

    /// Users connected at the same time, up to 10k
    #[arg(long, value_name = "N", default_value = "500", value_parser = count_in(1..=10_000))]
    pub connections: u64,

    /// Make tokens with the secret in this file instead of asking the daemon
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub signing_key: Option<PathBuf>,

    /// Accept any certificate, as of lcd --dev-tls
    #[arg(long)]
    pub insecure: bool,
}

/// The outcome of a replay.
#[derive(Debug, Serialize)]
struct ReplaySummary {
    comments: u64,
    users: u64,
    published: u64,
    acked: u64,
    rejected: CountsByKind,
    /// Neither acked nor rejected, or never sent because their user could not connect.
    unanswered: u64,
    duration_s: f64,
}

/// Posts the recording and prints a summary.
///
/// # Errors
/// There is no such recording, no daemon, or no way to make tokens.
pub async fn run(args: ReplayArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let recording = Arc::new(read_recording(&args.file)?);
    let source = match &args.signing_key {
        Some(path) => TokenSource::from_secret_file(path).await?,
        None => TokenSource::find(&context.socket, &context.data_dir).await?,
    };
    let mut options = match &args.url {
        Some(endpoint) => ViewerOptions::new(endpoint.clone(), args.stream),
        None => {
            let local = local_daemon(&context.socket).await;
            let options = ViewerOptions::new(local.endpoint, args.stream);
            ViewerOptions { trust: local.trust, ..options }
        }
    };
    if args.insecure {
        options.trust = Trust::AnyCertificate;
    }
    let tokens = source.of_users(users_of(&recording)).await?;
    let users = ReplayUsers::new(options, tokens, args.connections as usize);
    let summary = replay(recording, args.speed, users).await;
    context.output().result(&summary, || format_summary(&summary))?;
    Ok(if summary.unanswered == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn replay(
    recording: Arc<Vec<RecordedComment>>,
    speed: f64,
    mut users: ReplayUsers,
) -> ReplaySummary {
    let progress = ProgressLine::new();
    let stop = stop_on_signal(GRACE + PATIENCE);
    let submissions = users.submissions.clone();
    let workload = Workload::Replay { recording: recording.clone(), speed, limit: None };
    let line = || {
        let total = counted(recording.len() as u64, "comment");
        let acked = submissions.acks();
        let rejected = submissions.rejections();
        format!("{acked} of {total} posted, {rejected} rejected")
    };
    let start = Instant::now();
    let schedule = workload.schedule();
    let sending = run_schedule(start, schedule, &stop, async |scheduled: ScheduledComment, at| {
        let recorded = &recording[scheduled.number as usize];
        let ScheduledComment { number, text, .. } = scheduled;
        let comment = OutgoingComment { number, intended: at, text };
        users.send(recorded, OutgoingMessage::Comment(comment)).await;
    });
    let slippage = show_while(&progress, line, sending).await;
    let comments = users.comments;
    let user_count = show_while(&progress, line, users.finish()).await;
    let answers = submissions.answers();
    let answered = answers.acked + answers.rejections();
    ReplaySummary {
        comments,
        users: user_count,
        published: submissions.published(),
        acked: answers.acked,
        unanswered: comments - answered.min(comments),
        rejected: answers.rejected,
        duration_s: (slippage.ended_after.as_secs_f64() * 1000.0).round() / 1000.0,
    }
}

/// Returns everybody who comments in a recording. Their tokens are made together, so that they are
/// one entry of the audit log.
fn users_of(recording: &[RecordedComment]) -> Vec<TokenUser> {
    let names: AHashMap<UserId, &Arc<str>> =
        recording.iter().map(|comment| (user_id(&comment.sender()), &comment.user)).collect();
    let user = |(user_id, name): (UserId, &Arc<str>)| TokenUser { user_id, name: token_name(name) };
    names.into_iter().map(user).collect()
}

/// Returns the name that a recorded user has in its token. A recording may have a name that no
/// token can have: a longer one is cut, and one of control characters or of nothing visible is
/// replaced.
fn token_name(recorded: &str) -> String {
    // Characters that the normal form leaves out do not count, so the cut comes after it.
    let normal = text::normalize_label(recorded).unwrap_or_default();
    let cut: String = normal.chars().take(text::MAX_NAME_CHARS).collect();
    // The cut may have left a joiner or a space at the end.
    text::name(&cut).map_or_else(|_| UNNAMED.to_owned(), Cow::into_owned)
}

/// The users of a recording. At most `connections` of them are connected.
struct ReplayUsers {
    options: ViewerOptions,
    tokens: HashMap<UserId, String>,
    connections: usize,
    run_id: u32,
    submissions: Arc<Submissions>,
    connected: AHashMap<UserId, ConnectedUser>,
    /// All users that have commented.
    seen: AHashSet<UserId>,
    /// Comments sent so far.
    comments: u64,
    tasks: JoinSet<()>,
    failures: Arc<ConnectFailures>,
}

struct ConnectedUser {
    queue: mpsc::Sender<OutgoingMessage>,
    /// Value of [`ReplayUsers::comments`] at the user's last comment.
    last_comment: u64,
}

/// Warns of the first failure to connect and counts all.
#[derive(Debug, Default)]
struct ConnectFailures {
    count: AtomicU64,
}

impl ConnectFailures {
    fn record(&self, user: &str, error: &dyn std::fmt::Display) {
        if self.count.fetch_add(1, Relaxed) == 0 {
            note(&format!("warning: {user} could not connect: {error}"));
        }
    }
}

impl ReplayUsers {
    fn new(options: ViewerOptions, tokens: HashMap<UserId, String>, connections: usize) -> Self {
        Self {
            options,
            tokens,
            connections,
            run_id: rand::random(),
            submissions: Arc::new(Submissions::without_viewers(RunClock::start())),
            connected: AHashMap::new(),
            seen: AHashSet::new(),
            comments: 0,
            tasks: JoinSet::new(),
            failures: Arc::default(),
        }
    }

    /// Queues a comment for its user, which is connected first if necessary.
    async fn send(&mut self, recorded: &RecordedComment, mut comment: OutgoingMessage) {
        let user = user_id(&recorded.sender());
        self.comments += 1;
        while self.tasks.try_join_next().is_some() {}
        if let Some(connected) = self.connected.get_mut(&user) {
            connected.last_comment = self.comments;
            match connected.queue.send(comment).await {
                Ok(()) => return,
                // The sender has ended. A new connection may succeed.
                Err(mpsc::error::SendError(returned)) => comment = returned,
            }
            self.connected.remove(&user);
        }
        self.connect(user, &recorded.user, comment).await;
    }

    async fn connect(&mut self, user: UserId, name: &Arc<str>, first: OutgoingMessage) {
        if self.connected.len() >= self.connections {
            let longest_silent = self.connected.iter().min_by_key(|(_, user)| user.last_comment);
            if let Some(longest_silent) = longest_silent.map(|(user, _)| *user) {
                // A closed queue makes the sender finish and disconnect.
                self.connected.remove(&longest_silent);
            }
        }
        self.seen.insert(user);
        let (queue, outgoing) = mpsc::channel(QUEUE_COMMENTS);
        // A new queue has room.
        if queue.send(first).await.is_ok() {
            let connected = ConnectedUser { queue, last_comment: self.comments };
            self.connected.insert(user, connected);
            self.tasks.spawn(self.run_user(user, name.clone(), outgoing));
        }
    }

    /// Returns the task of one user's connection, up to its last answer.
    fn run_user(
        &self,
        user: UserId,
        name: Arc<str>,
        outgoing: mpsc::Receiver<OutgoingMessage>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut options = self.options.clone();
        options.token = self.tokens.get(&user).map(|token| token.clone().into());
        let run_id = self.run_id;
        let submissions = self.submissions.clone();
        let failures = self.failures.clone();
        async move {
            let sender = Sender::new(options, run_id, submissions);
            match sender.connect().await {
                // The reason for an early end is among the counted disconnects.
                Ok(connection) => drop(Box::pin(sender.run(connection, outgoing)).await),
                Err(error) => failures.record(&name, &error),
            }
        }
    }

    /// Waits for the answers. Returns the number of users.
    async fn finish(mut self) -> u64 {
        self.connected.clear();
        let answered = async { while self.tasks.join_next().await.is_some() {} };
        // Comments without an answer by then are counted as unanswered.
        let _ = tokio::time::timeout(GRACE, answered).await;
        self.seen.len() as u64
    }
}

/// Returns the user id of a recorded user, the same in every run: 52 bits of a SHA-1, in the range
/// from 2^52 to 2^53. Operators rarely use ids in this range, and JavaScript still counts exactly
/// in it.
fn user_id(sender: &RecordedSender) -> UserId {
    let digest = match sender {
        RecordedSender::Id(id) => Sha1::digest(format!("id {id}")),
        RecordedSender::Name(name) => Sha1::digest(name.as_bytes()),
    };
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    UserId(1 << 52 | u64::from_be_bytes(first) >> 12)
}

fn format_summary(summary: &ReplaySummary) -> String {
    let ReplaySummary { comments, users, acked, unanswered, duration_s, .. } = summary;
    let mut text = format!(
        "{acked} of {} of {} posted in {duration_s:.1} s, {} rejected, {unanswered} without an \
         answer\n",
        counted(*comments, "comment"),
        counted(*users, "user"),
        summary.rejected.values().sum::<u64>()
    );
    for (code, count) in &summary.rejected {
        text.push_str(&format!("  {code} {count}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadgen::test_server::{Fault, TestServer};
    use crate::protocol::message::Encoding;

    #[test]
    fn ids_are_stable_and_in_range() {
        let named = |name: &str| user_id(&RecordedSender::Name(name.into()));
        let numbered = |id| user_id(&RecordedSender::Id(UserId(id)));
        assert_eq!(named("ann"), named("ann"));
        assert_ne!(named("ann"), named("ben"));
        assert_ne!(numbered(1), numbered(2));
        for id in [named(""), named("ann"), named("a name of many words"), numbered(7)] {
            assert!((1 << 52..1 << 53).contains(&id.0));
        }
    }

    fn recording(comments: u64, users: u64) -> Arc<Vec<RecordedComment>> {
        let line = |n| RecordedComment {
            ts_ms: n * 10,
            user: format!("user{}", n % users).into(),
            user_id: None,
            text: format!("text {n}").into(),
            moderation: None,
            moderation_s: None,
        };
        Arc::new((0..comments).map(line).collect())
    }

    #[test]
    fn names_are_cut_in_their_normal_form() {
        let long = "x".repeat(64);
        for (recorded, name) in [
            ("ann", "ann"),
            (&*format!("{}ann", "\u{200B}".repeat(64)), "ann"),
            (&*format!("{}{long}", " ".repeat(9)), &*long),
            (&*format!("{long}yz"), &*long),
            (&*format!("{} z", "x".repeat(63)), &*"x".repeat(63)),
            (&*"e\u{301}".repeat(65), &*"\u{E9}".repeat(64)),
            ("\u{200B}\u{3164}", UNNAMED),
            ("", UNNAMED),
            ("a\u{7}b", UNNAMED),
        ] {
            assert_eq!(token_name(recorded), name, "{recorded:?}");
        }
    }

    #[tokio::test]
    async fn each_user_posts_within_the_connection_limit() {
        let server = TestServer::start(Fault::None, UserId(1), Encoding::Json).await;
        let options = ViewerOptions::new(server.endpoint.clone(), StreamId(1));
        let recording = recording(60, 10);
        let source = TokenSource::Secret(b"secret".to_vec());
        let tokens = source.of_users(users_of(&recording)).await.unwrap();
        let users = ReplayUsers::new(options, tokens, 3);
        let summary = replay(recording, 5.0, users).await;
        assert_eq!((summary.comments, summary.users), (60, 10));
        assert_eq!((summary.acked, summary.unanswered), (60, 0));
    }

    #[tokio::test]
    async fn two_people_of_one_name_stay_two() {
        let server = TestServer::start(Fault::None, UserId(1), Encoding::Json).await;
        let options = ViewerOptions::new(server.endpoint.clone(), StreamId(1));
        let mut comments = recording(20, 1).as_ref().clone();
        for (n, comment) in comments.iter_mut().enumerate() {
            comment.user_id = Some(UserId(n as u64 % 2 + 1));
        }
        let source = TokenSource::Secret(b"secret".to_vec());
        let tokens = source.of_users(users_of(&comments)).await.unwrap();
        let users = ReplayUsers::new(options, tokens, 3);
        let summary = replay(Arc::new(comments), 5.0, users).await;
        assert_eq!((summary.users, summary.acked), (2, 20));
    }

    #[tokio::test]
    async fn users_that_cannot_connect_are_counted() {
        let options = ViewerOptions::new(Endpoint::plain("127.0.0.1", 1), StreamId(1));
        let users = ReplayUsers::new(options, HashMap::new(), 3);
        let failures = users.failures.clone();
        let summary = replay(recording(5, 5), 10.0, users).await;
        assert_eq!((summary.acked, summary.unanswered), (0, 5));
        assert_eq!(failures.count.load(Relaxed), 5);
    }
}
