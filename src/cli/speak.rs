//! `lc dm`, `lc announce`: a word to one user, or to everyone who watches a stream.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::sanction::act;
use crate::client::wording;
use crate::protocol::StreamId;
use crate::protocol::admin::{AnnounceRequest, DirectRequest, UserRef};

/// Send a message to one user, on every connection they have
#[derive(Debug, Args)]
pub(super) struct DirectArgs {
    /// A user id, or the name the user last had
    user: String,
    /// The message; several words need no quotes
    #[arg(required = true, value_name = "TEXT")]
    words: Vec<String>,
}

/// Send a message to everyone who watches a stream
#[derive(Debug, Args)]
pub(super) struct AnnounceArgs {
    /// The stream's number
    stream: StreamId,
    /// The message; several words need no quotes
    #[arg(required = true, value_name = "TEXT")]
    words: Vec<String>,
}

pub(super) async fn direct(args: DirectArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = DirectRequest { user: UserRef(args.user), message: args.words.join(" ") };
    act("/v1/dm", &request, context, |outcome| wording::messaged(&request.user, outcome)).await
}

pub(super) async fn announce(args: AnnounceArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = AnnounceRequest { stream_id: args.stream, message: args.words.join(" ") };
    act("/v1/announce", &request, context, |outcome| wording::announced(request.stream_id, outcome))
        .await
}
