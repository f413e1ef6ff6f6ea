//! The columns of the review queue, of decisions and of offenders.

use super::Kind::{Duration, Flag, Number, Text, Word};
use super::rows::At;
use super::{Column, Columns, Row, Value};
use crate::protocol::admin::{ModerationDecision, Offender, ReviewItem};

impl Row for At<'_, ReviewItem> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let item = self.item;
        Some(match name {
            "comment" => item.comment_id.to_string().into(),
            "stream" => Value::count(item.stream_id.0),
            "user" => Value::count(item.user_id.0),
            "name" => item.name.as_str().into(),
            "age" => self.age(item.flagged_at),
            "held" => Value::Flag(item.held),
            "hidden" => Value::Flag(item.shadowed),
            "stage" => item.evidence.stage.as_deref()?.into(),
            "score" => Value::Number(item.evidence.score?),
            "reason" => item.reason.as_str().into(),
            "claimed" => item.holder(self.now_ms)?.into(),
            "yours" => Value::Flag(item.claimed_by_you),
            "alike" => Value::count(item.alike),
            "text" => item.message.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.name);
        visit(&self.item.reason);
        visit(&self.item.message);
        self.item.evidence.stage.iter().for_each(|stage| visit(stage));
    }
}

impl Columns for At<'_, ReviewItem> {
    const COLUMNS: &'static [Column] = &[
        Column::new("comment", Text),
        Column::new("stream", Number),
        Column::new("user", Number),
        Column::new("name", Text),
        Column::new("age", Duration),
        Column::new("held", Flag),
        Column::new("hidden", Flag),
        Column::new("stage", Text),
        Column::new("reason", Text),
        Column::new("score", Number),
        Column::new("claimed", Text),
        Column::new("yours", Flag),
        Column::new("alike", Number),
        Column::new("text", Text),
    ];
}

impl Row for At<'_, ModerationDecision> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let made = self.item;
        Some(match name {
            "comment" => made.comment_id.to_string().into(),
            "stream" => Value::count(made.stream_id.0),
            "user" => Value::count(made.user_id.0),
            "name" => made.name.as_deref()?.into(),
            "age" => self.age(made.decided_at),
            "verdict" => made.decision.as_str().into(),
            "stage" => made.stage.as_deref()?.into(),
            "reason" => made.reason.as_str().into(),
            "score" => Value::Number(made.score?),
            "by" => made.decided_by.as_str().into(),
            "text" => made.message.as_deref()?.into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.decided_by);
        visit(&self.item.reason);
        self.item.name.iter().chain(&self.item.message).for_each(|text| visit(text));
    }
}

impl Columns for At<'_, ModerationDecision> {
    const COLUMNS: &'static [Column] = &[
        Column::new("comment", Text),
        Column::new("stream", Number),
        Column::new("user", Number),
        Column::new("name", Text),
        Column::new("age", Duration),
        Column::new("verdict", Word(&["accept", "reject", "shadow_ban", "flag"])),
        Column::new("stage", Text),
        Column::new("reason", Text),
        Column::new("score", Number),
        Column::new("by", Text),
        Column::new("text", Text),
    ];
}

impl Row for At<'_, Offender> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let offender = self.item;
        Some(match name {
            "user" => Value::count(offender.user_id.0),
            "name" => offender.name.as_deref()?.into(),
            "removed" => Value::count(offender.removed),
            "age" => self.age(offender.last_at),
            "reason" => offender.reason.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.user_id.to_string());
        visit(&self.item.reason);
        self.item.name.iter().for_each(|name| visit(name));
    }
}

impl Columns for At<'_, Offender> {
    const COLUMNS: &'static [Column] = &[
        Column::new("user", Number),
        Column::new("name", Text),
        Column::new("removed", Number),
        Column::new("age", Duration),
        Column::new("reason", Text),
    ];
}
