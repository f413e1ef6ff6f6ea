//! The columns of what is in force on users: sanctions, shadows, and roles on streams.

use super::Kind::{Duration, Number, Text, Word};
use super::rows::At;
use super::{Column, Columns, Row, Value};
use crate::protocol::admin::{Grant, Sanction, Shadow};

impl Row for At<'_, Sanction> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let sanction = self.item;
        Some(match name {
            "user" => Value::count(sanction.user_id.0),
            "stream" => Value::count(sanction.stream_id?.0),
            "name" => sanction.name.as_deref()?.into(),
            "kind" => sanction.kind.as_str().into(),
            "left" => Value::count(sanction.expires_at?.saturating_sub(self.now_ms)),
            "age" => self.age(sanction.created_at),
            "by" => sanction.created_by.as_str().into(),
            "reason" => sanction.reason.as_deref()?.into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.user_id.to_string());
        visit(&self.item.created_by);
        self.item.name.iter().chain(&self.item.reason).for_each(|text| visit(text));
    }
}

impl Columns for At<'_, Sanction> {
    const COLUMNS: &'static [Column] = &[
        Column::new("user", Number),
        Column::new("stream", Number),
        Column::new("name", Text),
        Column::new("kind", Text),
        Column::new("left", Duration),
        Column::new("age", Duration),
        Column::new("by", Text),
        Column::new("reason", Text),
    ];
}

impl Row for At<'_, Shadow> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let shadow = self.item;
        Some(match name {
            "user" => Value::count(shadow.user_id.0),
            "stream" => Value::count(shadow.stream_id?.0),
            "name" => shadow.name.as_deref()?.into(),
            "left" => Value::count(shadow.expires_at?.saturating_sub(self.now_ms)),
            "age" => self.age(shadow.created_at),
            "by" => shadow.created_by.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.user_id.to_string());
        visit(&self.item.created_by);
        self.item.name.iter().for_each(|text| visit(text));
    }
}

impl Columns for At<'_, Shadow> {
    const COLUMNS: &'static [Column] = &[
        Column::new("user", Number),
        Column::new("stream", Number),
        Column::new("name", Text),
        Column::new("left", Duration),
        Column::new("age", Duration),
        Column::new("by", Text),
    ];
}

impl Row for At<'_, Grant> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let grant = self.item;
        Some(match name {
            "user" => Value::count(grant.user_id.0),
            "stream" => Value::count(grant.stream_id.0),
            "role" => grant.role.as_str().into(),
            "name" => grant.name.as_deref()?.into(),
            "age" => self.age(grant.created_at),
            "by" => grant.created_by.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.user_id.to_string());
        visit(self.item.role.as_str());
        visit(&self.item.created_by);
        self.item.name.iter().for_each(|text| visit(text));
    }
}

impl Columns for At<'_, Grant> {
    const COLUMNS: &'static [Column] = &[
        Column::new("user", Number),
        Column::new("stream", Number),
        Column::new("role", Word(&["moderator", "broadcaster"])),
        Column::new("name", Text),
        Column::new("age", Duration),
        Column::new("by", Text),
    ];
}
