//! Data that is fetched beside the snapshots, for the views that show it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::protocol::admin::{
    AuditEntry, ModerationDecision, Offender, ReviewItem, SavedView, Shadow, TailComment, TailItem,
    Talkers,
};
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::Decision;
use crate::protocol::quantity::counted;
use crate::protocol::room::RoomTerm;
use crate::protocol::text::alike_key;
use crate::protocol::{StreamId, UserId};
use crate::tui::rows::{CommentState, Speaker, TalkerRow};

/// Comments of the opened stream that are kept.
const MAX_COMMENTS: usize = 500;
/// Blocked terms of a room that are listed in one line.
const MAX_LISTED_TERMS: usize = 20;

/// The data that the view on the screen needs besides snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// The review queue, decisions and offenders.
    pub(crate) reviews: bool,
    pub(crate) audit: bool,
    /// The shadow bans, for the views that name users.
    pub(crate) shadows: bool,
    /// The stream whose comments and talkers are shown.
    pub(crate) tail: Option<StreamId>,
    /// The stream whose blocked terms the palette names.
    pub(crate) terms: Option<StreamId>,
}

/// The blocked terms of a room, or the reason why they cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadTerms {
    pub(crate) stream_id: StreamId,
    pub(crate) terms: Result<Vec<RoomTerm>, String>,
}

impl ReadTerms {
    /// Lists the terms in one line; veiled, it counts them.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn in_words(&self, veiled: bool) -> Result<String, String> {
        let stream_id = self.stream_id;
        let terms = self.terms.as_ref().map_err(Clone::clone)?;
        if terms.is_empty() {
            return Ok(format!("stream {stream_id} has no blocked terms"));
        }
        let count = counted(terms.len() as u64, "blocked term");
        let text = format!("stream {stream_id} has {count}");
        if veiled {
            return Ok(text);
        }
        let shown: Vec<_> = terms
            .iter()
            .take(MAX_LISTED_TERMS)
            .map(|known| format!("{} ({})", known.term, known.action.word()))
            .collect();
        let more = match terms.len() - shown.len() {
            0 => String::new(),
            more => format!(" and {more} more: lc room {stream_id} terms"),
        };
        Ok(format!("{text}: {}{more}", shown.join(", ")))
    }
}

/// The data that was fetched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Side {
    pub(crate) reviews: Vec<ReviewItem>,
    /// The latest first.
    pub(crate) decisions: Vec<ModerationDecision>,
    pub(crate) offenders: Vec<Offender>,
    pub(crate) audit: Vec<AuditEntry>,
    /// The shadow bans in force, the newest first.
    pub(crate) shadows: Vec<Shadow>,
    pub(crate) tail: Option<Tail>,
    /// The talkers of the opened stream, as the daemon counted them.
    pub(crate) talkers: Option<Talkers>,
    /// The views that operators saved, by name.
    pub(crate) views: Vec<SavedView>,
    /// The blocked terms that were read last, for the palette.
    pub(crate) terms: Option<ReadTerms>,
}

impl Side {
    /// Returns the blocked terms of a room, if they were read.
    pub(crate) fn terms_of(&self, stream_id: StreamId) -> Option<&ReadTerms> {
        self.terms.as_ref().filter(|read| read.stream_id == stream_id)
    }

    /// Returns who says how much on the opened stream: by the daemon's count, or by the comments
    /// that this console has seen until the daemon tells it.
    pub(crate) fn talker_rows(&self, veiled: bool) -> Vec<TalkerRow> {
        match (self.counted(), &self.tail) {
            (Some(talkers), _) => TalkerRow::of(talkers, veiled).collect(),
            (None, Some(tail)) => tail.talkers(veiled),
            (None, None) => Vec::new(),
        }
    }

    /// Returns what the daemon counted of the opened stream, if it counts it.
    pub(crate) fn counted(&self) -> Option<&Talkers> {
        self.talkers.as_ref().filter(|talkers| talkers.are_counted())
    }

    /// Returns the users that are known to say a text: those whose latest text it is, and those of
    /// the comments on the screen. Nobody says the text 0, which stands for none.
    pub(crate) fn users_saying(&self, text: u32) -> BTreeSet<UserId> {
        if text == 0 {
            return BTreeSet::new();
        }
        let talkers = self.talkers.iter().flat_map(|talkers| &talkers.talkers);
        let latest = talkers.filter(|talker| talker.text == text).map(|talker| talker.user_id);
        let comments = self.tail.iter().flat_map(|tail| &tail.comments);
        let seen = comments.filter(|(comment, _)| alike_key(&comment.message) == text);
        latest.chain(seen.map(|(comment, _)| comment.user_id)).collect()
    }
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
            TailItem::Comment(TailComment { comment, shadow }) => {
                if self.comments.len() == MAX_COMMENTS {
                    self.comments.pop_front();
                }
                let state = if shadow {
                    CommentState::Decided("hidden", String::new())
                } else {
                    CommentState::Passed
                };
                self.comments.push_back((comment, state));
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
                    Decision::Reject => "removed",
                    Decision::ShadowBan => "hidden",
                };
                *state = CommentState::Decided(word, format!("{reason} {decided_by}"));
            }
            TailItem::Restored { comment_id, .. } => {
                let known = self.comments.iter_mut().rev();
                let mut same = known.filter(|(comment, _)| comment.comment_id == comment_id);
                if let Some((_, state)) = same.next() {
                    *state = CommentState::Passed;
                }
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
                speaker: Speaker::User(comment.user_id),
                name: comment.name.to_string(),
                said: 0,
                refused: 0,
                removed: 0,
                text: 0,
                veiled,
            });
            user.said += 1;
            user.text = alike_key(&comment.message);
            user.removed += u64::from(matches!(state, CommentState::Decided("removed", _)));
        }
        users.into_values().collect()
    }
}
