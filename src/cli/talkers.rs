//! `lc talkers`: lists the users that say most on a stream, and the texts that many users say.

use std::process::ExitCode;

use clap::Args;

use super::complete;
use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use crate::protocol::StreamId;
use crate::protocol::admin::{SameText, Talker, Talkers};

/// List the users that say most on a stream, of the last five to ten minutes
///
/// Counts are estimates: never too low, and too high by at most the column `error`. A user that
/// says more than one comment in 64 is listed. With --texts, the texts that at least two users say;
/// texts that differ in case, spaces, punctuation or repeated letters are one. Up to 64 users of a
/// text are counted; `~80` is an estimate.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TalkersArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// List texts that many users say
    #[arg(long)]
    texts: bool,
    #[command(flatten)]
    list: ListArgs,
}

const EXAMPLES: &str = "\
Examples:
  lc talkers 7 --limit 10 --watch
  lc talkers 7 --sort -refused --where 'said>100 or removed>0'
  lc talkers 7 --texts --where 'users>20'";

static TALKERS: List<Talker> = List {
    columns: &[
        right("user", |row, _| row.user_id.to_string()),
        right("said", |row, _| row.said.to_string()),
        right("error", |row, _| row.error.to_string()),
        right("refused", |row, _| row.refused.to_string()),
        right("removed", |row, _| row.removed.to_string()),
        right("text", |row: &Talker, _| row.text.to_string()).extra(),
        text("name", |row, _| row.name.clone()),
    ],
    sort: "",
    if_empty: "Nobody has commented in the last minutes, or the node counts busier streams.",
};

static TEXTS: List<SameText> = List {
    columns: &[
        left("id", |row: &SameText, _| row.id.to_string()).extra(),
        right("users", |row, _| users(row, row.users)),
        right("new", |row, _| users(row, row.new)),
        right("said", |row, _| row.said.to_string()),
        right("error", |row, _| row.error.to_string()),
        text("text", |row, _| row.text.clone()),
    ],
    sort: "",
    if_empty: "No two users have said the same in the last minutes.",
};

/// Writes a number of users of a text; `~80` if it is an estimate.
fn users(row: &SameText, users: u64) -> String {
    if row.users_are_estimated() { format!("~{users}") } else { users.to_string() }
}

pub(super) async fn run(args: TalkersArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/streams/{}/talkers", args.stream);
    if args.texts {
        return TEXTS.view(&args.list)?.run_of::<Talkers>(&path, context).await;
    }
    TALKERS.view(&args.list)?.run_of::<Talkers>(&path, context).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::UserId;

    #[test]
    fn users_and_texts_are_tables() {
        let talker = |user_id, said, refused, name: &str| Talker {
            user_id: UserId(user_id),
            name: name.to_owned(),
            said,
            error: 2,
            refused,
            removed: 9,
            text: 5,
        };
        let same = SameText {
            id: 5,
            text: "cheap followers at …".to_owned(),
            users: 38,
            said: 214,
            error: 0,
            new: 31,
        };
        let many = SameText { users: 80, ..same.clone() };
        assert_columns_are_known(&TALKERS);
        assert_columns_are_known(&TEXTS);
        let users = [talker(4711, 60, 212, "zed_k"), talker(12, 7, 0, "ann\u{1b}[2J")];
        let users = TALKERS.as_text(&users, 0);
        insta::assert_snapshot!(format!("{users}\n\n{}", TEXTS.as_text(&[same], 0)));
        assert!(TEXTS.as_text(&[], 0).starts_with("No two users"));
        assert!(TEXTS.as_text(&[many], 0).contains("~80  ~31   214"));
    }
}
