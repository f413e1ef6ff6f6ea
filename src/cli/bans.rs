//! `lc bans`: lists the active bans and timeouts.

use std::process::ExitCode;

use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::show_ago;
use crate::protocol::admin::Sanction;
use crate::protocol::quantity::show_duration;

static BANS: List<Sanction> = List {
    columns: &[
        right("user", |ban, _| ban.user_id.to_string()),
        right("stream", |ban: &Sanction, _| {
            ban.stream_id.map_or("all".to_owned(), |stream_id| stream_id.to_string())
        }),
        left("kind", |ban, _| ban.kind.as_str().to_owned()),
        left("left", left_of).titled("expires"),
        left("age", |ban: &Sanction, now_ms| show_ago(ban.created_at, now_ms)).titled("set"),
        text("by", |ban, _| ban.created_by.clone()),
        text("name", |ban, _| ban.name.clone().unwrap_or_default()),
        text("reason", |ban, _| ban.reason.clone().unwrap_or_default()),
    ],
    sort: "",
    if_empty: "No user is banned or timed out.",
};

pub(super) async fn run(args: ListArgs, context: &Context) -> anyhow::Result<ExitCode> {
    BANS.view(&args)?.run("/v1/bans", context).await
}

/// Writes sanctions as a table.
pub(super) fn to_table(sanctions: &[Sanction], now_ms: u64) -> String {
    BANS.as_text(sanctions, now_ms)
}

fn left_of(sanction: &Sanction, now_ms: u64) -> String {
    sanction
        .expires_at
        .map_or("never".to_owned(), |at| format!("in {}", show_duration(at.saturating_sub(now_ms))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::admin::SanctionKind;
    use crate::protocol::{StreamId, UserId};

    #[test]
    fn the_table_shows_expiry_and_operator() {
        let now_ms = 1_795_254_408_000;
        let ban = Sanction {
            user_id: UserId(4711),
            kind: SanctionKind::Ban,
            stream_id: None,
            name: Some("troll42".into()),
            reason: Some("spam".into()),
            created_by: "ann".into(),
            created_at: now_ms - 200_000,
            expires_at: None,
        };
        let timeout = Sanction {
            user_id: UserId(12),
            kind: SanctionKind::Timeout,
            stream_id: Some(StreamId(7)),
            name: None,
            reason: None,
            expires_at: Some(now_ms + 598_000),
            ..ban.clone()
        };
        assert_columns_are_known(&BANS);
        insta::assert_snapshot!(to_table(&[ban, timeout], now_ms));
        assert_eq!(to_table(&[], now_ms), "No user is banned or timed out.");
    }
}
