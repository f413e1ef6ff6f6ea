//! `lc wait`: waits until a condition holds.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::arguments::non_zero_duration;
use super::complete;
use super::context::Context;
use super::exit::{self, UsageError};
use super::list::underlined;
use super::output::note;
use super::stop::stop_on_signal;
use crate::client::admin::AdminError;
use crate::protocol::StreamId;
use crate::protocol::admin::{Cluster, NodeStatus, Status, StreamStatus};
use crate::protocol::filter::{Column, Columns, Filter, Row};
use crate::protocol::printable::describe;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// After a signal nothing is left to do.
const PATIENCE: Duration = Duration::from_secs(2);

/// Wait until a condition holds, such as 'health=well' or 'viewers<100'
///
/// A daemon that is not there yet is waited for. Exit code 0 if the condition holds, 5 if it does
/// not hold in time.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Condition, as for --where of lists, on the columns of lc status: health, ready, draining,
    /// alerts, viewers, connections, streams, served, p99, up
    #[arg(value_name = "EXPR")]
    condition: String,
    /// Look at this stream, with the columns of lc streams
    #[arg(long, value_name = "STREAM", conflicts_with = "on", add = complete::streams())]
    stream: Option<StreamId>,
    /// Look at this node, with the columns of lc nodes
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    on: Option<String>,
    /// The longest time to wait
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = non_zero_duration, default_value = "1m")]
    timeout: Duration,
}

pub(super) async fn run(args: WaitArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let columns = match (&args.stream, &args.on) {
        (Some(_), _) => StreamStatus::COLUMNS,
        (None, Some(_)) => NodeStatus::COLUMNS,
        (None, None) => Status::COLUMNS,
    };
    let filter = parse(&args.condition, columns)?;
    let stop = stop_on_signal(PATIENCE);
    let begun = Instant::now();
    loop {
        let Some(seen) = stop.run_until_cancelled(look(&args, &filter, context)).await else {
            return Ok(exit::FAILED.into());
        };
        let why = match seen {
            Ok(Seen::Holds) => return Ok(ExitCode::SUCCESS),
            Ok(Seen::HoldsNot) => format!("{filter} does not hold"),
            Ok(Seen::Nothing) => nothing_seen(&args),
            Err(error) if error.retry() => describe(&error),
            Err(error) => return Err(error.into()),
        };
        let left = args.timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            note(&format!("lc: the time is up: {why}"));
            return Ok(exit::TIMED_OUT.into());
        }
        let pause = tokio::time::sleep(left.min(INTERVAL));
        if stop.run_until_cancelled(pause).await.is_none() {
            return Ok(exit::FAILED.into());
        }
    }
}

fn parse(text: &str, columns: &[Column]) -> Result<Filter, UsageError> {
    let filter =
        Filter::parse(text, columns).map_err(|error| UsageError(underlined(text, &error)))?;
    if filter.is_empty() {
        return Err(UsageError("the condition is empty".to_owned()));
    }
    Ok(filter)
}

/// The result of a look.
enum Seen {
    Holds,
    HoldsNot,
    /// The stream or node is not there.
    Nothing,
}

impl Seen {
    fn of<T: Row>(item: Option<&T>, filter: &Filter) -> Self {
        match item {
            None => Self::Nothing,
            Some(item) if filter.matches(item) => Self::Holds,
            Some(_) => Self::HoldsNot,
        }
    }
}

/// A stream or node that is not there may come yet, so it is waited for.
async fn look(args: &WaitArgs, filter: &Filter, context: &Context) -> Result<Seen, AdminError> {
    let admin = context.admin();
    if let Some(stream_id) = args.stream {
        let streams: Cluster<StreamStatus> = admin.get("/v1/streams").await?;
        let stream = streams.items.iter().find(|stream| stream.stream_id == stream_id);
        return Ok(Seen::of(stream, filter));
    }
    if let Some(name) = &args.on {
        let nodes: Cluster<NodeStatus> = admin.get("/v1/nodes").await?;
        return Ok(Seen::of(nodes.items.iter().find(|node| node.node.as_str() == name), filter));
    }
    let status: Status = admin.get("/v1/status").await?;
    Ok(Seen::of(Some(&status), filter))
}

fn nothing_seen(args: &WaitArgs) -> String {
    match (args.stream, &args.on) {
        (Some(stream_id), _) => format!("stream {stream_id} does not exist"),
        (None, Some(node)) => format!("no node {node} answers"),
        (None, None) => "the daemon has no status".to_owned(),
    }
}
