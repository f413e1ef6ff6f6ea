//! `lc user USER`: shows a user in full.

use std::process::ExitCode;

use super::context::Context;
use super::output::{now_ms, show_ago, show_time, warn_unreachable};
use super::table::{Rows, show, table};
use super::who;
use crate::client::admin::path_segment;
use crate::protocol::admin::{UserDetail, UserReputation};
use crate::protocol::quantity::counted;

pub(super) async fn run(user: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/users/{}", path_segment(user));
    let detail: UserDetail = context.admin().get(&path).await?;
    context.output().item(&detail, || to_text(&detail, now_ms()))?;
    warn_unreachable(&detail.who.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn to_text(detail: &UserDetail, now_ms: u64) -> String {
    let who = who::to_text(&detail.who, now_ms);
    let since = show_ago(detail.since_ms, now_ms);
    let said = counted(detail.said, "comment");
    let removed = detail.removed;
    let comments = show(&comments(detail, now_ms), "None.");
    let more = match detail.said.saturating_sub(detail.comments.len() as u64) {
        0 => String::new(),
        more => format!("\n… {more} older"),
    };
    let audit = show(&audit(detail), "None.");
    let reputation = detail.reputation.as_ref().map(|it| reputation_text(it, now_ms));
    let reputation = reputation.unwrap_or_default();
    format!(
        "{who}{reputation}\n\nSince {since}: {said}, {removed} removed\n\n{comments}{more}\n\n\
         Audit entries about the user\n\n{audit}"
    )
}

/// Writes the points of a user, and what they and the age of the account lower.
fn reputation_text(reputation: &UserReputation, now_ms: u64) -> String {
    let UserReputation { points, since, lowers, account_created } = *reputation;
    let mut text = match since {
        None => "\n\nNo points".to_owned(),
        Some(since) => format!("\n\n{points:.1} points since {}", show_ago(since, now_ms)),
    };
    if let Some(created) = account_created {
        text.push_str(&format!("; the account was created {}", show_ago(created, now_ms)));
    }
    if lowers > 0.0 {
        text.push_str(&format!(": the thresholds of moderation are {lowers:.2} lower"));
    }
    text + "."
}

fn comments(detail: &UserDetail, now_ms: u64) -> Rows {
    let mut rows = table(&["written", ">stream", "shown to", "removed", "~comment"]);
    for comment in &detail.comments {
        let shown_to = match (comment.shadowed, &comment.removed) {
            (true, _) => "sender",
            (false, Some(_)) => "nobody",
            (false, None) => "",
        };
        rows.add_row([
            show_ago(comment.created_at, now_ms),
            comment.stream_id.to_string(),
            shown_to.to_owned(),
            comment.removed.clone().unwrap_or_default(),
            comment.message.clone(),
        ]);
    }
    rows
}

fn audit(detail: &UserDetail) -> Rows {
    let mut rows = table(&[">id", "at (UTC)", "action", "~by"]);
    for entry in &detail.audit {
        let undone = entry.undone_by.map(|id| format!(" (undone by {id})")).unwrap_or_default();
        rows.add_row([
            entry.audit_id.to_string(),
            show_time(entry.at),
            format!("{}{undone}", entry.action),
            entry.actor.clone(),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{UserComment, Who};
    use crate::protocol::{CommentId, StreamId, UserId};

    #[test]
    fn comments_and_acts_follow_the_connections() {
        let now_ms = 1_795_254_408_000;
        let comment = UserComment {
            comment_id: CommentId::from_unix_ticks(17_952_544_080_000_000, 7, [1; 6]),
            stream_id: StreamId(7),
            message: "cheap\u{1b}[2J followers".to_owned(),
            created_at: now_ms - 4_000,
            removed: Some("link".to_owned()),
            shadowed: false,
        };
        let hidden = UserComment { shadowed: true, removed: None, ..comment.clone() };
        let who = Who {
            user_id: UserId(42),
            name: Some("ann".into()),
            connections: vec![],
            sanctions: vec![],
            shadows: vec![],
            unreachable: vec![],
        };
        let detail = UserDetail {
            who,
            since_ms: now_ms - 3_600_000,
            said: 60,
            removed: 9,
            comments: vec![comment, hidden],
            audit: vec![],
            reputation: Some(UserReputation {
                points: 3.21,
                since: Some(now_ms - 7_200_000),
                lowers: 0.104,
                account_created: None,
            }),
        };
        let text = to_text(&detail, now_ms);
        let points = "\n3.2 points since 2h ago: the thresholds of moderation are 0.10 lower.\n";
        assert!(text.contains(points), "{text}");
        assert!(text.contains("Since 1h ago: 60 comments, 9 removed"), "{text}");
        assert!(text.contains("\n… 58 older\n"), "{text}");
        assert!(text.contains("nobody") && text.contains("sender"), "{text}");
        assert!(text.contains("4s ago") && text.contains("link"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
