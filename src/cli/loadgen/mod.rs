//! `lc loadgen`: real viewers, real comments, an exact account.
//!
//! In: a daemon to load, a rate or a recording. Out: a report on standard output (a table on a
//! terminal, else one JSON line), progress and warnings on standard error, an exit code. Always holds:
//! latency counts from the intended send time, for rates and recordings by the same loop; every
//! acknowledged comment is accounted for at every viewer. When full: connections up to the descriptor
//! limit, and it says how many did not fit; comments in flight up to a bound for each sender, after
//! which the schedule slips and the report says whose doing that was.
//!
//! Parts: [`schedule`] plans and keeps time, [`sender`] submits, [`audience`] watches, [`ledger`]
//! accounts, [`generator`] watches the generator, [`trial`] puts them together, [`report`] and
//! [`threshold`] tell the outcome.

mod args;
mod audience;
mod descriptors;
mod generator;
mod ledger;
pub(crate) mod progress;
mod report;
pub(crate) mod schedule;
pub(crate) mod sender;
mod submissions;
mod target;
mod text;
mod threshold;
mod trial;

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::cli::context::Context;
use crate::cli::recording;
use crate::client::viewer::ViewerOptions;
use crate::client::{Endpoint, TokenSource, Trust};
use crate::protocol::UserId;

use audience::AudiencePlan;
use progress::Progress;
use schedule::Workload;
use trial::Trial;

pub(crate) use args::parse_speed;
pub use args::{EncodingArg, LoadgenArgs};
pub(crate) use submissions::Submissions;
pub use target::default_endpoint;
pub use threshold::Threshold;

/// The exit code where a `--fail-if` condition held.
pub const EXIT_THRESHOLD: u8 = 2;

const DEFAULT_RATE: u64 = 100;
const DEFAULT_DURATION: Duration = Duration::from_secs(30);

/// Runs the load and prints the report.
///
/// # Errors
/// Where the run could not be made: no daemon, no tokens, no viewer connected, no such recording.
pub async fn run(args: LoadgenArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let progress = Progress::new();
    let trial = prepare(&args, context).await?;
    trial.notes.iter().for_each(|note| progress.note(&format!("warning: {note}")));
    let stop = stop_on_interrupt();
    let report = Box::pin(trial.run(&stop, &progress)).await?;
    drop(progress);

    let value = serde_json::to_value(&report).context("the report is no JSON")?;
    if context.json || !std::io::stdout().is_terminal() {
        println!("{value}");
    } else {
        print!("{}", report.table());
    }
    if report.generator.bottleneck {
        eprintln!("warning: {}", report.generator.note);
    }
    let broken: Vec<_> = args.fail_if.iter().filter_map(|t| t.broken_by(&value)).collect();
    broken.iter().for_each(|reason| eprintln!("failed: {reason}"));
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_THRESHOLD) })
}

async fn prepare(args: &LoadgenArgs, context: &Context) -> anyhow::Result<Trial> {
    let workload = workload(args)?;
    let endpoints = if args.url.is_empty() {
        vec![default_endpoint(&context.socket).await]
    } else {
        args.url.clone()
    };
    let wanted = if args.no_viewers { 0 } else { args.viewers };
    let senders = if workload.comments() == 0 { 0 } else { args.senders };
    let (viewers, note) = descriptors::fit_viewers(wanted, senders, descriptors::raise_limit());
    let tokens = Tokens::make(args, context, senders, viewers).await?;
    let options =
        |index: usize, token: Option<&Arc<str>>| options(args, &endpoints, index, token.cloned());
    let watching = |viewer: usize| options(viewer, tokens.viewers.get(viewer));
    let commenting = |(index, token)| options(index, Some(token));
    Ok(Trial {
        audience: AudiencePlan {
            viewers: (0..viewers as usize).map(watching).collect(),
            slow_percent: args.slow_percent,
            connect_rate: args.connect_rate as f64,
        },
        viewers_wanted: wanted,
        senders: tokens.senders.iter().enumerate().map(commenting).collect(),
        own_users: tokens.first_sender..tokens.first_sender + senders,
        workload,
        grace: args.grace,
        notes: note.into_iter().collect(),
    })
}

fn workload(args: &LoadgenArgs) -> anyhow::Result<Workload> {
    Ok(match &args.replay {
        Some(path) => Workload::Replay {
            recording: Arc::new(recording::read(path)?),
            speed: args.speed,
            limit: args.duration,
        },
        None => Workload::Rate {
            per_second: args.rate.unwrap_or(DEFAULT_RATE) as f64,
            duration: args.duration.unwrap_or(DEFAULT_DURATION),
        },
    })
}

fn options(
    args: &LoadgenArgs,
    endpoints: &[Endpoint],
    index: usize,
    token: Option<Arc<str>>,
) -> ViewerOptions {
    let endpoint = endpoints[index % endpoints.len()].clone();
    let trust = if args.insecure { Trust::AnyCertificate } else { Trust::PublicAuthorities };
    let encoding = args.encoding.into();
    ViewerOptions { token, trust, encoding, ..ViewerOptions::new(endpoint, args.stream) }
}

/// The users of a run, whose ids are drawn so that two runs hardly share one.
struct Tokens {
    first_sender: u64,
    senders: Vec<Arc<str>>,
    viewers: Vec<Arc<str>>,
}

impl Tokens {
    async fn make(
        args: &LoadgenArgs,
        context: &Context,
        senders: u64,
        viewers: u64,
    ) -> anyhow::Result<Self> {
        // Below 2^53, where JavaScript still counts exactly.
        let first_sender = rand::random_range(1_u64 << 40..1 << 52);
        let mut tokens = Self { first_sender, senders: Vec::new(), viewers: Vec::new() };
        let viewers = if args.viewer_tokens { viewers } else { 0 };
        if senders + viewers == 0 {
            return Ok(tokens);
        }
        let source = match &args.signing_key {
            Some(path) => TokenSource::from_secret_file(path).await?,
            None => TokenSource::find(&context.socket, &context.data_dir).await?,
        };
        let mint = async |first: u64, count: u64| -> anyhow::Result<Vec<Arc<str>>> {
            let tokens = source.numbered(UserId(first), count as u32, "load").await?;
            Ok(tokens.into_iter().map(Arc::from).collect())
        };
        tokens.senders = mint(first_sender, senders).await?;
        tokens.viewers = mint(first_sender + senders, viewers).await?;
        Ok(tokens)
    }
}

/// Cancelled by Ctrl-C; a second one ends the process as always.
pub(crate) fn stop_on_interrupt() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    stop
}
