//! `lc throttle`: shows or sets the share of comments that viewers see.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::arguments::{RateSetting, rate_setting};
use super::context::Context;
use super::output::{show, table, warn_unreachable};
use super::streams::throttle_of;
use crate::client::outcome_text::throttled;
use crate::protocol::StreamId;
use crate::protocol::admin::{Cluster, Outcome, StreamStatus, ThrottleRequest};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{show_count, show_rate, show_share};

/// Show or set the share of comments that viewers see
///
/// Every comment is stored whatever the share, and senders always see their own comments. A share
/// stays in effect until it is set to auto.
#[derive(Debug, Args)]
pub(super) struct ThrottleArgs {
    /// Stream id; without it, all streams are shown
    stream: Option<StreamId>,
    /// `auto`, or a share: 0.1, 10%, 1/10, all, none; without it, the current share is shown
    #[arg(value_parser = rate_setting, requires = "stream")]
    rate: Option<RateSetting>,
}

pub(super) async fn run(args: ThrottleArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match (args.stream, args.rate) {
        (Some(stream_id), Some(rate)) => set(stream_id, rate, context).await?,
        (only, _) => list(only, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(stream_id: StreamId, rate: RateSetting, context: &Context) -> anyhow::Result<()> {
    let request = ThrottleRequest { stream_id, sample_rate: rate.sample_rate() };
    let outcome: Outcome = context.admin().post("/v1/throttle", &request).await?;
    context.output().result(&outcome, || throttled(stream_id, rate.sample_rate(), &outcome))?;
    warn_unreachable(&outcome.unreachable);
    Ok(())
}

async fn list(only: Option<StreamId>, context: &Context) -> anyhow::Result<()> {
    let mut streams: Cluster<StreamStatus> = context.admin().get("/v1/streams").await?;
    if let Some(only) = only {
        streams.items.retain(|stream| stream.stream_id == only);
        if streams.items.is_empty() {
            bail!("stream {only} does not exist; `lc streams` lists all streams");
        }
    }
    context.output().items(&streams.items, || to_table(&streams.items))?;
    warn_unreachable(&streams.unreachable);
    Ok(())
}

fn to_table(streams: &[StreamStatus]) -> String {
    let mut rows =
        table(&[">id", "~title", ">in/s", ">shown", "throttle", ">sampled out", ">by egress"]);
    for stream in streams {
        rows.add_row([
            stream.stream_id.to_string(),
            printable(&stream.title),
            show_rate(stream.comments_per_second),
            show_share(stream.shown()),
            throttle_of(stream),
            show_count(stream.sampled_out),
            show_count(stream.egress_sampled_out),
        ]);
    }
    show(&rows, "No streams.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::throttle::SampleRate;

    #[test]
    fn the_table_shows_what_sets_the_rate() {
        let [quiet, mut busy] = crate::cli::streams::tests::streams();
        busy.throttle_override = SampleRate::from_share(0.02);
        insta::assert_snapshot!(to_table(&[quiet, busy]));
    }
}
