//! `lc loadgen`: runs the load generator and prints its report.
//!
//! In: a command line. Out: the report on standard output (tables on a terminal, otherwise one JSON
//! line), progress and warnings on standard error, an exit code. The generator itself is
//! [`crate::loadgen`].

mod args;
mod table;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::context::Context;
use super::exit;
use super::local_daemon::local_daemon;
use super::output::note;
use super::progress::ProgressLine;
use super::stop::stop_on_signal;
use crate::client::{TokenSource, Trust};
use crate::loadgen::recording::{self, RecordedComment, Recording};
use crate::loadgen::{LoadPlan, Workload};
use crate::protocol::printable::describe;
use crate::protocol::{ErrorCode, StreamId};

pub(super) use args::parse_speed;
pub use args::{EncodingArg, LoadgenArgs, TransportArg};

/// The time that a signalled run may take beyond its grace: viewers leave, workers report.
const PATIENCE: Duration = Duration::from_secs(30);
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
    let stop = stop_on_signal(args.grace + PATIENCE);
    let ran = load.run(&stop, &progress).await;
    let report = ran.map_err(|error| with_next_step(error, args.stream))?;
    drop(progress);

    let value = serde_json::to_value(&report).context("the report cannot be written as JSON")?;
    let printed = context.output().result(&value, || table::format_report(&report));
    if report.generator.bottleneck {
        note(&format!("warning: {}", report.generator.note));
    }
    let broken: Vec<_> = args.fail_if.iter().filter_map(|limit| limit.broken_by(&value)).collect();
    broken.iter().for_each(|reason| note(&format!("failed: {reason}")));
    if !broken.is_empty() {
        // An exceeded threshold says more than a lost report, which is on stderr.
        return Ok(exit::THRESHOLD.into());
    }
    printed?;
    Ok(ExitCode::SUCCESS)
}

/// Adds to the error of a stream that does not exist how it is created. Processes that hold the
/// viewers report their errors as texts, so the code is looked for in the text.
fn with_next_step(error: anyhow::Error, stream: StreamId) -> anyhow::Error {
    let text = describe(error.as_ref());
    if text.contains(ErrorCode::UnknownStream.as_str()) {
        return anyhow::anyhow!("{text}; create it: lc streams create --id {stream}");
    }
    error
}

async fn load_plan(args: &LoadgenArgs, context: &Context) -> anyhow::Result<LoadPlan> {
    let workload = workload(args)?;
    let (endpoints, trust) = if args.url.is_empty() {
        let local = local_daemon(&context.admin()).await;
        (vec![local.endpoint], local.trust)
    } else {
        (args.url.clone(), Trust::PublicAuthorities)
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
        transports: args.transport.iter().map(|transport| (*transport).into()).collect(),
        forms: args.encoding.iter().map(|encoding| (*encoding).into()).collect(),
        connections_per_second: args.connect_rate as f64,
        slow_percent: args.slow_percent,
        viewer_tokens: args.viewer_tokens,
        token_source: None,
        trust: if args.insecure { Trust::AnyCertificate } else { trust },
        worker_program: Some(program),
        processes: args.processes,
        source_addresses: args.source_addresses,
        grace: args.grace,
    };
    if plan.tokens() > 0 {
        plan.token_source = Some(match &args.signing_key {
            Some(path) => TokenSource::from_secret_file(path).await?,
            None => TokenSource::find_by(context.admin(), &context.data_dir).await?,
        });
    }
    Ok(plan)
}

/// Reads a recording, and warns if its end is missing.
pub(super) fn read_recording(path: &Path) -> anyhow::Result<Vec<RecordedComment>> {
    let Recording { comments, torn } = recording::read(path)?;
    if let Some(torn) = torn {
        note(&format!("warning: {}: {torn}", path.display()));
    }
    Ok(comments)
}

fn workload(args: &LoadgenArgs) -> anyhow::Result<Workload> {
    Ok(match &args.replay {
        Some(path) => Workload::Replay {
            recording: Arc::new(read_recording(path)?),
            speed: args.speed,
            limit: args.duration,
        },
        None => Workload::Rate {
            per_second: args.rate.unwrap_or(DEFAULT_RATE) as f64,
            duration: args.duration.unwrap_or(DEFAULT_DURATION),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::viewer::ConnectError;
    use crate::protocol::error_code::ErrorBody;

    #[test]
    fn a_missing_stream_says_how_it_is_created() {
        let refused = |code, text: &str| {
            let url = "ws://127.0.0.1:8080/ws/2".to_owned();
            let body = Some(ErrorBody::new(code, text));
            let error = anyhow::Error::from(ConnectError::Refused { url, status: 404, body });
            let error = error.context("a sender could not connect");
            describe(with_next_step(error, StreamId(2)).as_ref())
        };
        let unknown = refused(ErrorCode::UnknownStream, "no stream 2");
        assert!(unknown.starts_with("a sender could not connect: ws://"), "{unknown}");
        assert!(unknown.ends_with("; create it: lc streams create --id 2"), "{unknown}");
        let banned = refused(ErrorCode::Banned, "banned");
        assert!(!banned.contains("create"), "{banned}");
    }
}
