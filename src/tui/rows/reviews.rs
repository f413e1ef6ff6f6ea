//! Comments that wait for review.

use super::veil;
use crate::protocol::admin::{ReviewItem, short_actor};
use crate::protocol::filter::rows::At;
use crate::protocol::filter::{self, Columns as _, Value};
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: false, rank, meaning: "" }
}

pub(crate) const REVIEWS: &[Column] = &[
    Column {
        meaning: "‖ somebody else looks at it and nobody else decides it; ● you do",
        ..column("", "", 1, 0)
    },
    Column { right: true, meaning: "time since it was flagged", ..column("age", "age", 7, 0) },
    Column { right: true, ..column("stream", "stream", 6, 3) },
    Column {
        meaning: "held: nobody sees it until it is approved; shown: everybody does; hidden: only \
                  its sender, who is shadow-banned, does or will",
        ..column("is", "held", 6, 1)
    },
    Column { meaning: "the moderation stage that flagged it", ..column("stage", "stage", 7, 4) },
    Column { meaning: "why it was flagged", ..column("reason", "reason", 14, 2) },
    Column {
        right: true,
        meaning: "confidence of the stage, 0 to 1; – if it measures none",
        ..column("score", "score", 5, 2)
    },
    Column {
        meaning: "all that the stages measured, each 0 to 1, the highest first",
        ..column("scores", "score", 28, 5)
    },
    Column {
        right: true,
        meaning: "other comments to review with the same text, at most 100",
        ..column("alike", "alike", 5, 3)
    },
    Column { meaning: "the sender", ..column("user", "name", 16, 1) },
    column("text", "text", 0, 0),
];

/// A comment that waits for review.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReviewRow<'a> {
    pub(crate) item: &'a ReviewItem,
    pub(crate) now_ms: u64,
    pub(crate) veiled: bool,
}

impl<'a> ReviewRow<'a> {
    pub(crate) const FILTERED: &'static [filter::Column] = At::<'static, ReviewItem>::COLUMNS;

    fn at(&self) -> At<'a, ReviewItem> {
        At { item: self.item, now_ms: self.now_ms }
    }

    fn claim_mark(&self) -> Cell {
        match self.item.holder(self.now_ms) {
            Some(_) if self.item.claimed_by_you => Cell::new("●", Tone::Key),
            Some(_) => Cell::faint("‖"),
            None => Cell::default(),
        }
    }

    /// Writes the text, behind the name of whoever looks at it.
    fn text_cell(&self) -> Cell {
        let text = veil(&self.item.message, self.veiled);
        match self.item.other_holder(self.now_ms) {
            Some(by) => Cell::faint(format!("‖ {}: {text}", short_actor(by))),
            None => Cell::text(text),
        }
    }
}

impl filter::Row for ReviewRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let item = self.item;
        match name {
            "name" => Some(item.name.as_str().into()),
            "reason" => Some(item.reason.as_str().into()),
            "text" => Some(item.message.as_str().into()),
            "stream" => Some(Value::count(item.stream_id.0)),
            "user" => Some(Value::count(item.user_id.0)),
            "held" => Some(Value::Flag(item.held)),
            "hidden" => Some(Value::Flag(item.shadowed)),
            "stage" => item.evidence.stage.as_deref().map(Value::from),
            "score" => item.evidence.score.map(Value::Number),
            "age" => Some(Value::count(self.now_ms.saturating_sub(item.flagged_at))),
            "comment" => Some(item.comment_id.to_string().into()),
            "claimed" => item.holder(self.now_ms).map(Value::from),
            "yours" => Some(Value::Flag(item.claimed_by_you)),
            "alike" => Some(Value::count(item.alike)),
            _ => None,
        }
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        self.at().texts(visit);
    }
}

impl Record for ReviewRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Comment(self.item.comment_id.0)
    }

    fn cell(&self, column: &str) -> Cell {
        let item = self.item;
        match column {
            "" => self.claim_mark(),
            "age" => Cell::text(figures::age(self.now_ms.saturating_sub(item.flagged_at))),
            "stream" => Cell::text(item.stream_id.to_string()),
            "is" if item.shadowed => Cell::new("hidden", Tone::Warn),
            "is" if item.held => Cell::new("held", Tone::Warn),
            "is" => Cell::text("shown"),
            "stage" => item.evidence.stage.as_ref().map_or_else(Cell::unknown, Cell::text),
            "reason" => Cell::text(item.reason.clone()),
            "score" => match item.evidence.score {
                Some(score) => Cell::text(format!("{score:.2}")),
                None => Cell::unknown(),
            },
            "scores" => Cell::faint(item.evidence.scores_text()),
            "user" => Cell::text(veil(&item.name, self.veiled)),
            "alike" => Cell::figure(figures::count(item.alike), item.alike == 0),
            "text" => self.text_cell(),
            _ => Cell::default(),
        }
    }
}
