//! Comments of one stream as they come, and who says how much.

use super::veil;
use crate::protocol::comment::SequencedComment;
use crate::protocol::filter::{self, Kind, Value};
use crate::protocol::{CommentId, UserId};
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: false, rank, meaning: "" }
}

/// What became of a comment.
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
    Column { right: true, ..column("user", "user", 10, 1) },
    Column {
        right: true,
        meaning: "comments in what is listed here",
        ..column("said", "said", 5, 0)
    },
    Column {
        right: true,
        meaning: "of these, removed or held",
        ..column("removed", "removed", 7, 0)
    },
    column("name", "name", 0, 0),
];

/// A user who comments, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TalkerRow {
    pub(crate) user_id: UserId,
    pub(crate) name: String,
    pub(crate) said: u64,
    pub(crate) removed: u64,
    pub(crate) veiled: bool,
}

impl TalkerRow {
    pub(crate) const FILTERED: &'static [filter::Column] = &[
        filter::Column::new("user", Kind::Number),
        filter::Column::new("name", Kind::Text),
        filter::Column::new("said", Kind::Number),
        filter::Column::new("removed", Kind::Number),
    ];
}

impl filter::Row for TalkerRow {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "user" => Value::count(self.user_id.0),
            "name" => self.name.as_str().into(),
            "said" => Value::count(self.said),
            "removed" => Value::count(self.removed),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.name);
    }
}

impl Record for TalkerRow {
    fn key(&self) -> RowKey {
        RowKey::User(self.user_id)
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "user" => Cell::faint(self.user_id.to_string()),
            "said" => Cell::text(figures::count(self.said)),
            "removed" if self.removed > 0 => Cell::new(figures::count(self.removed), Tone::Bad),
            "removed" => Cell::faint("0"),
            "name" => Cell::text(veil(&self.name, self.veiled)),
            _ => Cell::default(),
        }
    }
}
