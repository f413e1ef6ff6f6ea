//! `lc poll`: opens and closes polls, and lists their results.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::arguments::{count_in, duration_between, to_ms};
use super::change::submit;
use super::complete;
use super::context::Context;
use super::exit::UsageError;
use super::table::{show, table};
use crate::client::outcome_text;
use crate::protocol::admin::{ClosePollRequest, Cluster, OpenPollRequest};
use crate::protocol::quantity::show_time;
use crate::protocol::{PollState, StreamId};

/// The daemon's limits of `--for`.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(86_400);

/// The daemon's limits of the number of options.
const FEWEST_OPTIONS: usize = 2;
const MOST_OPTIONS: usize = 10;

/// Ask the viewers of a stream, and see what they voted for
///
/// Each user votes once. A poll closes by itself; one poll of a stream is open at a time.
#[derive(Debug, Args)]
pub(super) struct PollArgs {
    #[command(subcommand)]
    command: PollCommand,
}

#[derive(Debug, Subcommand)]
enum PollCommand {
    /// Open a poll
    Open(OpenArgs),
    /// Close the open poll of a stream before its time
    Close(CloseArgs),
    /// List the polls of a stream with their votes, newest first
    List(ListArgs),
}

#[derive(Debug, Args)]
struct OpenArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// The question, up to 200 characters, in quotes if it has several words
    #[arg(value_name = "QUESTION")]
    question: String,
    /// An option, up to 80 characters; two to ten of them
    #[arg(long = "option", value_name = "TEXT", required = true)]
    options: Vec<String>,
    /// Time for which it is open, from 10s to 1d
    #[arg(long = "for", value_name = "TIME", default_value = "2m",
        value_parser = duration_between(SHORTEST, LONGEST))]
    open_for: Duration,
    /// Note for the audit log; viewers are not shown it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
struct CloseArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// Note for the audit log; viewers are not shown it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// Polls to list at most, of the newest 100 of the stream
    #[arg(long, value_name = "N", value_parser = count_in(1..=1000), default_value = "100")]
    limit: u64,
}

pub(super) async fn run(args: PollArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match args.command {
        PollCommand::Open(args) => {
            let OpenArgs { stream, question, options, open_for, note } = args;
            check_number(options.len())?;
            let duration_ms = to_ms(open_for);
            let request = OpenPollRequest { question, options, duration_ms, note };
            submit(&format!("/v1/streams/{stream}/polls"), &request, context, |outcome| {
                outcome_text::poll_opened(stream, duration_ms, outcome)
            })
            .await
        }
        PollCommand::Close(CloseArgs { stream, note }) => {
            let path = format!("/v1/streams/{stream}/polls/close");
            submit(&path, &ClosePollRequest { note }, context, |outcome| {
                outcome_text::poll_closed(stream, outcome)
            })
            .await
        }
        PollCommand::List(ListArgs { stream, limit }) => {
            let path = format!("/v1/streams/{stream}/polls");
            let mut polls: Cluster<PollState> = context.admin().get(&path).await?;
            polls.items.truncate(usize::try_from(limit)?);
            context.output().items(&polls.items, || in_table(&polls.items))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check_number(options: usize) -> Result<(), UsageError> {
    if (FEWEST_OPTIONS..=MOST_OPTIONS).contains(&options) {
        return Ok(());
    }
    Err(UsageError(format!(
        "a poll has {FEWEST_OPTIONS} to {MOST_OPTIONS} options, not {options}; \
         give each as --option TEXT"
    )))
}

fn in_table(polls: &[PollState]) -> String {
    let mut rows = table(&["poll", "state", ">votes", "~text"]);
    for PollState { poll, closed, votes } in polls {
        let state = if *closed { "closed" } else { "open" };
        let sum: u64 = votes.iter().sum();
        let until = show_time(poll.closes_at);
        let state = format!("{state} {until}");
        rows.add_row([poll.poll_id.to_string(), state, sum.to_string(), poll.question.to_string()]);
        for (option, votes) in poll.options.iter().zip(votes) {
            let option = format!("- {option}");
            rows.add_row([String::new(), String::new(), votes.to_string(), option]);
        }
    }
    show(&rows, "The stream had no poll.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RoomPoll;

    #[test]
    fn a_poll_with_one_or_eleven_options_is_wrong_usage() {
        for options in [1, 11] {
            let text = check_number(options).unwrap_err().to_string();
            assert!(text.contains(&format!("2 to 10 options, not {options}")), "{text}");
        }
        assert!(check_number(2).is_ok() && check_number(10).is_ok());
    }

    #[test]
    fn polls_are_listed_with_the_votes_of_options() {
        let poll = RoomPoll {
            poll_id: 17,
            question: "Who wins?\u{1b}[2J".into(),
            options: vec!["red".into(), "blue".into()],
            opened_at: 1_795_254_408_000,
            closes_at: 1_795_254_528_000,
        };
        let closed = PollState { poll, closed: true, votes: vec![3, 4] };
        insta::assert_snapshot!(in_table(&[closed]));
        assert_eq!(in_table(&[]), "The stream had no poll.");
    }
}
