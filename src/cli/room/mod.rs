//! `lc room`: shows and sets the rules of a room, and clears it.

mod terms;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use self::terms::TermsArgs;
use super::arguments::{duration_up_to, one_of, to_ms};
use super::change::{submit, undo_hint};
use super::complete;
use super::context::Context;
use super::exit::UsageError;
use super::table::facts;
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::{ClearRoomRequest, Room};
use crate::protocol::quantity::{counted, show_duration};
use crate::protocol::room::{
    ChecksPatch, LanguageAction, LanguagePolicy, RoomChecks, RoomPatch, WhenDown, WhenLate,
    timeouts_text, words,
};

/// The daemon's limit of `--last`.
const LONGEST_LAST: Duration = Duration::from_secs(86_400);

/// Show or set the rules of a stream's room, or clear it
///
/// Without a rule, all are shown. Moderators and higher roles are exempt from the rules. Viewers
/// are told of each change.
#[derive(Debug, Args)]
pub(super) struct RoomArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    #[command(subcommand)]
    command: Option<RoomCommand>,
}

#[derive(Debug, Subcommand)]
enum RoomCommand {
    /// Slow mode: let each user comment once in a time
    Slow(SlowArgs),
    /// Let only followers comment, or those that have followed for a time
    ///
    /// The claim follower_since of the token tells since when a user follows. Subscribers are
    /// exempt.
    Followers(FollowersArgs),
    /// Let only subscribers comment: users whose token has the claim subscriber
    Subscribers(SwitchArgs),
    /// Let comments have only emoji, and emotes such as :name:
    Emotes(SwitchArgs),
    /// Refuse a text that was said in the room within a time
    Unique(UniqueArgs),
    /// Allow links, or refuse comments that have one
    ///
    /// Links to moderation.rules.allowed_hosts are always allowed.
    Links(SwitchArgs),
    /// Shield mode: at least 30s of slow mode, no links, no text twice within 10m
    ///
    /// The other rules are as before when it is switched off.
    Shield(SwitchArgs),
    /// Set the timeouts that moderators of the room choose from
    Timeouts(TimeoutsArgs),
    /// Set how comments are checked, and what happens if moderation does not answer
    ///
    /// Without an option, the room is shown. The mode itself is set with lc streams update
    /// --moderation. Viewers are not told.
    Checks(ChecksArgs),
    /// List, add and remove the terms that are blocked in this room
    Terms(TermsArgs),
    /// Set the languages of comments, or allow all
    ///
    /// Comments that are certainly in another language are flagged for review, or rejected. Short
    /// ones may be in any language.
    Languages(LanguagesArgs),
    /// Message delay: show comments some seconds later
    ///
    /// Moderators read them at once with lc tail, and what is deleted before its time is never
    /// shown. Authors see their own comments at once, on the connection that sent them.
    Delay(DelayArgs),
    /// Delete the latest comments of the room, whoever wrote them
    ///
    /// At most 1000 comments are deleted at one time, the newest first. The answer says what is
    /// left. lc undo takes the deletions back.
    Clear(ClearArgs),
}

#[derive(Debug, Args)]
struct SlowArgs {
    /// Time from one comment to the next, from 1s to 1h; or off
    #[arg(value_name = "TIME|off", value_parser = value_of("slow"))]
    time: RoomPatch,
}

#[derive(Debug, Args)]
struct FollowersArgs {
    /// Time for which a user must have followed, up to 90d; on, for any time; or off
    #[arg(value_name = "TIME|on|off", value_parser = value_of("followers"))]
    time: RoomPatch,
}

#[derive(Debug, Args)]
struct UniqueArgs {
    /// The time, from 10s to 1h; or off
    #[arg(value_name = "TIME|off", value_parser = value_of("unique"))]
    time: RoomPatch,
}

#[derive(Debug, Args)]
struct SwitchArgs {
    #[arg(value_name = "on|off", value_parser = ["on", "off"])]
    state: String,
}

#[derive(Debug, Args)]
struct TimeoutsArgs {
    /// Up to six times from 1s to 30d, such as 1m 10m 1d; or off
    #[arg(required = true, value_name = "TIME|off")]
    times: Vec<String>,
}

#[derive(Debug, Args)]
struct ChecksArgs {
    /// In mode sync, how long a check may take, from 50ms to 10s; or default, which is 500ms
    #[arg(long, value_name = "TIME|default", value_parser = deadline)]
    deadline: Option<Deadline>,
    /// In mode sync, what happens to a comment that is not checked by then
    ///
    /// pass shows it and checks it later, hold keeps it in the review queue until it is checked,
    /// refuse asks its sender to send it again.
    #[arg(long, value_name = "pass|hold|refuse", value_parser = one_of(&WhenLate::ALL, WhenLate::as_str))]
    late: Option<WhenLate>,
    /// While moderation is down, what happens to comments: in mode sync, only to those that are
    /// late and would pass
    ///
    /// pass shows them and checks them when it returns, hold keeps them in the review queue until
    /// then.
    #[arg(long, value_name = "pass|hold", value_parser = one_of(&WhenDown::ALL, WhenDown::as_str))]
    down: Option<WhenDown>,
}

#[derive(Debug, Args)]
struct LanguagesArgs {
    /// Codes of ar de en es fr hi it ja ko nl pt ru sv tr vi zh, such as en,de; or off
    #[arg(required = true, value_name = "CODE|off")]
    codes: Vec<String>,
    /// Action on comments in other languages
    #[arg(long, value_name = "ACTION", default_value = "flag",
        value_parser = one_of(&LanguageAction::ALL, LanguageAction::as_str))]
    action: LanguageAction,
}

#[derive(Debug, Args)]
struct DelayArgs {
    /// The time, from 1s to 30s; or off
    #[arg(value_name = "TIME|off", value_parser = value_of("delay"))]
    time: RoomPatch,
}

#[derive(Debug, Args)]
struct ClearArgs {
    /// Time up to now whose comments are deleted, from 1s to 1d
    #[arg(long, value_name = "TIME", value_parser = duration_up_to(LONGEST_LAST))]
    last: Duration,
    /// Reason, shown to viewers: one word, such as spam or off_topic
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Note for the audit log; viewers are not shown it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Reads the value of a rule, as the change that it makes.
fn value_of(
    rule: &'static str,
) -> impl Fn(&str) -> Result<RoomPatch, String> + Clone + Send + Sync {
    move |text| RoomPatch::of_words(rule, &[text])
}

/// A deadline in milliseconds, or the default. Of its own type: clap reads an `Option` as an
/// argument that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Deadline(Option<u64>);

fn deadline(text: &str) -> Result<Deadline, String> {
    words::deadline(text).map(Deadline)
}

pub(super) async fn run(args: RoomArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let stream_id = args.stream;
    let patch = match args.command {
        None => return show(stream_id, context).await,
        Some(RoomCommand::Checks(args)) if args.is_empty() => {
            return show(stream_id, context).await;
        }
        Some(RoomCommand::Clear(args)) => return clear(stream_id, args, context).await,
        Some(RoomCommand::Terms(args)) => return terms::run(stream_id, args, context).await,
        Some(command) => command.patch()?,
    };
    let path = format!("/v1/streams/{stream_id}/room");
    submit(&path, &patch, context, |outcome| {
        let done = outcome_text::room_changed(stream_id, &patch, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

impl RoomCommand {
    /// Returns the patch of a command that changes a rule.
    fn patch(self) -> anyhow::Result<RoomPatch> {
        let (rule, values) = match self {
            Self::Slow(SlowArgs { time: patch })
            | Self::Followers(FollowersArgs { time: patch })
            | Self::Unique(UniqueArgs { time: patch })
            | Self::Delay(DelayArgs { time: patch }) => return Ok(patch),
            Self::Subscribers(args) => ("subscribers", vec![args.state]),
            Self::Emotes(args) => ("emotes", vec![args.state]),
            Self::Links(args) => ("links", vec![args.state]),
            Self::Shield(args) => ("shield", vec![args.state]),
            Self::Timeouts(args) => ("timeouts", args.times),
            Self::Languages(LanguagesArgs { codes, action }) => {
                let mut patch = RoomPatch::of_words("languages", &codes).map_err(UsageError)?;
                if let Some(Some(policy)) = &mut patch.languages {
                    policy.action = action;
                }
                return Ok(patch);
            }
            Self::Checks(args) => {
                return Ok(RoomPatch { checks: Some(args.patch()), ..RoomPatch::default() });
            }
            // They change no setting.
            Self::Terms(_) | Self::Clear(_) => return Ok(RoomPatch::default()),
        };
        Ok(RoomPatch::of_words(rule, &values).map_err(UsageError)?)
    }
}

impl ChecksArgs {
    fn is_empty(&self) -> bool {
        self.deadline.is_none() && self.late.is_none() && self.down.is_none()
    }

    fn patch(self) -> ChecksPatch {
        let deadline_ms = self.deadline.map(|deadline| deadline.0);
        ChecksPatch { deadline_ms, late: self.late, down: self.down }
    }
}

async fn show(stream_id: StreamId, context: &Context) -> anyhow::Result<ExitCode> {
    let room: Room = context.admin().get(&format!("/v1/streams/{stream_id}/room")).await?;
    let terms = terms::of_room(stream_id, context).await?;
    context.output().item(&room, || in_full(&room, terms.len()))?;
    Ok(ExitCode::SUCCESS)
}

async fn clear(
    stream_id: StreamId,
    args: ClearArgs,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let request =
        ClearRoomRequest { last_ms: to_ms(args.last), reason: args.reason, note: args.note };
    submit(&format!("/v1/streams/{stream_id}/room/clear"), &request, context, |outcome| {
        let done = outcome_text::room_cleared(stream_id, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

/// Writes `deadline 500ms, late hold, down pass`.
fn checks_text(checks: &RoomChecks) -> String {
    let deadline = show_duration(checks.deadline_in_force_ms());
    format!("deadline {deadline}, late {}, down {}", checks.late.as_str(), checks.down.as_str())
}

fn in_full(room: &Room, terms: usize) -> String {
    let rules = &room.settings.rules;
    let timed = |ms: Option<u64>| ms.map_or("off".to_owned(), show_duration);
    let state = |on: bool| if on { "on" } else { "off" }.to_owned();
    let followers = match rules.followers_ms {
        Some(0) => "on".to_owned(),
        other => timed(other),
    };
    let languages = room.settings.languages.as_ref();
    let in_force = match room.in_force.texts() {
        texts if texts.is_empty() => "none: everybody may comment".to_owned(),
        texts => texts.join(", "),
    };
    facts(
        &format!("Room of stream {}", room.stream_id),
        &[
            ("slow", timed(rules.slow_ms)),
            ("followers", followers),
            ("subscribers", state(rules.subscribers_only)),
            ("emotes", state(rules.emotes_only)),
            ("unique", timed(rules.unique_ms)),
            ("links", state(!rules.no_links)),
            ("shield", state(room.settings.shield)),
            ("in force", in_force),
            ("checks", checks_text(&room.settings.checks)),
            ("terms", format!("{} blocked", counted(terms as u64, "term"))),
            ("languages", languages.map_or("all".to_owned(), LanguagePolicy::text)),
            ("delay", timed(room.settings.delay_ms)),
            ("timeouts", timeouts_text(&room.settings.timeouts_ms)),
            ("title", room.title.clone()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::room::{Language, RoomRules, RoomSettings};
    use crate::protocol::stream::NewStream;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        checks: ChecksArgs,
    }

    #[test]
    fn a_room_shows_each_rule_and_what_is_in_force() {
        let mut stream =
            NewStream { title: "Final".into(), ..NewStream::default() }.begin(StreamId(7), 0);
        stream.room = RoomSettings {
            rules: RoomRules {
                slow_ms: Some(5_000),
                followers_ms: Some(0),
                ..RoomRules::default()
            },
            shield: true,
            timeouts_ms: vec![60_000, 600_000],
            languages: Some(LanguagePolicy {
                allowed: vec![Language::De, Language::En],
                action: LanguageAction::Flag,
            }),
            delay_ms: Some(5_000),
            ..RoomSettings::default()
        };
        insta::assert_snapshot!(in_full(&Room::from(stream), 3));
    }

    #[test]
    fn checks_without_an_option_change_nothing() {
        let args = |line: &[&str]| Line::try_parse_from(line).unwrap().checks;
        assert!(args(&["checks"]).is_empty());
        assert!(!args(&["checks", "--deadline", "default"]).is_empty());
        let down = args(&["checks", "--down", "hold"]);
        assert!(!down.is_empty());
        assert_eq!(down.patch().down, Some(WhenDown::Hold));
    }

    #[test]
    fn deadlines_are_read() {
        assert_eq!(deadline("250ms"), Ok(Deadline(Some(250))));
        assert_eq!(deadline("default"), Ok(Deadline(None)));
        assert_eq!(deadline("20s").unwrap_err(), "must be 50ms to 10s, or default");
    }
}
