//! chat-downloader: `time_in_seconds` of the video, which may be negative, `timestamp` in
//! microseconds, an author with an id beside the name.

use serde_json::Value;

use super::{
    Imported, ImportedComment, ImportedDeletion, ImportedEvent, ItemTime, UNNAMED, id, micros,
    number, text,
};

/// `action_type`s that remove one message.
const REMOVALS: [&str; 4] =
    ["remove_chat_item", "mark_chat_item_as_deleted", "delete_message", "clear_message"];
/// `action_type`s that remove everything of an author.
const REMOVALS_BY_AUTHOR: [&str; 4] = [
    "remove_chat_item_by_author",
    "remove_chat_items_by_author",
    "mark_chat_items_by_author_as_deleted",
    "ban_user",
];

pub(super) fn read(item: &Value) -> Imported {
    let time = ItemTime {
        of_day_us: number(item, "/timestamp").map(|us| micros(us, 1.0)),
        of_video_us: number(item, "/time_in_seconds").map(|seconds| micros(seconds, 1e6)),
    };
    let action = text(item, "/action_type").unwrap_or("add_chat_message");
    let target = id(item, "/target_message_id");
    if REMOVALS.contains(&action) {
        return match target {
            Some(id) => Imported::Event(ImportedEvent::Deletion(ImportedDeletion {
                time,
                id,
                reason: text(item, "/message_type").map(str::to_owned),
            })),
            None => Imported::Skipped("removal without its message"),
        };
    }
    if REMOVALS_BY_AUTHOR.contains(&action) {
        return Imported::Skipped("removal of all of an author");
    }
    if item.get("author").is_none() && item.get("message").is_none() {
        return Imported::Skipped("no message");
    }
    let Some(message) = text(item, "/message") else {
        return Imported::Skipped("without text");
    };
    let names = ["/author/display_name", "/author/name"];
    let name = names.iter().find_map(|path| text(item, path));
    let message_id = id(item, "/message_id");
    let key = match (id(item, "/author/id"), name, &message_id) {
        (Some(id), _, _) => format!("author:{id}"),
        (None, Some(name), _) => format!("name:{name}"),
        // Nothing says who wrote it, so it is nobody else.
        (None, None, id) => format!("message:{}", id.as_deref().unwrap_or(message)),
    };
    Imported::Event(ImportedEvent::Comment(ImportedComment {
        time,
        id: message_id,
        user: name.unwrap_or(UNNAMED).to_owned(),
        user_key: key,
        text: message.to_owned(),
    }))
}
