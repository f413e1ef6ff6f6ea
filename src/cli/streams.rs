//! `lc streams`: lists, creates and updates streams.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::arguments::{moderation, name_of, stream_state};
use super::context::Context;
use super::output::{show, table, warn_unreachable};
use crate::protocol::StreamId;
use crate::protocol::admin::{Cluster, Outcome, StreamStatus};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{show_count, show_rate, show_share};
use crate::protocol::stream::{ModerationMode, NewStream, Stream, StreamPatch, StreamState};

/// List, create and update streams
#[derive(Debug, Args)]
pub(super) struct StreamsArgs {
    #[command(subcommand)]
    command: Option<StreamsCommand>,
}

#[derive(Debug, Subcommand)]
enum StreamsCommand {
    /// List streams (the default)
    List,
    /// Create a stream
    Create(CreateArgs),
    /// Change the given settings of a stream
    Update(UpdateArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Stream id [default: the next free one]
    #[arg(long, value_name = "STREAM")]
    id: Option<StreamId>,
    /// Title of the event, at most 200 characters
    #[arg(long, default_value = "")]
    title: String,
    /// State; comments are accepted only in state live
    #[arg(long, default_value = "live", value_parser = stream_state())]
    state: StreamState,
    /// Allow only viewers with a token
    #[arg(long)]
    no_anonymous: bool,
    /// Check comments after publication (async), before it (sync), or not at all (off)
    #[arg(long, default_value = "async", value_parser = moderation())]
    moderation: ModerationMode,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Title of the event, at most 200 characters
    #[arg(long)]
    title: Option<String>,
    /// State; comments are accepted only in state live
    #[arg(long, value_parser = stream_state())]
    state: Option<StreamState>,
    /// Allow viewers without a token
    #[arg(long)]
    anonymous: Option<bool>,
    /// Check comments after publication (async), before it (sync), or not at all (off)
    #[arg(long, value_parser = moderation())]
    moderation: Option<ModerationMode>,
}

#[derive(Debug, Args)]
#[command(override_usage = "lc streams update [OPTIONS] <STREAM>")]
struct UpdateArgs {
    /// Stream id
    stream: StreamId,
    #[command(flatten)]
    changes: Changes,
}

pub(super) async fn run(args: StreamsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match args.command.unwrap_or(StreamsCommand::List) {
        StreamsCommand::List => list(context).await?,
        StreamsCommand::Create(args) => create(args, context).await?,
        StreamsCommand::Update(args) => update(args, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let streams: Cluster<StreamStatus> = context.admin().get("/v1/streams").await?;
    context.output().items(&streams.items, || to_table(&streams.items))?;
    warn_unreachable(&streams.unreachable);
    Ok(())
}

async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<()> {
    let stream = NewStream {
        stream_id: args.id,
        title: args.title,
        state: args.state,
        anonymous: !args.no_anonymous,
        moderation: args.moderation,
    };
    let outcome: Outcome = context.admin().post("/v1/streams", &stream).await?;
    context.output().result(&outcome, || describe_change("Created", &outcome))?;
    Ok(())
}

async fn update(args: UpdateArgs, context: &Context) -> anyhow::Result<()> {
    let Changes { title, state, anonymous, moderation } = args.changes;
    let patch = StreamPatch { title, state, anonymous, moderation };
    let path = format!("/v1/streams/{}", args.stream);
    let outcome: Outcome = context.admin().post(&path, &patch).await?;
    context.output().result(&outcome, || describe_change("Updated", &outcome))?;
    warn_unreachable(&outcome.unreachable);
    Ok(())
}

fn describe_change(action: &str, outcome: &Outcome) -> String {
    let stream = outcome.stream.as_ref().map(describe_stream).unwrap_or_default();
    format!("{action} stream {stream}. Audit entry {}.", outcome.audit_id)
}

fn describe_stream(stream: &Stream) -> String {
    let open = if stream.anonymous { "open to everyone" } else { "token required" };
    format!(
        "{} \"{}\": {}, {open}, moderation {}",
        stream.stream_id,
        printable(&stream.title),
        stream.state.as_str(),
        name_of(&stream.moderation)
    )
}

fn to_table(streams: &[StreamStatus]) -> String {
    let headers = [
        ">id",
        "~title",
        "state",
        ">viewers",
        ">in/s",
        ">shown",
        "throttle",
        "moderation",
        "open to",
    ];
    let mut rows = table(&headers);
    for stream in streams {
        rows.add_row([
            stream.stream_id.to_string(),
            printable(&stream.title),
            stream.state.as_str().to_owned(),
            show_count(stream.viewers),
            show_rate(stream.comments_per_second),
            show_share(stream.shown()),
            throttle_of(stream),
            name_of(&stream.moderation),
            if stream.anonymous { "all" } else { "tokens" }.to_owned(),
        ]);
    }
    show(&rows, "No streams. Create one: lc streams create --title \"The final\"")
}

/// Names what sets the sample rate: `auto` with the throttle level if it is not 0, or `fixed`.
/// `egress` is added if a node is at its egress limit.
pub(super) fn throttle_of(stream: &StreamStatus) -> String {
    let throttle = match (stream.throttle_override, stream.throttle_level) {
        (Some(_), _) => "fixed".to_owned(),
        (None, 0) => "auto".to_owned(),
        (None, level) => format!("auto L{level}"),
    };
    if stream.egress_share.is_all() { throttle } else { format!("{throttle}, egress") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::throttle::SampleRate;

    pub(crate) fn streams() -> [StreamStatus; 2] {
        let quiet = StreamStatus {
            stream_id: StreamId(1),
            title: "Lobby".into(),
            state: StreamState::Live,
            anonymous: true,
            moderation: ModerationMode::Async,
            viewers: 12,
            comments_per_second: 0.4,
            sample_rate: SampleRate::ALL,
            throttle_level: 0,
            throttle_override: None,
            egress_share: SampleRate::ALL,
            egress_sampled_out: 0,
            received: 321,
            broadcast: 321,
            sampled_out: 0,
            deleted: 2,
            reactions: [("fire".to_owned(), 15_000)].into(),
        };
        let busy = StreamStatus {
            stream_id: StreamId(7),
            title: "Grand \u{1b}[2Jfinal".into(),
            anonymous: false,
            moderation: ModerationMode::Sync,
            viewers: 1_204_000,
            comments_per_second: 23_400.0,
            sample_rate: SampleRate::from_share(0.1).unwrap(),
            throttle_level: 2,
            egress_share: SampleRate::from_share(0.8).unwrap(),
            egress_sampled_out: 310_000,
            received: 9_800_000,
            broadcast: 1_100_000,
            sampled_out: 8_700_000,
            deleted: 1_402,
            ..quiet.clone()
        };
        [quiet, busy]
    }

    #[test]
    fn titles_are_sanitized_in_the_table() {
        insta::assert_snapshot!(to_table(&streams()));
        assert!(to_table(&[]).contains("lc streams create"));
    }
}
