//! TwitchDownloader: whole seconds of the video beside a finer `created_at`; `commenter` is null
//! for accounts that were deleted.

use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::{
    Imported, ImportedComment, ImportedEvent, ItemTime, UNNAMED, id, micros, number, text,
};

/// The name of people whose account is gone.
const DELETED_ACCOUNT: &str = "deleted account";

pub(super) fn read(item: &Value) -> Imported {
    let time = ItemTime {
        of_day_us: text(item, "/created_at").and_then(time_of_day),
        of_video_us: number(item, "/content_offset_seconds").map(|seconds| micros(seconds, 1e6)),
    };
    let Some(message) = text(item, "/message/body").map(str::to_owned).or_else(|| fragments(item))
    else {
        return Imported::Skipped("without text");
    };
    let message_id = id(item, "/_id");
    let has_account = item.get("commenter").is_some_and(Value::is_object);
    let user_key = match id(item, "/commenter/_id").filter(|_| has_account) {
        Some(id) => format!("twitch:{id}"),
        // Each may have been another account.
        None => format!("twitch:deleted:{}", message_id.as_deref().unwrap_or(&message)),
    };
    let names = ["/commenter/display_name", "/commenter/name"];
    let name = names.iter().find_map(|path| text(item, path));
    let unnamed = if has_account { UNNAMED } else { DELETED_ACCOUNT };
    Imported::Event(ImportedEvent::Comment(ImportedComment {
        time,
        id: message_id,
        user: name.unwrap_or(unnamed).to_owned(),
        user_key,
        text: message,
    }))
}

/// Returns the parts of a message that has no body.
fn fragments(item: &Value) -> Option<String> {
    let fragments = item.pointer("/message/fragments")?.as_array()?;
    let joined: String = fragments.iter().filter_map(|part| text(part, "/text")).collect();
    (!joined.is_empty()).then_some(joined)
}

/// Parses `2024-01-01T00:00:10.5Z`.
fn time_of_day(text: &str) -> Option<i64> {
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}
