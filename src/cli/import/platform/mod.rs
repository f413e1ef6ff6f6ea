//! Reads the items of each tool. Which tool wrote an item is told by its keys.

mod chat_downloader;
mod twitch;
mod youtube;

use serde_json::Value;

use super::placement::ItemTime;

/// Something that an item has.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Imported {
    Event(ImportedEvent),
    /// It has something that a recording cannot have, for this reason.
    Skipped(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ImportedEvent {
    Comment(ImportedComment),
    Deletion(ImportedDeletion),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImportedComment {
    pub(super) time: ItemTime,
    /// As the platform has it, so that a deletion finds it.
    pub(super) id: Option<String>,
    pub(super) user: String,
    /// With the platform in front, where it is known.
    pub(super) user_key: String,
    pub(super) text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImportedDeletion {
    pub(super) time: ItemTime,
    pub(super) id: String,
    pub(super) reason: Option<String>,
}

impl ImportedEvent {
    pub(super) fn time(&self) -> ItemTime {
        match self {
            Self::Comment(comment) => comment.time,
            Self::Deletion(deletion) => deletion.time,
        }
    }
}

/// The name of people whose name an export does not have.
const UNNAMED: &str = "unnamed";

/// Returns what an item has.
pub(super) fn read_item(item: &Value) -> Vec<Imported> {
    let Value::Object(fields) = item else { return vec![Imported::Skipped("no object")] };
    let has = |key: &str| fields.contains_key(key);
    if has("replayChatItemAction") || fields.keys().any(|key| key.ends_with("Action")) {
        return youtube::read(item);
    }
    if has("content_offset_seconds") || has("commenter") {
        return vec![twitch::read(item)];
    }
    if has("action_type") || has("message_type") || has("time_in_seconds") || has("author") {
        return vec![chat_downloader::read(item)];
    }
    vec![Imported::Skipped("of an unknown form")]
}

/// Returns a text that is there and not empty.
fn text<'a>(item: &'a Value, path: &str) -> Option<&'a str> {
    item.pointer(path)?.as_str().filter(|text| !text.is_empty())
}

/// Returns an id, which some tools write as a number.
fn id(item: &Value, path: &str) -> Option<String> {
    match item.pointer(path)? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Returns a number, which some tools write as a text.
fn number(item: &Value, path: &str) -> Option<f64> {
    let number = match item.pointer(path)? {
        Value::String(digits) => digits.trim().parse().ok()?,
        number => number.as_f64()?,
    };
    number.is_finite().then_some(number)
}

/// Returns microseconds of a number in a larger unit.
fn micros(number: f64, unit_us: f64) -> i64 {
    // Conversion saturates, and no export covers 290,000 years.
    (number * unit_us).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_are_read_in_both_forms() {
        let item = serde_json::json!({"a": "12", "b": 12, "c": "x", "d": "", "e": 1.5});
        assert_eq!(number(&item, "/a"), Some(12.0));
        assert_eq!(number(&item, "/b"), Some(12.0));
        assert_eq!(number(&item, "/c"), None);
        assert_eq!((id(&item, "/a"), id(&item, "/b")), (Some("12".into()), Some("12".into())));
        assert_eq!((id(&item, "/d"), text(&item, "/d")), (None, None));
        assert_eq!(micros(1.5, 1e6), 1_500_000);
        assert_eq!(read_item(&serde_json::json!([1])), [Imported::Skipped("no object")]);
        assert_eq!(read_item(&item), [Imported::Skipped("of an unknown form")]);
    }
}
