//! `lc throttle`: shows or sets the share of comments that viewers see.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::arguments::{LONGEST_THROTTLE, RateSetting, duration_up_to, rate_setting, to_ms};
use super::change::{DryRun, preview, undo_hint};
use super::complete;
use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::warn_unreachable;
use super::streams::{left_out, set_by};
use crate::client::outcome_text::throttled;
use crate::protocol::StreamId;
use crate::protocol::admin::{Cluster, Outcome, PreviewRequest, StreamStatus, ThrottleRequest};
use crate::protocol::quantity::{show_count, show_rate, show_share};

/// Show or set the share of comments that viewers see
///
/// Every comment is stored whatever the share, and senders always see their own comments. A share
/// stays in effect for the time of --for, or until it is set to auto.
#[derive(Debug, Args)]
pub(super) struct ThrottleArgs {
    /// Stream id; without it, all streams are shown
    #[arg(add = complete::streams())]
    stream: Option<StreamId>,
    /// `auto`, or a share: 0.1, 10%, 1/10, all, none; without it, the current share is shown
    #[arg(value_parser = rate_setting, requires = "stream")]
    rate: Option<RateSetting>,
    /// Let the throttle decide again after this time, from 1s to 30d; not with auto
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true,
        value_parser = duration_up_to(LONGEST_THROTTLE),
        requires = "rate")]
    duration: Option<Duration>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    dry: DryRun,
}

static THROTTLES: List<StreamStatus> = List {
    columns: &[
        right("id", |stream, _| stream.stream_id.to_string()),
        right("in", |stream: &StreamStatus, _| show_rate(stream.comments_per_second))
            .titled("in/s"),
        right("share", |stream, _| show_share(stream.shown())),
        left("by", set_by),
        right("left_out", |stream: &StreamStatus, _| show_count(left_out(stream)))
            .titled("left out"),
        text("title", |stream, _| stream.title.clone()),
    ],
    sort: "",
    if_empty: "No streams.",
};

pub(super) async fn run(args: ThrottleArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match (args.stream, args.rate) {
        (Some(stream_id), Some(rate)) if args.dry.dry_run => {
            let sample_rate = rate.sample_rate();
            let for_ms = args.duration.map(to_ms);
            let request = PreviewRequest::Throttle { stream_id, sample_rate, for_ms };
            return preview(&request, context).await;
        }
        (Some(stream_id), Some(rate)) => {
            let for_ms = args.duration.map(to_ms);
            let sample_rate = rate.sample_rate();
            set(&ThrottleRequest { stream_id, sample_rate, for_ms }, context).await?;
        }
        (None, _) => return THROTTLES.view(&args.list)?.run("/v1/streams", context).await,
        (Some(only), None) => show(only, &args.list, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(request: &ThrottleRequest, context: &Context) -> anyhow::Result<()> {
    let outcome: Outcome = context.admin().post("/v1/throttle", request).await?;
    context.output().result(&outcome, || {
        let done = throttled(request, &outcome);
        format!("{done} {}", undo_hint(&outcome))
    })?;
    warn_unreachable(&outcome.unreachable);
    Ok(())
}

async fn show(only: StreamId, args: &ListArgs, context: &Context) -> anyhow::Result<()> {
    let view = THROTTLES.view(args)?;
    let mut streams: Cluster<StreamStatus> = context.admin().get("/v1/streams").await?;
    streams.items.retain(|stream| stream.stream_id == only);
    if streams.items.is_empty() {
        bail!("stream {only} does not exist; lc streams lists those that do");
    }
    view.print(streams.items, context)?;
    warn_unreachable(&streams.unreachable);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::throttle::SampleRate;

    #[test]
    fn the_table_shows_what_sets_the_rate() {
        let [quiet, mut busy] = crate::cli::streams::tests::streams();
        busy.throttle_override = SampleRate::from_share(0.02);
        assert_columns_are_known(&THROTTLES);
        insta::assert_snapshot!(THROTTLES.as_text(&[quiet, busy], 0));
    }
}
