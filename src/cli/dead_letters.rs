//! `lc dead-letters`: records that a consumer could not process, and what to do about them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::complete;
use super::context::Context;
use super::exit;
use super::list::{List, ListArgs, left, right, text};
use super::output::{UNKNOWN, note, show_time};
use crate::protocol::StreamId;
use crate::protocol::admin::{DeadLetterItem, DeadLettersOutcome, DeadLettersRequest};
use crate::protocol::printable::printable;
use crate::protocol::quantity::counted;

/// Letters that are shown without `--limit`.
const DEFAULT_LIMIT: u64 = 50;
/// The most that the daemon answers.
const MAX_LIMIT: u64 = 1_000;

/// List the records that a consumer could not process, newest first, or deal with them
///
/// A consumer that cannot read a record of the log, such as one that a later version wrote, puts a
/// copy into the topic of dead letters and continues. The alert `dead_letters` lasts until each is
/// requeued or acknowledged. A record that several consumers could not process is listed once for
/// each of them. state: open, requeued or acknowledged. comment: its id, if this version can read
/// the record.
///
/// Without --limit, the newest 50; at most 1000.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DeadLettersArgs {
    /// Only those of this stream
    #[arg(add = complete::streams())]
    stream: Option<StreamId>,
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<DeadLettersCommand>,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    Requeue(RequeueArgs),
    Ack(AckArgs),
}

/// Append the records of dead letters to the log again
///
/// Every consumer then reads them as new: after an upgrade that can read them, the comments in them
/// are shown, moderated and archived. This includes consumers that had processed them, so viewers
/// may see a comment again. A comment that was deleted meanwhile and a record that this version
/// cannot read either are not requeued. Exit code 1 if there is one.
#[derive(Debug, Args)]
struct RequeueArgs {
    #[command(flatten)]
    chosen: Chosen,
}

/// End the alert of dead letters without doing anything else about them
#[derive(Debug, Args)]
struct AckArgs {
    #[command(flatten)]
    chosen: Chosen,
}

#[derive(Debug, Args)]
struct Chosen {
    /// Ids, as lc dead-letters lists them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all",
        num_args = 1..=100)]
    ids: Vec<String>,
    /// All that are open
    #[arg(long)]
    all: bool,
    /// Note for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

static DEAD_LETTERS: List<DeadLetterItem> = List {
    columns: &[
        left("id", |letter: &DeadLetterItem, _| letter.id.clone()),
        left("age", |letter: &DeadLetterItem, _| show_time(letter.at)).titled("at (UTC)"),
        left("state", |letter: &DeadLetterItem, _| letter.state.as_str().to_owned()),
        right("stream", |letter: &DeadLetterItem, _| letter.stream_id.to_string()),
        left("group", |letter: &DeadLetterItem, _| letter.group.clone()),
        left("place", |letter: &DeadLetterItem, _| place_of(letter)).extra(),
        right("bytes", |letter: &DeadLetterItem, _| letter.bytes.to_string()).extra(),
        left("by", |letter: &DeadLetterItem, _| letter.by.clone().unwrap_or_default()).extra(),
        left("comment", |letter: &DeadLetterItem, _| comment_of(letter)),
        text("reason", |letter: &DeadLetterItem, _| letter.reason.clone()),
        text("message", |letter: &DeadLetterItem, _| letter.message.clone().unwrap_or_default()),
    ],
    sort: "",
    if_empty: "There are no dead letters.",
};

pub(super) async fn run(args: DeadLettersArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(DeadLettersCommand::Requeue(args)) => {
            deal_with("/v1/dead-letters/requeue", "Requeued", args.chosen, context).await
        }
        Some(DeadLettersCommand::Ack(args)) => {
            deal_with("/v1/dead-letters/ack", "Acknowledged", args.chosen, context).await
        }
        None => list(args.stream, &args.list, context).await,
    }
}

async fn list(
    stream: Option<StreamId>,
    args: &ListArgs,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let view = DEAD_LETTERS.view(args)?;
    let limit = args.asked_of_daemon(DEFAULT_LIMIT, MAX_LIMIT)?;
    let stream = stream.map(|id| format!("&stream={id}")).unwrap_or_default();
    view.run(&format!("/v1/dead-letters?limit={limit}{stream}"), context).await
}

/// Repeats the request until none is left that was not tried. If one fails, what is done is told
/// nevertheless.
async fn deal_with(
    path: &str,
    done: &str,
    chosen: Chosen,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let Chosen { ids, all, note } = chosen;
    let request = DeadLettersRequest { ids, all, note };
    let mut sum = DeadLettersOutcome::default();
    loop {
        let outcome: DeadLettersOutcome = match context.admin().post(path, &request).await {
            Ok(outcome) => outcome,
            Err(error) if sum.done.is_empty() => return Err(error.into()),
            Err(error) => {
                context.output().result(&sum, || to_text(done, &sum))?;
                return Err(error.into());
            }
        };
        let has_progress = !outcome.done.is_empty();
        let left = outcome.left;
        sum.audit_ids.extend(outcome.audit_ids);
        sum.done.extend(outcome.done);
        // Those that fail are the oldest again in the next round.
        sum.failed = outcome.failed;
        sum.left = left;
        if left == 0 || !has_progress {
            break;
        }
    }
    context.output().result(&sum, || to_text(done, &sum))?;
    for failure in &sum.failed {
        note_failure(&failure.id, &failure.why);
    }
    Ok(if sum.failed.is_empty() { ExitCode::SUCCESS } else { exit::FAILED.into() })
}

fn note_failure(id: &str, why: &str) {
    note(&format!("lc: {} not requeued: {}", printable(id), printable(why)));
}

fn to_text(done: &str, sum: &DeadLettersOutcome) -> String {
    let mut text = format!("{done} {}.", counted(sum.done.len() as u64, "dead letter"));
    match sum.audit_ids.as_slice() {
        [] => {}
        [one] => text.push_str(&format!(" Audit entry {one}.")),
        [first, .., last] => text.push_str(&format!(" Audit entries {first} to {last}.")),
    }
    if sum.left > 0 {
        text.push_str(&format!(" {} left.", sum.left));
    }
    text
}

/// Names the record: topic, partition and offset.
fn place_of(letter: &DeadLetterItem) -> String {
    format!("{} {} at {}", letter.topic, letter.partition, letter.offset)
}

fn comment_of(letter: &DeadLetterItem) -> String {
    letter.comment_id.map_or_else(|| UNKNOWN.to_owned(), |id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::admin::DeadLetterState;

    #[test]
    fn dead_letters_have_reason_and_state() {
        let letter = DeadLetterItem {
            id: "0-17".to_owned(),
            at: 1_795_254_408_000,
            state: DeadLetterState::Open,
            by: None,
            group: "archiver".to_owned(),
            reason: "unknown variant".to_owned(),
            topic: "comment_events".to_owned(),
            partition: 3,
            offset: 77,
            stream_id: StreamId(7),
            bytes: 120,
            not_requeueable: None,
            comment_id: None,
            message: None,
        };
        assert_columns_are_known(&DEAD_LETTERS);
        let text = DEAD_LETTERS.as_text(&[letter], 0);
        for part in ["0-17", "open", "7", "archiver", "unknown variant"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_outcome_names_audit_entries_and_what_is_left() {
        let outcome = |audit_ids: &[u64], left| DeadLettersOutcome {
            audit_ids: audit_ids.to_vec(),
            done: audit_ids.iter().map(u64::to_string).collect(),
            failed: Vec::new(),
            left,
        };
        let texts = [outcome(&[], 0), outcome(&[4], 0), outcome(&[4, 5, 9], 2)];
        let texts = texts.map(|outcome| to_text("Requeued", &outcome));
        assert_eq!(
            texts,
            [
                "Requeued 0 dead letters.",
                "Requeued 1 dead letter. Audit entry 4.",
                "Requeued 3 dead letters. Audit entries 4 to 9. 2 left.",
            ]
        );
    }
}
