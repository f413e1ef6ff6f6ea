//! `lc replay FILE…`: posts recordings as real comments, one user per recorded user.
//!
//! In: recordings, a stream, a speed, keys. Out: comments at their times, and a summary; with
//! `--what-if` a table, without a daemon ([`what_if`]). Recorded deletions are repeated where the
//! admin socket is open. Always holds: a recorded user is always the same user (the id is a hash of
//! the recorded id, or of the name where the recording has no ids), and the comments of one user
//! stay in order. When full: beyond `--connections` the user that has been silent longest is
//! disconnected, and a replay at full speed has a bounded number of comments without an answer.
//!
//! Parts: [`overlay`] joins the files, [`pace`] knows the position, [`play`] is the loop, [`keys`]
//! steers it, [`users`] holds the connections, [`operator`] deletes and throttles, and [`bar`]
//! shows the progress.

mod bar;
mod keys;
mod operator;
mod overlay;
mod pace;
mod play;
mod users;
mod what_if;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use super::arguments::{count_in, path, to_ms};
use super::context::Context;
use super::exit::UsageError;
use super::loadgen::parse_speed;
use super::local_daemon::local_daemon;
use super::output::note;
use super::stop::stop_on_signal;
use crate::client::admin::{AdminClient, AdminError};
use crate::client::viewer::{ConnectError, ViewerConnection, ViewerOptions};
use crate::client::{Endpoint, TokenSource, Trust};
use crate::loadgen::{CountsByKind, show_while};
use crate::protocol::StreamId;
use crate::protocol::admin::{Cluster, StreamStatus};
use crate::protocol::quantity::{counted, parse_duration, show_count};
use crate::protocol::throttle::FixedRate;

use bar::ReplayBar;
use keys::{Controls, KEYS};
use operator::{DeletionCounts, Operator};
use overlay::{Extras, Overlay, Overview, PlayedEvent, Selection};
use pace::Pace;
use play::{Player, Playing};
use users::{ReplayUsers, token_users};
use what_if::{BaseRules, Load};

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
/// and - change the speed. Elsewhere a line says every ten seconds how far it is. Several files run
/// at the same time, each from its own start. With --what-if nothing is posted, and no daemon is
/// needed.
///
/// Recorded deletions are repeated through the admin socket of the daemon; without one, they are
/// left out, and a line says how many. A share of comments that an operator fixed is set again with
/// --throttle. Shares that the throttle chose are not: the daemon chooses again.
///
/// Exit codes: 0 success, 1 the replay failed, comments have no answer or deletions failed, 64
/// wrong usage, 69 no daemon, 77 not permitted.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Recordings, as lc record and lc import write them
    #[arg(value_name = "FILE", value_parser = path, required = true)]
    pub files: Vec<PathBuf>,

    #[arg(long, value_name = "ID", default_value = "1")]
    pub stream: StreamId,

    /// Speed, as a multiple of the recorded speed
    #[arg(long, alias = "speed", value_name = "SPEED", default_value = "1", value_parser = parse_speed)]
    pub times: f64,

    /// Post as fast as acks allow
    #[arg(long, conflicts_with_all = ["times", "what_if"])]
    pub asap: bool,

    /// Begin at this time of the recording
    #[arg(long, value_name = "T", default_value = "0s", allow_hyphen_values = true,
        value_parser = parse_duration)]
    pub from: Duration,

    /// End at this time of the recording [default: its end]
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = parse_duration)]
    pub to: Option<Duration>,

    /// Delay each user by a time of its own up to this, so that files do not run in step
    #[arg(long, value_name = "T", default_value = "0s", value_parser = jitter)]
    pub jitter: Duration,

    /// Other users, and other delays of --jitter, than with another seed
    #[arg(long, value_name = "N", default_value = "0", value_parser = count_in(0..=u64::MAX))]
    pub seed: u64,

    /// Fix the share of comments that viewers see where an operator fixed it, and leave it to the
    /// throttle again where that was done. The stream ends with the share that it had before
    #[arg(long, conflicts_with = "what_if")]
    pub throttle: bool,

    /// Compute what viewers would see under other settings, as in 'throttle=0:all,200:25%,1k:5%'.
    /// More settings follow behind a space: hysteresis=0.8 step_down_after=5s egress=100m nodes=12
    /// rate=30. Others are those of --config, else those in the recording, else the daemon's
    /// defaults
    #[arg(long, value_name = "SETTINGS", num_args = 0..=1, default_missing_value = "")]
    pub what_if: Option<WhatIf>,

    /// Configuration of lcd, for what --what-if does not name
    #[arg(long, value_name = "FILE", value_parser = path, requires = "what_if")]
    pub config: Option<PathBuf>,

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
    /// The comments of the selection, of which a signal leaves some.
    #[serde(skip)]
    selected: u64,
    users: u64,
    published: u64,
    acked: u64,
    rejected: CountsByKind,
    /// Neither acked nor rejected, or never sent because their user could not connect.
    unanswered: u64,
    /// Absent if no deletions were played back.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletions: Option<DeletionCounts>,
    duration_s: f64,
}

/// Posts the recordings and prints a summary, or prints the table of `--what-if`.
///
/// # Errors
/// A recording cannot be read, there is no daemon, it does not take viewers of the stream, or no
/// way to make tokens.
pub async fn run(args: ReplayArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.throttle && args.files.len() > 1 {
        let text = "--throttle repeats the settings of one recording: give one FILE";
        return Err(UsageError(text.to_owned()).into());
    }
    let selection = args.selection();
    let overview = Overview::read(&selection)?;
    overview.warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
    if let Some(what_if) = &args.what_if {
        let base = base_rules(&args, &overview).map_err(UsageError)?;
        let load = Load { times: args.times, viewers: args.viewers };
        let report = what_if::compute(what_if, &base, selection, &overview, load)?;
        context.output().result(&report, || what_if::format_report(&report))?;
        return Ok(ExitCode::SUCCESS);
    }
    if context.is_read_only() {
        return Err(AdminError::ReadOnly.into());
    }
    let source = match &args.signing_key {
        Some(path) => TokenSource::from_secret_file(path).await?,
        None => TokenSource::find_by(context.admin(), &context.data_dir).await?,
    };
    // A daemon that makes tokens for --url is of that cluster. With a secret, nothing says so.
    let admin = match (&source, &args.url) {
        (TokenSource::Secret(_), Some(_)) => None,
        _ => Some(context.admin()),
    };
    let streams = match &admin {
        Some(admin) => admin.get::<Cluster<StreamStatus>>("/v1/streams").await.ok(),
        None => None,
    };
    let stream = streams
        .as_ref()
        .map(|streams| streams.items.iter().find(|stream| stream.stream_id == args.stream));
    if let Some(None) = stream {
        bail!("stream {} does not exist; `lc streams` lists all streams", args.stream);
    }
    let operator = admin.zip(stream.flatten());
    let extras = extras(&args, &overview, operator.is_some())?;
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
    let token = tokens.values().next().map(|token| token.clone().into());
    try_to_join(&ViewerOptions { token, ..options.clone() }).await?;
    let users = ReplayUsers::new(options, tokens, args.connections as usize);
    let playback = Playback {
        times: (!args.asap).then_some(args.times),
        extras,
        operator: operator
            .filter(|_| extras.deletions || extras.throttle)
            .map(|(admin, stream)| start_operator(admin, stream)),
    };
    let summary = replay(selection, &overview, playback, users).await?;
    context.output().result(&summary, || format_summary(&summary))?;
    let failed = summary.deletions.map_or(0, |deletions| deletions.failed);
    let is_whole = summary.unanswered == 0 && failed == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fails if no user can join, so that this is one error now and not a failure for each of them.
async fn try_to_join(options: &ViewerOptions) -> Result<(), ConnectError> {
    match ViewerConnection::join(options).await {
        // This user may be banned, and others not.
        Err(ConnectError::NotWelcome { .. }) => Ok(()),
        Err(ConnectError::Refused { status, .. }) if status != 404 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

fn start_operator(admin: AdminClient, stream: &StreamStatus) -> Operator {
    let until_ms = stream.throttle_until_ms;
    let before = stream.throttle_override.map(|rate| FixedRate { rate, until_ms });
    Operator::new(admin, stream.stream_id, before)
}

/// Returns the rules for which `--what-if` has no settings.
fn base_rules(args: &ReplayArgs, overview: &Overview) -> Result<BaseRules, String> {
    match (&args.config, &overview.rules) {
        (Some(path), _) => BaseRules::of_config(path),
        (None, Some(rules)) => BaseRules::of_recording(rules),
        (None, None) => Ok(BaseRules::default()),
    }
}

/// Returns what is played besides comments, and says what is left out.
fn extras(args: &ReplayArgs, overview: &Overview, has_operator: bool) -> anyhow::Result<Extras> {
    if args.throttle && !has_operator {
        bail!("--throttle needs the admin socket of the daemon: name it with --socket");
    }
    if overview.deletions > 0 && !has_operator {
        note(&format!(
            "left out: {} of the recording; only the admin socket of the daemon can delete",
            counted(overview.deletions, "deletion")
        ));
    }
    let fixed_shares = overview.fixed_shares();
    if fixed_shares > 0 && !args.throttle {
        note(&format!(
            "an operator fixed the share of comments {} in the recording; --throttle does it again",
            counted(fixed_shares, "time")
        ));
    }
    Ok(Extras {
        deletions: overview.deletions > 0 && has_operator,
        throttle: args.throttle && fixed_shares > 0,
    })
}

/// The speed of a replay, and the extras that are played with the comments.
struct Playback {
    /// A multiple of the recorded speed; `None` is as fast as acks allow.
    times: Option<f64>,
    extras: Extras,
    /// Present if there are extras.
    operator: Option<Operator>,
}

/// Plays a selection.
async fn replay(
    selection: Selection,
    overview: &Overview,
    playback: Playback,
    mut users: ReplayUsers,
) -> anyhow::Result<ReplaySummary> {
    let Playback { times, extras, mut operator } = playback;
    let stop = stop_on_signal(2 * GRACE + PATIENCE);
    let from_ms = selection.from_ms;
    let overlay = Overlay::open_with(selection, extras, &overview.throttle)?;
    if let Some(operator) = &operator {
        users.remember_in(operator.ids.clone());
    }
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
    let playing = player.run(async |event, due| {
        if times.is_none() {
            // A signal must not wait for a daemon that does not answer.
            stop.run_until_cancelled(users.wait_for_answers()).await;
        }
        match (event, &mut operator) {
            (PlayedEvent::Comment(comment), _) => users.send(comment, due).await,
            (PlayedEvent::Deletion(deletion), Some(operator)) => {
                stop.run_until_cancelled(operator.delete(deletion)).await;
            }
            (PlayedEvent::Throttle(setting), Some(operator)) => {
                operator.set_throttle(setting).await;
            }
            (PlayedEvent::Deletion(_) | PlayedEvent::Throttle(_), None) => {}
        }
        ended_after = start.elapsed();
    });
    let played = show_while(&bar, line, playing).await;
    let comments = users.comments;
    let user_count = show_while(&bar, line, users.finish()).await;
    let deletions = match operator {
        Some(operator) => {
            let counts = show_while(&bar, line, operator.finish(GRACE)).await;
            extras.deletions.then_some(counts)
        }
        None => None,
    };
    controls.close().await;
    drop(bar);
    played?;
    let answers = submissions.answers();
    let answered = answers.acked + answers.rejections();
    Ok(ReplaySummary {
        comments,
        selected: overview.comments,
        users: user_count,
        published: submissions.published(),
        acked: answers.acked,
        unanswered: comments - answered.min(comments),
        rejected: answers.rejected,
        deletions,
        duration_s: (ended_after.as_secs_f64() * 1000.0).round() / 1000.0,
    })
}

fn format_summary(summary: &ReplaySummary) -> String {
    let ReplaySummary { comments, selected, users, acked, unanswered, duration_s, .. } = summary;
    let mut text = format!(
        "{acked} of {} of {} posted in {duration_s:.1} s, {} rejected, {unanswered} without an \
         answer\n",
        // After a jump back, comments are posted again.
        counted((*comments).max(*selected), "comment"),
        counted(*users, "user"),
        summary.rejected.values().sum::<u64>()
    );
    for (code, count) in &summary.rejected {
        text.push_str(&format!("  {code} {count}\n"));
    }
    if let Some(DeletionCounts { deleted, without_comment, failed }) = summary.deletions {
        text.push_str(&format!(
            "{} deleted as recorded, {failed} failed, {without_comment} were of comments that are not \
             there\n",
            counted(deleted, "comment")
        ));
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
        replay(selection, &overview, at_speed(times), users).await.unwrap()
    }

    fn at_speed(times: Option<f64>) -> Playback {
        Playback { times, extras: Extras::default(), operator: None }
    }

    #[tokio::test]
    async fn each_user_posts_within_the_connection_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.lcr");
        write_recording(&path, 60, 10, 10);
        let mut summary = replayed(&path, Some(5.0)).await;
        assert_eq!((summary.comments, summary.users), (60, 10));
        assert_eq!((summary.acked, summary.unanswered), (60, 0));
        // As after a signal.
        summary.comments = 1;
        summary.acked = 1;
        let told = format_summary(&summary);
        assert!(told.starts_with("1 of 60 comments of 10 users posted in"), "{told}");
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
        let summary = replay(selection, &overview, at_speed(Some(10.0)), users).await.unwrap();
        assert_eq!((summary.acked, summary.unanswered), (0, 5));
        assert_eq!(failures(), 5);
    }
}
