//! `lc replay FILE…`: posts recordings as real comments, one user per recorded user.
//!
//! In: recordings, a stream, a speed, keys. Out: comments at their times, and a summary; with
//! `--what-if` a table, without a daemon ([`what_if`]). Always holds: a recorded user is
//! always the same user (the id is a hash of the recorded id, or of the name where the recording
//! has no ids), and the comments of one user stay in order. When full: beyond `--connections` the
//! user that has been silent longest is disconnected, and a replay at full speed has a bounded
//! number of comments without an answer.
//!
//! Parts: [`overlay`] joins the files, [`pace`] knows the position, [`play`] is the loop, [`keys`]
//! steers it, [`users`] holds the connections, and [`bar`] shows the progress.

mod bar;
mod keys;
mod overlay;
mod pace;
mod play;
mod users;
mod what_if;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use super::arguments::{count_in, path, to_ms};
use super::context::Context;
use super::loadgen::parse_speed;
use super::local_daemon::local_daemon;
use super::output::note;
use super::stop::stop_on_signal;
use crate::client::viewer::ViewerOptions;
use crate::client::{Endpoint, TokenSource, Trust};
use crate::loadgen::{CountsByKind, show_while};
use crate::protocol::StreamId;
use crate::protocol::quantity::{counted, parse_duration, show_count};

use bar::ReplayBar;
use keys::{Controls, KEYS};
use overlay::{Overlay, Overview, Selection};
use pace::Pace;
use play::{Player, Playing};
use users::{ReplayUsers, token_users};

pub use what_if::WhatIf;

/// Time to wait for the answers after the last comment.
const GRACE: Duration = Duration::from_secs(10);
/// The time that a signalled replay may take beyond its grace.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest delay of users. Comments within it are held in memory.
const MAX_JITTER: Duration = Duration::from_secs(600);

/// Post recordings as real comments, one user for each recorded user.
///
/// On a terminal, space pauses, left and right move by 10 s, page up and page down by a minute, +
/// and - change the speed. Several files run at the same time, each from its own start. With
/// --what-if nothing is posted, and no daemon is needed.
///
/// Exit codes: 0 success, 1 the replay failed or comments have no answer, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Recordings, as lc record and lc import write them
    #[arg(value_name = "FILE", value_parser = path, required = true)]
    pub files: Vec<PathBuf>,

    #[arg(long, value_name = "ID", default_value = "1")]
    pub stream: StreamId,

    /// Speed, as a multiple of the recorded speed
    #[arg(long, alias = "speed", value_name = "N", default_value = "1", value_parser = parse_speed)]
    pub times: f64,

    /// Post as fast as acks allow
    #[arg(long, conflicts_with_all = ["times", "what_if"])]
    pub asap: bool,

    /// Begin at this time of the recording
    #[arg(long, value_name = "T", default_value = "0s", value_parser = parse_duration)]
    pub from: Duration,

    /// End at this time of the recording [default: its end]
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub to: Option<Duration>,

    /// Delay each user by a time of its own up to this, so that files do not run in step
    #[arg(long, value_name = "T", default_value = "0s", value_parser = jitter)]
    pub jitter: Duration,

    /// Other users, and other delays of --jitter, than with another seed
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,

    /// Compute what viewers would see under other settings, as in 'throttle=0:all,200:25%,1k:5%'.
    /// More settings follow behind a space: hysteresis=0.8 step_down_after=5s egress=100m nodes=12
    /// rate=30
    #[arg(long, value_name = "SETTINGS")]
    pub what_if: Option<WhatIf>,

    /// Viewers of the stream
    #[arg(long, value_name = "N", default_value = "1", requires = "what_if",
          value_parser = count_in(1..=1_000_000_000))]
    pub viewers: u64,

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

fn jitter(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        jitter if jitter <= MAX_JITTER => Ok(jitter),
        _ => Err("must be at most 10m".to_owned()),
    }
}

impl ReplayArgs {
    fn selection(&self) -> Selection {
        Selection {
            files: self.files.clone(),
            from_ms: to_ms(self.from),
            to_ms: self.to.map_or(u64::MAX, to_ms),
            jitter_ms: to_ms(self.jitter),
            seed: self.seed,
        }
    }
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

/// Posts the recordings and prints a summary, or prints the table of `--what-if`.
///
/// # Errors
/// A recording cannot be read, there is no daemon, or no way to make tokens.
pub async fn run(args: ReplayArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let selection = args.selection();
    let overview = Overview::read(&selection)?;
    overview.torn.iter().for_each(|torn| note(&format!("warning: {torn}")));
    if let Some(what_if) = &args.what_if {
        let report = what_if::compute(what_if, selection, &overview, args.times, args.viewers)?;
        context.output().result(&report, || what_if::format_report(&report))?;
        return Ok(ExitCode::SUCCESS);
    }
    let source = match &args.signing_key {
        Some(path) => TokenSource::from_secret_file(path).await?,
        None => TokenSource::find_by(context.admin(), &context.data_dir).await?,
    };
    let mut options = match &args.url {
        Some(endpoint) => ViewerOptions::new(endpoint.clone(), args.stream),
        None => {
            let local = local_daemon(&context.admin()).await;
            let options = ViewerOptions::new(local.endpoint, args.stream);
            ViewerOptions { trust: local.trust, ..options }
        }
    };
    if args.insecure {
        options.trust = Trust::AnyCertificate;
    }
    let tokens = source.of_users(token_users(&overview.users)).await?;
    let users = ReplayUsers::new(options, tokens, args.connections as usize);
    let times = (!args.asap).then_some(args.times);
    let summary = replay(selection, &overview, times, users).await?;
    context.output().result(&summary, || format_summary(&summary))?;
    Ok(if summary.unanswered == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays a selection at a multiple of its speed, or with `None` as fast as acks allow.
async fn replay(
    selection: Selection,
    overview: &Overview,
    times: Option<f64>,
    mut users: ReplayUsers,
) -> anyhow::Result<ReplaySummary> {
    let stop = stop_on_signal(GRACE + PATIENCE);
    let from_ms = selection.from_ms;
    let overlay = Overlay::open(selection)?;
    let playing = Playing::default();
    let bar = ReplayBar::new(&playing, from_ms, overview.last_ms);
    let mut controls = Controls::listen(&stop);
    let has_keys = controls.has_keys() && times.is_some();
    let submissions = users.submissions.clone();
    let line = || {
        let posted = show_count(submissions.acks());
        let rejected = show_count(submissions.rejections());
        let place = playing.show(overview.last_ms);
        let keys = if has_keys { format!("  {KEYS}") } else { String::new() };
        format!("{place}  {posted} posted, {rejected} rejected{keys}")
    };
    let start = Instant::now();
    let (_, none) = tokio::sync::mpsc::channel(1);
    let player = Player {
        overlay,
        pace: times.map(|times| Pace::new(times, from_ms, start)),
        controls: std::mem::replace(&mut controls.receiver, none),
        stop: &stop,
        playing: &playing,
    };
    let mut ended_after = Duration::ZERO;
    let playing = player.run(async |comment, due| {
        if times.is_none() {
            // A signal must not wait for a daemon that does not answer.
            stop.run_until_cancelled(users.wait_for_answers()).await;
        }
        users.send(comment, due).await;
        ended_after = start.elapsed();
    });
    let played = show_while(&bar, line, playing).await;
    let comments = users.comments;
    let user_count = show_while(&bar, line, users.finish()).await;
    controls.close().await;
    drop(bar);
    played?;
    let answers = submissions.answers();
    let answered = answers.acked + answers.rejections();
    Ok(ReplaySummary {
        comments,
        users: user_count,
        published: submissions.published(),
        acked: answers.acked,
        unanswered: comments - answered.min(comments),
        rejected: answers.rejected,
        duration_s: (ended_after.as_secs_f64() * 1000.0).round() / 1000.0,
    })
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
    use std::collections::HashMap;
    use std::path::Path;

    use super::overlay::tests::{all_of, write_recording};
    use super::*;
    use crate::loadgen::recording::{RecordedComment, RecordingWriter};
    use crate::loadgen::test_server::{Fault, TestServer};
    use crate::protocol::UserId;
    use crate::protocol::message::Encoding;

    async fn users(server: &TestServer, overview: &Overview) -> ReplayUsers {
        let options = ViewerOptions::new(server.endpoint.clone(), StreamId(1));
        let source = TokenSource::Secret(b"secret".to_vec());
        let tokens = source.of_users(token_users(&overview.users)).await.unwrap();
        ReplayUsers::new(options, tokens, 3)
    }

    async fn replayed(path: &Path, times: Option<f64>) -> ReplaySummary {
        let server = TestServer::start(Fault::None, UserId(1), Encoding::Json).await;
        let selection = all_of(vec![path.to_owned()]);
        let overview = Overview::read(&selection).unwrap();
        let users = users(&server, &overview).await;
        replay(selection, &overview, times, users).await.unwrap()
    }

    #[tokio::test]
    async fn each_user_posts_within_the_connection_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.lcr");
        write_recording(&path, 60, 10, 10);
        let summary = replayed(&path, Some(5.0)).await;
        assert_eq!((summary.comments, summary.users), (60, 10));
        assert_eq!((summary.acked, summary.unanswered), (60, 0));
    }

    #[tokio::test]
    async fn full_speed_does_not_wait_for_recorded_times() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.lcr");
        // Three days of chat.
        write_recording(&path, 3_000, 2, 86_400);
        let summary = replayed(&path, None).await;
        assert_eq!((summary.comments, summary.acked, summary.unanswered), (3_000, 3_000, 0));
    }

    #[tokio::test]
    async fn two_people_of_one_name_stay_two() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.jsonl");
        let mut writer = RecordingWriter::create(&path).unwrap();
        for n in 0..20 {
            let (user_id, key) = match n % 3 {
                0 => (Some(UserId(1)), None),
                1 => (Some(UserId(2)), None),
                _ => (None, Some("youtube:ann".into())),
            };
            writer
                .write(&RecordedComment {
                    ts_ms: n,
                    id: None,
                    user: "ann".into(),
                    user_id,
                    user_key: key,
                    text: "hi".into(),
                    moderation: None,
                    moderation_s: None,
                })
                .unwrap();
        }
        writer.finish().unwrap();
        let summary = replayed(&path, Some(5.0)).await;
        assert_eq!((summary.users, summary.acked), (3, 20));
    }

    #[tokio::test]
    async fn users_that_cannot_connect_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.jsonl");
        write_recording(&path, 5, 5, 10);
        let selection = all_of(vec![path]);
        let overview = Overview::read(&selection).unwrap();
        let options = ViewerOptions::new(Endpoint::plain("127.0.0.1", 1), StreamId(1));
        let users = ReplayUsers::new(options, HashMap::new(), 3);
        let failures = users.failures();
        let summary = replay(selection, &overview, Some(10.0), users).await.unwrap();
        assert_eq!((summary.acked, summary.unanswered), (0, 5));
        assert_eq!(failures(), 5);
    }
}
