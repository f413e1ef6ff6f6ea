//! What is fetched beside the snapshots, for the views that show it.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::admin::{AuditEntry, ReviewItem, TailItem};
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::Decision;
use crate::protocol::{StreamId, UserId};
use crate::tui::rows::{CommentState, TalkerRow};

/// Comments of the opened stream that are kept.
const MAX_COMMENTS: usize = 500;

/// What the view on the screen needs besides snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    pub(crate) reviews: bool,
    pub(crate) audit: bool,
    pub(crate) tail: Option<StreamId>,
}

/// What was fetched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Side {
    pub(crate) reviews: Vec<ReviewItem>,
    pub(crate) audit: Vec<AuditEntry>,
    pub(crate) tail: Option<Tail>,
}

/// The live comments of one stream, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    pub(crate) stream_id: StreamId,
    pub(crate) comments: VecDeque<(SequencedComment, CommentState)>,
    /// Items that came faster than they could be read.
    pub(crate) missed: u64,
}

impl Tail {
    pub(crate) fn new(stream_id: StreamId) -> Self {
        Self { stream_id, comments: VecDeque::new(), missed: 0 }
    }

    pub(crate) fn add(&mut self, item: TailItem) {
        match item {
            TailItem::Comment(comment) => {
                if self.comments.len() == MAX_COMMENTS {
                    self.comments.pop_front();
                }
                self.comments.push_back((comment, CommentState::Passed));
            }
            TailItem::Moderated { comment_id, decision, reason, decided_by, .. } => {
                let known = self.comments.iter_mut().rev();
                let mut same = known.filter(|(comment, _)| comment.comment_id == comment_id);
                let Some((_, state)) = same.next() else { return };
                let word = match decision {
                    Decision::Accept => {
                        *state = CommentState::Passed;
                        return;
                    }
                    Decision::Flag => "held",
                    Decision::Reject | Decision::ShadowBan => "removed",
                };
                *state = CommentState::Decided(word, format!("{reason} {decided_by}"));
            }
            // The stream's row shows it.
            TailItem::Throttle { .. } => {}
            TailItem::Missed { items } => self.missed += items,
        }
    }

    /// Counts the comments of each user.
    pub(crate) fn talkers(&self, veiled: bool) -> Vec<TalkerRow> {
        let mut users: BTreeMap<UserId, TalkerRow> = BTreeMap::new();
        for (comment, state) in &self.comments {
            let user = users.entry(comment.user_id).or_insert_with(|| TalkerRow {
                user_id: comment.user_id,
                name: comment.name.to_string(),
                said: 0,
                removed: 0,
                veiled,
            });
            user.said += 1;
            user.removed += u64::from(*state != CommentState::Passed);
        }
        users.into_values().collect()
    }

    /// Returns the text that most users wrote, with their number, if there are at least two.
    pub(crate) fn same_text(&self) -> Option<(&str, usize)> {
        let mut texts: BTreeMap<&str, Vec<UserId>> = BTreeMap::new();
        for (comment, _) in &self.comments {
            let users = texts.entry(&comment.message).or_default();
            if !users.contains(&comment.user_id) {
                users.push(comment.user_id);
            }
        }
        let most = texts.into_iter().map(|(text, users)| (text, users.len()));
        most.filter(|(_, users)| *users >= 2).max_by_key(|(_, users)| *users)
    }
}
