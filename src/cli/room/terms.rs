//! `lc room STREAM terms`: the blocked terms of a room.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::arguments::one_of;
use crate::cli::change::{submit, undo_hint};
use crate::cli::complete;
use crate::cli::context::Context;
use crate::cli::exit::UsageError;
use crate::cli::table::{show, table};
use crate::client::outcome_text;
use crate::protocol::StreamId;
use crate::protocol::admin::Cluster;
use crate::protocol::room::{RoomTerm, TermAction, TermsPatch};

#[derive(Debug, Args)]
pub(super) struct TermsArgs {
    #[command(subcommand)]
    command: Option<TermsCommand>,
}

#[derive(Debug, Subcommand)]
enum TermsCommand {
    /// Block words, phrases or emoji in this room
    ///
    /// A term matches as in moderation.rules.blocked_words: whole words, also in disguise; with *
    /// at an end also inside words. A room has at most 500. They are in force within seconds, on
    /// all nodes.
    Add(AddArgs),
    /// Allow terms in this room again
    Remove(RemoveArgs),
    /// List the blocked terms of this room
    List,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The terms; quote those of several words
    #[arg(required = true, value_name = "WORD")]
    terms: Vec<String>,
    /// Action on comments with one of them
    #[arg(long, value_name = "ACTION", default_value = "reject",
        value_parser = one_of(&TermAction::ALL, TermAction::word))]
    action: TermAction,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// The terms, as they are listed
    #[arg(required = true, value_name = "WORD", add = complete::room_terms())]
    terms: Vec<String>,
}

pub(super) async fn run(
    stream_id: StreamId,
    args: TermsArgs,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let patch = match args.command {
        None | Some(TermsCommand::List) => return list(stream_id, context).await,
        Some(TermsCommand::Add(AddArgs { terms, action })) => {
            let add = terms.into_iter().map(|term| RoomTerm { term, action }).collect();
            TermsPatch { add, remove: Vec::new() }
        }
        Some(TermsCommand::Remove(RemoveArgs { terms })) => {
            TermsPatch { add: Vec::new(), remove: terms }
        }
    };
    let patch = patch.checked().map_err(|bad| UsageError(format!("a term {}", bad.problem)))?;
    submit(&path(stream_id), &patch, context, |outcome| {
        let done = outcome_text::terms_changed(stream_id, &patch, outcome);
        format!("{done} {}", undo_hint(outcome))
    })
    .await
}

async fn list(stream_id: StreamId, context: &Context) -> anyhow::Result<ExitCode> {
    let terms = of_room(stream_id, context).await?;
    context.output().items(&terms, || in_table(&terms))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the blocked terms of a room.
pub(super) async fn of_room(
    stream_id: StreamId,
    context: &Context,
) -> anyhow::Result<Vec<RoomTerm>> {
    let answer: Cluster<RoomTerm> = context.admin().get(&path(stream_id)).await?;
    Ok(answer.items)
}

fn path(stream_id: StreamId) -> String {
    format!("/v1/streams/{stream_id}/room/terms")
}

fn in_table(terms: &[RoomTerm]) -> String {
    let mut rows = table(&["ACTION", "~TERM"]);
    for RoomTerm { term, action } in terms {
        rows.add_row([action.as_str().to_owned(), term.clone()]);
    }
    show(&rows, "The room has no blocked terms.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_listed_with_their_actions() {
        let term = |term: &str, action| RoomTerm { term: term.to_owned(), action };
        let terms = [term("bad word", TermAction::Reject), term("*scam*", TermAction::Flag)];
        insta::assert_snapshot!(in_table(&terms), @r"
        ACTION  TERM
        reject  bad word
        flag    *scam*
        ");
        assert_eq!(in_table(&[]), "The room has no blocked terms.");
    }
}
