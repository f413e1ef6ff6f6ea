//! `lc announce`: sends a message to every viewer of a stream.

use std::process::ExitCode;

use clap::Args;

use super::change::{DryRun, preview, submit};
use super::complete;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::{AnnounceRequest, PreviewRequest};

/// Send a message to every viewer of a stream
#[derive(Debug, Args)]
pub(super) struct AnnounceArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// The message; several words need no quotes
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) async fn run(args: AnnounceArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.dry.dry_run {
        return preview(&PreviewRequest::Announce { stream_id: args.stream }, context).await;
    }
    let request = AnnounceRequest { stream_id: args.stream, message: args.text.join(" ") };
    let describe = |outcome: &_| outcome_text::announced(request.stream_id, outcome);
    submit("/v1/announce", &request, context, describe).await
}
