//! The columns of what the cluster stands on: consumer groups, stores, dead letters.

use super::Kind::{Duration, Number, Text};
use super::{Column, Columns, Row, Value};
use crate::protocol::admin::GroupLag;

impl Row for GroupLag {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "group" => self.group.as_str().into(),
            "topic" => self.topic.as_str().into(),
            "behind" => Value::count(self.lag),
            "in_time" => Value::count(self.oldest_ms?),
            "change" => Value::Number(self.change?),
            "gone" => Value::count(self.expired),
            "partitions" => Value::count(self.partitions.len() as u64),
            "worst" => Value::count(self.worst()?.1),
            "owners" => self.owners_text().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.group);
        visit(&self.topic);
        self.owners.keys().for_each(|owner| visit(owner.as_str()));
    }
}

impl Columns for GroupLag {
    const COLUMNS: &'static [Column] = &[
        Column::new("group", Text),
        Column::new("topic", Text),
        Column::new("behind", Number),
        Column::new("in_time", Duration),
        Column::new("change", Number),
        Column::new("gone", Number),
        Column::new("partitions", Number),
        Column::new("worst", Number),
        Column::new("owners", Text),
    ];
}
