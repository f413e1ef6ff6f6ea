//! `lc streams`: lists, shows, creates, schedules, starts, ends, updates and deletes streams.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::arguments::{moderation, name_of, stream_state};
use super::complete;
use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::{now_ms, show_time, warn_unreachable};
use super::table::facts;
use crate::client::admin::AdminError;
use crate::protocol::StreamId;
use crate::protocol::admin::{AuditEntry, Cluster, Outcome, StreamStatus};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{
    counted, parse_start, show_count, show_duration, show_rate, show_share,
};
use crate::protocol::stream::{ModerationMode, NewStream, Stream, StreamPatch, StreamState};

/// List, show, create, schedule, start, end, update and delete streams
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct StreamsArgs {
    /// Stream id: show this stream in full
    #[arg(add = complete::streams())]
    stream: Option<StreamId>,
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<StreamsCommand>,
}

#[derive(Debug, Subcommand)]
enum StreamsCommand {
    /// List streams (the default)
    List(ListArgs),
    /// Create a stream
    Create(CreateArgs),
    /// Change the given settings of a stream
    Update(UpdateArgs),
    /// Let a stream start by itself at a time
    ///
    /// Until then viewers may watch, and comments are refused.
    Schedule(ScheduleArgs),
    /// Start a stream now
    Start(OneStream),
    /// End a stream
    ///
    /// Its viewers are closed. Its history can still be read, and replayed beside a recording.
    End(OneStream),
    /// Delete a stream
    ///
    /// Its viewers are closed, and nothing of it is served any more. This cannot be taken back, and
    /// no other stream gets its id.
    Delete(OneStream),
}

#[derive(Debug, Args)]
struct OneStream {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
}

#[derive(Debug, Args)]
struct ScheduleArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// Time of the start: from now, such as 2h, or in UTC, such as "2026-11-21 19:30"
    #[arg(long, value_name = "TIME", value_parser = start_time, required_unless_present = "no_time")]
    at: Option<StartTime>,
    /// Without a time: somebody starts it
    #[arg(long, conflicts_with = "at")]
    no_time: bool,
}

/// The start of a stream, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
struct StartTime(u64);

fn start_time(text: &str) -> Result<StartTime, String> {
    parse_start(text, now_ms()).map(StartTime)
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Stream id [default: the next free one]
    #[arg(long, value_name = "STREAM")]
    id: Option<StreamId>,
    /// Title of the event, at most 200 characters
    #[arg(long, default_value = "")]
    title: String,
    /// Description, at most 2000 characters
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// State; comments are accepted only in state live [default: live, or scheduled with --at]
    #[arg(long, value_parser = stream_state())]
    state: Option<StreamState>,
    /// Let it start by itself: from now, such as 2h, or in UTC, such as "2026-11-21 19:30"
    #[arg(long, value_name = "TIME", value_parser = start_time)]
    at: Option<StartTime>,
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
    /// Description, at most 2000 characters
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
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

static STREAMS: List<StreamStatus> = List {
    columns: &[
        right("id", |stream, _| stream.stream_id.to_string()),
        right("viewers", |stream, _| show_count(stream.viewers)),
        right("in", |stream: &StreamStatus, _| show_rate(stream.comments_per_second))
            .titled("in/s"),
        right("shown", |stream: &StreamStatus, _| show_rate(stream.shown_per_second()))
            .titled("shown/s"),
        right("share", |stream, _| show_share(stream.shown())),
        left("by", set_by),
        left("state", |stream, _| stream.state.as_str().to_owned()),
        left("moderation", |stream, _| name_of(&stream.moderation)),
        left("anonymous", |stream: &StreamStatus, _| open_to(stream).to_owned()).titled("open to"),
        right("received", |stream: &StreamStatus, _| show_count(stream.received)).extra(),
        right("left_out", |stream: &StreamStatus, _| show_count(left_out(stream))).extra(),
        right("deleted", |stream: &StreamStatus, _| show_count(stream.deleted)).extra(),
        text("title", |stream, _| stream.title.clone()),
    ],
    sort: "",
    if_empty: "No streams. Create one: lc streams create --title \"The final\"",
};

pub(super) async fn run(args: StreamsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match (args.command, args.stream) {
        (None, None) => return STREAMS.view(&args.list)?.run("/v1/streams", context).await,
        (Some(StreamsCommand::List(args)), _) => {
            return STREAMS.view(&args)?.run("/v1/streams", context).await;
        }
        (None, Some(stream_id)) => show(stream_id, context).await?,
        (Some(StreamsCommand::Create(args)), _) => create(args, context).await?,
        (Some(StreamsCommand::Update(args)), _) => update(args, context).await?,
        (Some(StreamsCommand::Schedule(ScheduleArgs { stream, at, .. })), _) => {
            let state = Some(StreamState::Scheduled);
            let patch =
                StreamPatch { state, starts_at: Some(at.map(|at| at.0)), ..StreamPatch::default() };
            change(stream, &patch, "Scheduled", context).await?;
        }
        (Some(StreamsCommand::Start(OneStream { stream })), _) => {
            change(stream, &StreamPatch::start(), "Started", context).await?;
        }
        (Some(StreamsCommand::End(OneStream { stream })), _) => {
            let state = Some(StreamState::Ended);
            let patch = StreamPatch { state, ..StreamPatch::default() };
            change(stream, &patch, "Ended", context).await?;
        }
        (Some(StreamsCommand::Delete(OneStream { stream })), _) => delete(stream, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(stream_id: StreamId, context: &Context) -> anyhow::Result<()> {
    let streams: Cluster<StreamStatus> = context.admin().get("/v1/streams").await?;
    warn_unreachable(&streams.unreachable);
    let Some(stream) = streams.items.iter().find(|stream| stream.stream_id == stream_id) else {
        bail!("stream {stream_id} does not exist; lc streams lists those that do");
    };
    let fixed_by = match stream.throttle_override {
        // The stream is shown even while the audit log cannot be read.
        Some(_) => match last_throttle(stream_id, context).await {
            Ok(entry) => entry.as_ref().map(set_by_whom).unwrap_or_default(),
            Err(error) => format!("not known: {}", printable(&error.to_string())),
        },
        None => String::new(),
    };
    context.output().item(stream, || in_full(stream, fixed_by))?;
    Ok(())
}

/// Returns the audit entry of the share that is fixed, if it is among the newest.
async fn last_throttle(
    stream_id: StreamId,
    context: &Context,
) -> Result<Option<AuditEntry>, AdminError> {
    let log: Cluster<AuditEntry> = context.admin().get("/v1/audit?limit=1000").await?;
    Ok(log.items.into_iter().find(|entry| entry.sets_share_of(stream_id)))
}

async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<()> {
    let stream = NewStream {
        stream_id: args.id,
        title: args.title,
        description: args.description,
        state: args.state,
        starts_at: args.at.map(|at| at.0),
        anonymous: !args.no_anonymous,
        moderation: args.moderation,
    };
    let outcome: Outcome = context.admin().post("/v1/streams", &stream).await?;
    context.output().result(&outcome, || describe_change("Created", &outcome))?;
    Ok(())
}

async fn update(args: UpdateArgs, context: &Context) -> anyhow::Result<()> {
    let Changes { title, description, state, anonymous, moderation } = args.changes;
    let patch =
        StreamPatch { title, description, state, anonymous, moderation, ..StreamPatch::default() };
    change(args.stream, &patch, "Updated", context).await
}

async fn change(
    stream: StreamId,
    patch: &StreamPatch,
    done: &str,
    context: &Context,
) -> anyhow::Result<()> {
    let path = format!("/v1/streams/{stream}");
    let outcome: Outcome = context.admin().post(&path, patch).await?;
    context.output().result(&outcome, || describe_change(done, &outcome))?;
    warn_unreachable(&outcome.unreachable);
    Ok(())
}

async fn delete(stream: StreamId, context: &Context) -> anyhow::Result<()> {
    let path = format!("/v1/streams/{stream}/delete");
    let outcome: Outcome = context.admin().post(&path, &serde_json::json!({})).await?;
    let closed = counted(outcome.connections.unwrap_or(0), "connection");
    let audit_id = outcome.audit_id;
    context.output().result(&outcome, || {
        format!("Deleted stream {stream} and closed {closed}. Audit entry {audit_id}.")
    })?;
    warn_unreachable(&outcome.unreachable);
    Ok(())
}

fn describe_change(action: &str, outcome: &Outcome) -> String {
    let stream = outcome.stream.as_ref().map(describe_stream).unwrap_or_default();
    format!("{action} stream {stream}. Audit entry {}.", outcome.audit_id)
}

fn describe_stream(stream: &Stream) -> String {
    let open = if stream.anonymous { "open to everyone" } else { "token required" };
    let is_scheduled = stream.state == StreamState::Scheduled;
    let start = stream.starts_at.filter(|_| is_scheduled);
    let start = start.map(|at| format!(" for {} UTC", show_time(at))).unwrap_or_default();
    format!(
        "{} \"{}\": {}{start}, {open}, moderation {}",
        stream.stream_id,
        printable(&stream.title),
        stream.state.as_str(),
        name_of(&stream.moderation)
    )
}

/// Names what sets the share; of one that was fixed for a time, also how much of it is left.
pub(super) fn set_by(stream: &StreamStatus, now_ms: u64) -> String {
    let by = stream.share_set_by();
    match stream.throttle_until_ms {
        Some(until) => format!("{by}, {} left", show_duration(until.saturating_sub(now_ms))),
        None => by,
    }
}

/// Comments that viewers were not shown, for whatever reason.
pub(super) fn left_out(stream: &StreamStatus) -> u64 {
    stream.sampled_out + stream.egress_sampled_out
}

fn open_to(stream: &StreamStatus) -> &'static str {
    if stream.anonymous { "all" } else { "tokens" }
}

/// The end of a fixed share. Empty if none is fixed.
fn fixed_until(stream: &StreamStatus) -> String {
    match (stream.throttle_override, stream.throttle_until_ms) {
        (None, _) => String::new(),
        (Some(_), Some(until)) => show_time(until),
        (Some(_), None) => "it is set to auto".to_owned(),
    }
}

/// Writes `ann (uid 1000) at 2026-11-21 09:46:48, audit entry 17`.
fn set_by_whom(entry: &AuditEntry) -> String {
    let at = show_time(entry.at);
    format!("{} at {at}, audit entry {}", printable(&entry.actor), entry.audit_id)
}

fn in_full(stream: &StreamStatus, fixed_by: String) -> String {
    let reactions = stream.reactions.iter();
    let reactions: Vec<_> =
        reactions.map(|(kind, total)| format!("{kind} {}", show_count(*total))).collect();
    facts(
        &format!("Stream {} is {}", stream.stream_id, stream.state.as_str()),
        &[
            ("starts at", stream.starts_at.map(show_time).unwrap_or_default()),
            ("started at", stream.started_at.map(show_time).unwrap_or_default()),
            ("ended at", stream.ended_at.map(show_time).unwrap_or_default()),
            ("open to", open_to(stream).to_owned()),
            ("moderation", name_of(&stream.moderation)),
            ("viewers", show_count(stream.viewers)),
            ("comments in", format!("{}/s", show_rate(stream.comments_per_second))),
            ("viewers see", format!("{}/s", show_rate(stream.shown_per_second()))),
            ("share", format!("{}, set by {}", show_share(stream.shown()), stream.share_set_by())),
            ("fixed by", fixed_by),
            ("fixed until", fixed_until(stream)),
            ("received", stream.received.to_string()),
            ("published", stream.broadcast.to_string()),
            ("left out", format!("{} by the throttle", stream.sampled_out)),
            ("", format!("{} at egress limits", stream.egress_sampled_out)),
            ("deleted", stream.deleted.to_string()),
            ("reactions", reactions.join(", ")),
            ("title", stream.title.clone()),
            ("description", stream.description.clone()),
        ],
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::throttle::SampleRate;

    pub(crate) fn streams() -> [StreamStatus; 2] {
        let quiet = StreamStatus {
            stream_id: StreamId(1),
            title: "Lobby".into(),
            description: String::new(),
            starts_at: None,
            started_at: None,
            ended_at: None,
            state: StreamState::Live,
            anonymous: true,
            moderation: ModerationMode::Async,
            viewers: 12,
            comments_per_second: 0.4,
            sample_rate: SampleRate::ALL,
            throttle_level: 0,
            throttle_override: None,
            throttle_until_ms: None,
            egress_share: SampleRate::ALL,
            egress_sampled_out: 0,
            received: 321,
            broadcast: 321,
            sampled_out: 0,
            deleted: 2,
            reactions: [("fire".to_owned(), 15_000)].into(),
            room: Default::default(),
        };
        let busy = StreamStatus {
            stream_id: StreamId(7),
            title: "Grand \u{1b}[2Jfinal".into(),
            description: "<b>Of the season\u{1b}]0;x\u{7}".into(),
            started_at: Some(1_795_254_000_000),
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
        assert_columns_are_known(&STREAMS);
        insta::assert_snapshot!(STREAMS.as_text(&streams(), 0));
        insta::assert_snapshot!(in_full(&streams()[1], String::new()));
        assert!(STREAMS.as_text(&[], 0).contains("lc streams create"));
    }

    #[test]
    fn the_end_of_a_fixed_share_is_shown() {
        let [mut stream, _] = streams();
        stream.throttle_override = SampleRate::from_share(0.5);
        stream.throttle_until_ms = Some(1_795_254_408_000);
        assert_eq!(set_by(&stream, 1_795_254_408_000 - 269_000), "fixed, 4m 29s left");
        let entry = AuditEntry {
            audit_id: 17,
            at: 1_795_254_000_000,
            actor: "ann (uid 1000)".into(),
            action: "throttle".into(),
            target: "stream 1".into(),
            detail: serde_json::Value::Null,
            undoes: None,
            undone_by: None,
        };
        let shown = in_full(&stream, set_by_whom(&entry));
        assert!(shown.contains("fixed until  2026-11-21 09:46:48"), "{shown}");
        assert!(shown.contains("ann (uid 1000) at 2026-11-21 09:40:00, audit entry 17"), "{shown}");
    }
}
