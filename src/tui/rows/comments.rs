//! Comments of one stream as they come, and the users and texts behind them.

use super::veil;
use crate::protocol::admin::{MOST_COUNTED_USERS, Talkers};
use crate::protocol::comment::SequencedComment;
use crate::protocol::filter::{self, Kind, Value};
use crate::protocol::{CommentId, UserId};
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: false, rank, meaning: "" }
}

/// The outcome of moderation for a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommentState {
    Passed,
    /// Removed or held, with the reason.
    Decided(&'static str, String),
}

pub(crate) const COMMENTS: &[Column] = &[
    Column { meaning: "time of the comment, UTC", ..column("time", "", 8, 1) },
    Column { meaning: "● accepted, ✗ removed, ◌ held or flagged", ..column("", "", 1, 0) },
    Column { meaning: "the sender", ..column("user", "name", 16, 0) },
    Column { meaning: "the rule or the person that decided", ..column("why", "why", 14, 2) },
    column("text", "text", 0, 0),
];

/// A comment of the live stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommentRow<'a> {
    pub(crate) comment: &'a SequencedComment,
    pub(crate) state: &'a CommentState,
    pub(crate) veiled: bool,
}

impl CommentRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] = &[
        filter::Column::new("user", Kind::Number),
        filter::Column::new("name", Kind::Text),
        filter::Column::new("why", Kind::Text),
        filter::Column::new("text", Kind::Text),
    ];

    pub(crate) fn id(&self) -> CommentId {
        self.comment.comment_id
    }
}

impl filter::Row for CommentRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "user" => Value::count(self.comment.user_id.0),
            "name" => (&*self.comment.name).into(),
            "why" => match self.state {
                CommentState::Passed => return None,
                CommentState::Decided(_, reason) => reason.as_str().into(),
            },
            "text" => (&*self.comment.message).into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.comment.name);
        visit(&self.comment.message);
    }
}

impl Record for CommentRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Comment(self.id().0)
    }

    fn cell(&self, column: &str) -> Cell {
        let comment = self.comment;
        match column {
            "time" => Cell::faint(figures::clock(comment.created_at)),
            "" => match self.state {
                CommentState::Passed => Cell::new("●", Tone::Good),
                CommentState::Decided("held", _) => Cell::new("◌", Tone::Warn),
                CommentState::Decided(..) => Cell::new("✗", Tone::Bad),
            },
            "user" => Cell::text(veil(&comment.name, self.veiled)),
            "why" => match self.state {
                CommentState::Passed => Cell::default(),
                CommentState::Decided(_, reason) => Cell::faint(reason.clone()),
            },
            "text" => Cell::text(veil(&comment.message, self.veiled)),
            _ => Cell::default(),
        }
    }
}

pub(crate) const TALKERS: &[Column] = &[
    Column {
        right: true,
        meaning: "the user's id; ×38 is a text that 38 users say, ×~80 about 80",
        ..column("user", "user", 10, 1)
    },
    Column {
        right: true,
        meaning: "comments of the last five to ten minutes, by the daemon's count",
        ..column("said", "said", 5, 0)
    },
    Column {
        right: true,
        meaning: "comments that were refused: rate limit, ban, timeout or text",
        ..column("refused", "refused", 7, 2)
    },
    Column {
        right: true,
        meaning: "comments that were deleted",
        ..column("removed", "removed", 7, 0)
    },
    column("name", "name", 0, 0),
];

/// The speaker of a row: a user, or all users of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    User(UserId),
    /// The number of users that say it.
    Users(u64),
}

/// A user who comments, and how much; or a text that many users say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TalkerRow {
    pub(crate) speaker: Speaker,
    /// The name of the user, or the text.
    pub(crate) name: String,
    pub(crate) said: u64,
    pub(crate) refused: u64,
    pub(crate) removed: u64,
    /// The key of the text, or of the user's latest text.
    pub(crate) text: u32,
    pub(crate) veiled: bool,
}

impl TalkerRow {
    pub(crate) const FILTERED: &'static [filter::Column] = &[
        filter::Column::new("user", Kind::Number),
        filter::Column::new("users", Kind::Number),
        filter::Column::new("name", Kind::Text),
        filter::Column::new("said", Kind::Number),
        filter::Column::new("refused", Kind::Number),
        filter::Column::new("removed", Kind::Number),
    ];

    /// Returns the rows of what the daemon counted: users, and texts of several users.
    pub(crate) fn of(talkers: &Talkers, veiled: bool) -> impl Iterator<Item = Self> {
        let users = talkers.talkers.iter().map(move |talker| Self {
            speaker: Speaker::User(talker.user_id),
            name: talker.name.clone(),
            said: talker.said,
            refused: talker.refused,
            removed: talker.removed,
            text: talker.text,
            veiled,
        });
        let texts = talkers.texts.iter().map(move |text| Self {
            speaker: Speaker::Users(text.users),
            name: text.text.clone(),
            said: text.said,
            refused: 0,
            removed: 0,
            text: text.id,
            veiled,
        });
        users.chain(texts)
    }
}

impl filter::Row for TalkerRow {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match (name, self.speaker) {
            ("user", Speaker::User(user_id)) => Value::count(user_id.0),
            ("users", Speaker::Users(users)) => Value::count(users),
            ("name", _) => self.name.as_str().into(),
            ("said", _) => Value::count(self.said),
            ("refused", Speaker::User(_)) => Value::count(self.refused),
            ("removed", Speaker::User(_)) => Value::count(self.removed),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.name);
    }
}

/// Returns the cell of a count that is bad if there is any.
fn count_of_harm(count: u64, tone: Tone) -> Cell {
    match count {
        0 => Cell::faint("0"),
        count => Cell::new(figures::count(count), tone),
    }
}

impl Record for TalkerRow {
    fn key(&self) -> RowKey {
        match self.speaker {
            Speaker::User(user_id) => RowKey::User(user_id),
            Speaker::Users(_) => RowKey::Text(self.text),
        }
    }

    fn cell(&self, column: &str) -> Cell {
        match (column, self.speaker) {
            ("user", Speaker::User(user_id)) => Cell::faint(user_id.to_string()),
            ("user", Speaker::Users(users)) => {
                // Few users are counted, many are estimated.
                let about = if users > MOST_COUNTED_USERS { "~" } else { "" };
                Cell::new(format!("×{about}{}", figures::count(users)), Tone::Warn)
            }
            ("said", _) => Cell::text(figures::count(self.said)),
            ("refused", Speaker::User(_)) => count_of_harm(self.refused, Tone::Warn),
            ("removed", Speaker::User(_)) => count_of_harm(self.removed, Tone::Bad),
            ("name", Speaker::User(_)) => Cell::text(veil(&self.name, self.veiled)),
            ("name", Speaker::Users(_)) => {
                Cell::new(format!("same text: {}", veil(&self.name, self.veiled)), Tone::Warn)
            }
            _ => Cell::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimated_number_of_users_is_marked() {
        let user = |users| {
            let row = TalkerRow {
                speaker: Speaker::Users(users),
                name: "cheap followers".to_owned(),
                said: 99,
                refused: 0,
                removed: 0,
                text: 1,
                veiled: false,
            };
            row.cell("user").text
        };
        assert_eq!(user(MOST_COUNTED_USERS), "×64");
        assert_eq!(user(MOST_COUNTED_USERS + 1), "×~65");
    }
}
