//! `lc loadgen`: runs the load generator and prints its report.
//!
//! In: a command line. Out: the report on standard output (tables on a terminal, otherwise one JSON
//! line), progress and warnings on standard error, an exit code. The generator itself is
//! [`crate::loadgen`].

mod args;
mod table;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::context::Context;
use super::default_endpoint::default_endpoint;
use super::exit;
use super::interrupt::stop_on_interrupt;
use super::progress::ProgressLine;
use crate::client::{TokenSource, Trust};
use crate::loadgen::{LoadPlan, Workload, recording};

pub use args::LoadgenArgs;
pub(super) use args::parse_speed;

const DEFAULT_RATE: u64 = 100;
const DEFAULT_DURATION: Duration = Duration::from_secs(30);

/// Runs the load and prints the report.
///
/// # Errors
/// The load could not run: no daemon, no tokens, no viewer connected, or no such recording.
pub async fn run(args: LoadgenArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let progress = ProgressLine::new();
    let load = load_plan(&args, context).await?.prepare().await?;
    load.notes().iter().for_each(|note| progress.print(&format!("note: {note}")));
    let report = load.run(&stop_on_interrupt(), &progress).await?;
    drop(progress);

    let value = serde_json::to_value(&report).context("the report cannot be written as JSON")?;
    if context.json {
        println!("{value}");
    } else {
        print!("{}", table::format_report(&report));
    }
    if report.generator.bottleneck {
        eprintln!("warning: {}", report.generator.note);
    }
    let broken: Vec<_> = args.fail_if.iter().filter_map(|limit| limit.broken_by(&value)).collect();
    broken.iter().for_each(|reason| eprintln!("failed: {reason}"));
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { exit::THRESHOLD.into() })
}

async fn load_plan(args: &LoadgenArgs, context: &Context) -> anyhow::Result<LoadPlan> {
    let workload = workload(args)?;
    let endpoints = if args.url.is_empty() {
        vec![default_endpoint(&context.socket).await]
    } else {
        args.url.clone()
    };
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let mut plan = LoadPlan {
        endpoints,
        stream: args.stream,
        viewers: if args.no_viewers { 0 } else { args.viewers },
        senders: args.senders,
        workload,
        reactions_per_second: args.reactions_rate as f64,
        storms: args.storm_at.clone(),
        forms: args.encoding.iter().map(|encoding| (*encoding).into()).collect(),
        connections_per_second: args.connect_rate as f64,
        slow_percent: args.slow_percent,
        viewer_tokens: args.viewer_tokens,
        token_source: None,
        trust: if args.insecure { Trust::AnyCertificate } else { Trust::PublicAuthorities },
        worker_program: Some(program),
        processes: args.processes,
        source_addresses: args.source_addresses,
        grace: args.grace,
    };
    if plan.tokens() > 0 {
        plan.token_source = Some(match &args.signing_key {
            Some(path) => TokenSource::from_secret_file(path).await?,
            None => TokenSource::find(&context.socket, &context.data_dir).await?,
        });
    }
    Ok(plan)
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
