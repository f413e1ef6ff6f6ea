//! The columns of users that say most and of texts that many users say.

use super::Kind::{Number, Text};
use super::{Column, Columns, Row, Value};
use crate::protocol::admin::{SameText, Talker};

impl Row for Talker {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "user" => Value::count(self.user_id.0),
            "name" => self.name.as_str().into(),
            "said" => Value::count(self.said),
            "error" => Value::count(self.error),
            "refused" => Value::count(self.refused),
            "removed" => Value::count(self.removed),
            "text" => Value::count(self.text.into()),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.user_id.to_string());
        visit(&self.name);
    }
}

impl Columns for Talker {
    const COLUMNS: &'static [Column] = &[
        Column::new("user", Number),
        Column::new("name", Text),
        Column::new("said", Number),
        Column::new("error", Number),
        Column::new("refused", Number),
        Column::new("removed", Number),
        Column::new("text", Number),
    ];
}

impl Row for SameText {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "id" => Value::count(self.id.into()),
            "users" => Value::count(self.users),
            "said" => Value::count(self.said),
            "error" => Value::count(self.error),
            "new" => Value::count(self.new),
            "text" => self.text.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.text);
    }
}

impl Columns for SameText {
    const COLUMNS: &'static [Column] = &[
        Column::new("id", Number),
        Column::new("users", Number),
        Column::new("said", Number),
        Column::new("error", Number),
        Column::new("new", Number),
        Column::new("text", Text),
    ];
}
