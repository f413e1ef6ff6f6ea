//! Decisions about comments, and the users whose comments are removed most.

use super::veil;
use crate::protocol::admin::{ModerationDecision, Offender, short_actor};
use crate::protocol::events::Decision;
use crate::protocol::filter::rows::At;
use crate::protocol::filter::{self, Columns as _, Value};
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: false, rank, meaning: "" }
}

pub(crate) const DECISIONS: &[Column] = &[
    Column { meaning: "time of the decision, UTC", ..column("time", "age", 8, 0) },
    Column { meaning: "the moderation stage or the person", ..column("by", "by", 10, 1) },
    Column {
        meaning: "removed; stands; hidden: only its sender sees it",
        ..column("verdict", "verdict", 7, 0)
    },
    Column { meaning: "why it was removed or flagged", ..column("reason", "reason", 12, 2) },
    Column { meaning: "the sender", ..column("user", "name", 14, 3) },
    column("text", "text", 0, 0),
];

/// A decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecisionRow<'a> {
    pub(crate) made: &'a ModerationDecision,
    pub(crate) now_ms: u64,
    pub(crate) veiled: bool,
}

impl DecisionRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] =
        At::<'static, ModerationDecision>::COLUMNS;
}

impl filter::Row for DecisionRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let made = self.made;
        Some(match name {
            "comment" => made.comment_id.to_string().into(),
            "stream" => Value::count(made.stream_id.0),
            "user" => Value::count(made.user_id.0),
            "name" => made.name.as_deref()?.into(),
            "age" => Value::count(self.now_ms.saturating_sub(made.decided_at)),
            "verdict" => made.decision.as_str().into(),
            "reason" => made.reason.as_str().into(),
            "score" => Value::Number(made.score?),
            "by" => made.decided_by.as_str().into(),
            "text" => made.message.as_deref()?.into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        At { item: self.made, now_ms: self.now_ms }.texts(visit);
    }
}

impl Record for DecisionRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Comment(self.made.comment_id.0)
    }

    fn cell(&self, column: &str) -> Cell {
        let made = self.made;
        let veiled = |text: Option<&str>| match text {
            Some(text) => Cell::text(veil(text, self.veiled)),
            None => Cell::unknown(),
        };
        match column {
            "time" => Cell::faint(figures::clock(made.decided_at)),
            "by" => Cell::text(short_actor(&made.decided_by)),
            "verdict" => match made.decision {
                Decision::Accept => Cell::text("stands"),
                Decision::Reject => Cell::new("removed", Tone::Bad),
                Decision::ShadowBan => Cell::new("hidden", Tone::Bad),
                Decision::Flag => Cell::new("flagged", Tone::Warn),
            },
            "reason" => Cell::text(made.reason.clone()),
            "user" => veiled(made.name.as_deref()),
            "text" => veiled(made.message.as_deref()),
            _ => Cell::default(),
        }
    }
}

pub(crate) const OFFENDERS: &[Column] = &[
    Column { right: true, ..column("user", "user", 8, 1) },
    Column {
        right: true,
        meaning: "comments removed in the last hour",
        ..column("removed", "removed", 7, 0)
    },
    Column { right: true, meaning: "time since the last", ..column("last", "age", 7, 3) },
    Column { meaning: "why the last was removed", ..column("reason", "reason", 12, 2) },
    column("name", "name", 0, 0),
];

/// A user whose comments are removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OffenderRow<'a> {
    pub(crate) offender: &'a Offender,
    pub(crate) now_ms: u64,
    pub(crate) veiled: bool,
}

impl OffenderRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] = At::<'static, Offender>::COLUMNS;
}

impl filter::Row for OffenderRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let offender = self.offender;
        Some(match name {
            "user" => Value::count(offender.user_id.0),
            "name" => offender.name.as_deref()?.into(),
            "removed" => Value::count(offender.removed),
            "age" => Value::count(self.now_ms.saturating_sub(offender.last_at)),
            "reason" => offender.reason.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        At { item: self.offender, now_ms: self.now_ms }.texts(visit);
    }
}

impl Record for OffenderRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::User(self.offender.user_id)
    }

    fn cell(&self, column: &str) -> Cell {
        let offender = self.offender;
        match column {
            "user" => Cell::faint(offender.user_id.to_string()),
            "removed" => Cell::new(figures::count(offender.removed), Tone::Bad),
            "last" => Cell::text(figures::age(self.now_ms.saturating_sub(offender.last_at))),
            "reason" => Cell::text(offender.reason.clone()),
            "name" => match &offender.name {
                Some(name) => Cell::text(veil(name, self.veiled)),
                None => Cell::unknown(),
            },
            _ => Cell::default(),
        }
    }
}
