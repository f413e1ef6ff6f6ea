//! `lc tail`: follows a stream's comments and moderation decisions.

use std::collections::{HashMap, VecDeque};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;

use super::complete;
use super::context::Context;
use super::output::note;
use super::stop::stop_on_signal;
use crate::client::follow::{Followed, follow};
use crate::protocol::admin::TailItem;
use crate::protocol::printable::printable;
use crate::protocol::quantity::{show_clock, show_duration, show_share};
use crate::protocol::{Badge, CommentId, SequencedComment, StreamId};

/// After a signal only the line in hand is left to write.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most comments whose authors are remembered: the latest. A page of the history has no more.
const MAX_AUTHORS: usize = 1000;

/// Follow a stream's comments and moderation decisions, before throttling
///
/// Reconnects after a restart of the daemon. Comments of the time in between are in `lc history`.
/// Times are in UTC. `↪ ann` marks a reply to a comment of ann, if that is among the latest 1000
/// that were shown here, else `↪ an earlier comment`; with --ids the id of that comment stands
/// there.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// Stream id
    #[arg(add = complete::streams())]
    stream: StreamId,
    /// Show comment ids, for use with `lc delete`
    #[arg(long)]
    ids: bool,
}

pub(super) async fn run(args: TailArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/tail/{}", args.stream);
    let mut items = Box::pin(follow::<TailItem>(context.admin(), path).await?);
    let output = context.output();
    let stop = stop_on_signal(PATIENCE);
    let mut authors = Authors::default();
    while let Some(Some(item)) = stop.run_until_cancelled(items.next()).await {
        match item {
            Followed::Item(item) => {
                output.item(&item, || to_text(&item, &authors, args.ids))?;
                if let TailItem::Comment(item) = &item {
                    authors.remember(&item.comment);
                }
            }
            Followed::Lost { why, retry_in } => {
                let wait = show_duration(u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX));
                note(&format!("lc: {why}; retrying in {wait}"));
            }
            Followed::Ended(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn to_text(item: &TailItem, authors: &Authors, show_ids: bool) -> String {
    match item {
        TailItem::Comment(item) if item.shadow => {
            format!("{} [shadowed]", comment_line(&item.comment, authors, show_ids))
        }
        TailItem::Comment(item) => comment_line(&item.comment, authors, show_ids),
        TailItem::Moderated { comment_id, user_id, decision, reason, decided_by, timestamp } => {
            let decision = decision.as_str();
            let reason = printable(reason);
            let by = printable(decided_by);
            let at = show_clock(*timestamp);
            format!("{at} -- {decision} ({reason}) by {by}: {comment_id} of user {user_id}")
        }
        TailItem::Restored { comment_id, user_id, restored_by, timestamp } => {
            let by = printable(restored_by);
            let at = show_clock(*timestamp);
            format!("{at} -- restored by {by}: {comment_id} of user {user_id}")
        }
        TailItem::Throttle { sample_rate, fixed, timestamp } => {
            let at = show_clock(*timestamp);
            let by = if *fixed { "fixed by an operator" } else { "by the throttle" };
            format!("{at} -- viewers are shown {} ({by})", show_share(*sample_rate))
        }
        TailItem::Missed { items } => {
            format!("-- {items} items skipped: this reader is too slow --")
        }
    }
}

/// The authors of the latest comments, for the replies to them. Beyond [`MAX_AUTHORS`] the oldest
/// is forgotten.
#[derive(Debug, Default)]
pub(super) struct Authors {
    names: HashMap<CommentId, Arc<str>>,
    oldest_first: VecDeque<CommentId>,
}

impl Authors {
    pub(super) fn remember(&mut self, comment: &SequencedComment) {
        if self.names.insert(comment.comment_id, comment.name.clone()).is_some() {
            return;
        }
        self.oldest_first.push_back(comment.comment_id);
        if self.oldest_first.len() > MAX_AUTHORS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    /// Writes ` ↪ ann` for a reply, as the pages for viewers do, or nothing.
    fn answered_text(&self, comment: &SequencedComment, show_ids: bool) -> String {
        let Some(parent_id) = comment.parent_id else { return String::new() };
        if show_ids {
            return format!(" ↪ {parent_id}");
        }
        match self.names.get(&parent_id) {
            Some(name) => format!(" ↪ {}", printable(name)),
            None => " ↪ an earlier comment".to_owned(),
        }
    }
}

/// Writes a comment as a line of chat.
pub(super) fn comment_line(
    comment: &SequencedComment,
    authors: &Authors,
    show_ids: bool,
) -> String {
    let at = show_clock(comment.created_at);
    let badges: Vec<_> = comment.badges.iter().map(Badge::as_str).collect();
    let name = match badges.as_slice() {
        [] => printable(&comment.name),
        badges => format!("{} [{}]", printable(&comment.name), badges.join(", ")),
    };
    let answered = authors.answered_text(comment, show_ids);
    let message = printable(&comment.message);
    if show_ids {
        format!("{at} {} {name} ({}){answered}: {message}", comment.comment_id, comment.user_id)
    } else {
        format!("{at} {name}{answered}: {message}")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::UserId;
    use crate::protocol::admin::TailComment;
    use crate::protocol::events::Decision;
    use crate::protocol::throttle::SampleRate;

    pub(crate) fn comment(number: u64, message: &str) -> SequencedComment {
        let ticks = 17_952_544_080_000_000 + number * 20_000_000;
        SequencedComment {
            comment_id: CommentId::from_unix_ticks(ticks, 7, [1; 6]),
            user_id: UserId(40 + number),
            name: format!("ann{number}").into(),
            message: message.into(),
            created_at: ticks / 10_000,
            seq: 100 + number,
            badges: Default::default(),
            parent_id: None,
        }
    }

    #[test]
    fn badges_stand_behind_the_name() {
        let badges = [Badge::Moderator, Badge::Subscriber].into_iter().collect();
        let comment = SequencedComment { badges, ..comment(1, "hi") };
        let line = comment_line(&comment, &Authors::default(), false);
        assert!(line.ends_with("ann1 [moderator, subscriber]: hi"), "{line}");
    }

    pub(crate) fn reply(number: u64, parent: u64) -> SequencedComment {
        let parent_id = Some(comment(parent, "").comment_id);
        SequencedComment { parent_id, ..comment(number, "yes") }
    }

    #[test]
    fn replies_name_whom_they_answer() {
        let mut authors = Authors::default();
        let answer = reply(2, 1);
        let line = |authors: &Authors, ids| comment_line(&answer, authors, ids);
        assert_eq!(line(&authors, false), "09:46:52 ann2 ↪ an earlier comment: yes");
        authors.remember(&comment(1, "who?"));
        authors.remember(&comment(1, "who?"));
        assert_eq!(line(&authors, false), "09:46:52 ann2 ↪ ann1: yes");
        let parent_id = answer.parent_id.unwrap();
        let with_ids = format!("09:46:52 {} ann2 (42) ↪ {parent_id}: yes", answer.comment_id);
        assert_eq!(line(&authors, true), with_ids);
        for number in 0..MAX_AUTHORS as u64 {
            authors.remember(&comment(10 + number, "hi"));
        }
        assert_eq!((authors.names.len(), authors.oldest_first.len()), (MAX_AUTHORS, MAX_AUTHORS));
        assert_eq!(line(&authors, false), "09:46:52 ann2 ↪ an earlier comment: yes", "forgotten");
    }

    #[test]
    fn comments_and_decisions_are_one_line_each() {
        let comment = comment(1, "gg \u{1b}]0;owned\u{7}");
        let moderated = TailItem::Moderated {
            comment_id: comment.comment_id,
            user_id: comment.user_id,
            decision: Decision::Reject,
            reason: "blocked_word".into(),
            decided_by: "rules".into(),
            timestamp: comment.created_at + 4_000,
        };
        let restored = TailItem::Restored {
            comment_id: comment.comment_id,
            user_id: comment.user_id,
            restored_by: "bob".into(),
            timestamp: comment.created_at + 9_000,
        };
        let throttle = TailItem::Throttle {
            sample_rate: SampleRate::from_share(0.25).unwrap(),
            fixed: true,
            timestamp: 1_795_254_430_000,
        };
        let missed = TailItem::Missed { items: 3 };
        let shadowed = TailComment { shadow: true, ..comment.clone().into() };
        let lines = [
            TailItem::Comment(comment.into()),
            TailItem::Comment(shadowed),
            moderated,
            restored,
            throttle,
            missed,
        ];
        let none = Authors::default();
        let text =
            |ids| lines.iter().map(|item| to_text(item, &none, ids)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(format!("{}\n\n{}", text(false), text(true)));
    }
}
