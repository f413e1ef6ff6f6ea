//! `lc loadgen`: real viewers, real comments, an exact account.
//!
//! In: a daemon to load, a rate or a recording. Out: a report on standard output (a table on a
//! terminal, else one JSON line), progress and warnings on standard error, an exit code. Always holds:
//! latency counts from the intended send time, for rates and recordings by the same loop; every
//! acknowledged comment is accounted for at every viewer. When full: connections up to the descriptor
//! limit, and it says how many did not fit; comments in flight up to a bound for each sender, after
//! which the schedule slips and the report says whose doing that was.
//!
//! Parts: [`schedule`] plans and keeps time, [`sender`] submits, [`crowd`] watches, [`crowds`] spreads
//! viewers over processes, [`ledger`] accounts, [`generator`] watches the generator, [`trial`] puts
//! them together, [`report`] and [`threshold`] tell the outcome.

mod ack_feed;
mod args;
pub(crate) mod clock;
mod crowd;
mod crowds;
mod descriptors;
mod generator;
mod ledger;
mod outcome;
mod pipe;
mod process;
pub(crate) mod progress;
mod report;
pub(crate) mod schedule;
pub(crate) mod sender;
mod submissions;
mod target;
mod text;
mod threshold;
mod trial;
pub mod worker;

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use crate::cli::context::Context;
use crate::cli::recording;
use crate::client::viewer::ViewerOptions;
use crate::client::{Endpoint, TokenSource, Trust};
use crate::protocol::UserId;

use crowd::{AudiencePlan, WireForm};
use crowds::Reach;
use progress::Progress;
use schedule::Workload;
use trial::Trial;

pub(crate) use args::parse_speed;
pub use args::{EncodingArg, LoadgenArgs};
pub(crate) use submissions::{ByKind, Submissions};
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
    trial.notes.iter().for_each(|note| progress.note(&format!("note: {note}")));
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
    let silent = workload.comments() == 0 && args.reactions_rate == 0;
    let senders = if silent { 0 } else { args.senders };
    let fitting = descriptors::raise_limit();
    let (reach, placing) = reach(args, wanted, senders, fitting)?;
    let (viewers, note) = descriptors::fit_viewers(wanted, senders, fitting, reach.count());
    let tokens = Tokens::make(args, context, senders, viewers).await?;
    let commenting = |(index, token): (usize, &Arc<str>)| {
        let endpoint = endpoints[index % endpoints.len()].clone();
        let encoding = WireForm::from(args.encoding[index % args.encoding.len()]).encoding;
        let token = Some(token.clone());
        let options = ViewerOptions::new(endpoint, args.stream);
        ViewerOptions { token, trust: trust(args), encoding, ..options }
    };
    let senders_options = tokens.senders.iter().enumerate().map(commenting).collect();
    let source_addresses = source_addresses(args, &endpoints, viewers)?;
    Ok(Trial {
        audience: AudiencePlan {
            endpoints,
            forms: args.encoding.iter().map(|encoding| (*encoding).into()).collect(),
            trust: trust(args),
            tokens: tokens.viewers,
            slow_percent: args.slow_percent,
            connect_rate: args.connect_rate as f64,
            source_addresses,
            ..AudiencePlan::new(viewers, Endpoint::plain("", 0), args.stream)
        },
        reach,
        viewers_wanted: wanted,
        senders: senders_options,
        own_users: tokens.first_sender..tokens.first_sender + senders,
        workload,
        reactions_per_second: args.reactions_rate as f64,
        storms: args.storm_at.clone(),
        grace: args.grace,
        notes: placing.into_iter().chain(note).collect(),
    })
}

fn trust(args: &LoadgenArgs) -> Trust {
    if args.insecure { Trust::AnyCertificate } else { Trust::PublicAuthorities }
}

/// Where the viewers go, and what to say of it if that is not here.
fn reach(
    args: &LoadgenArgs,
    viewers: u64,
    senders: u64,
    fitting: u64,
) -> anyhow::Result<(Reach, Option<String>)> {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let automatic = || descriptors::processes(viewers, senders, fitting, processors);
    let count = args.processes.unwrap_or_else(automatic);
    if count == 1 {
        return Ok((Reach::Here, None));
    }
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let note = format!("{viewers} viewers in {count} processes of at most {fitting} connections");
    Ok((Reach::Processes { program, count }, Some(note)))
}

/// How many addresses viewers connect from; 0 leaves it to the kernel.
fn source_addresses(
    args: &LoadgenArgs,
    endpoints: &[Endpoint],
    viewers: u64,
) -> anyhow::Result<u32> {
    let loopback = |endpoint: &Endpoint| {
        endpoint.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    };
    let local = endpoints.iter().all(loopback);
    match args.source_addresses {
        Some(_) if !local => bail!("--source-addresses is for targets on 127.0.0.0/8"),
        Some(addresses) => Ok(addresses),
        None if !local => Ok(0),
        None => {
            let (targets, storms) = (endpoints.len() as u64, args.storm_at.len() as u64);
            Ok(descriptors::source_addresses(viewers, targets, storms))
        }
    }
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
