//! YouTube's live chat, as its page receives it and yt-dlp stores it: actions, with the time of the
//! video around them or inside.

use serde_json::Value;

use super::{
    Imported, ImportedComment, ImportedDeletion, ImportedEvent, ItemTime, UNNAMED, id, micros,
    number, text,
};

/// Items with a message of a person.
const MESSAGES: [&str; 3] = [
    "liveChatTextMessageRenderer",
    "liveChatPaidMessageRenderer",
    "liveChatMembershipItemRenderer",
];

pub(super) fn read(item: &Value) -> Vec<Imported> {
    let Some(replay) = item.get("replayChatItemAction") else {
        return vec![action(item, None)];
    };
    // Around the actions in some dumps, beside them in others.
    let offset = number(item, "/videoOffsetTimeMsec")
        .or_else(|| number(replay, "/videoOffsetTimeMsec"))
        .map(|ms| micros(ms, 1e3));
    match replay.get("actions").and_then(Value::as_array) {
        Some(actions) => actions.iter().map(|item| action(item, offset)).collect(),
        None => vec![Imported::Skipped("of an unknown form")],
    }
}

fn action(action: &Value, offset: Option<i64>) -> Imported {
    let time = ItemTime { of_day_us: None, of_video_us: offset };
    if let Some(item) = action.pointer("/addChatItemAction/item") {
        return message(item, time);
    }
    if let Some(item) = action.pointer("/replaceChatItemAction/replacementItem") {
        return message(item, time);
    }
    for key in ["markChatItemAsDeletedAction", "removeChatItemAction"] {
        if let Some(deletion) = action.get(key) {
            return match id(deletion, "/targetItemId") {
                Some(id) => Imported::Event(ImportedEvent::Deletion(ImportedDeletion {
                    time,
                    id,
                    reason: None,
                })),
                None => Imported::Skipped("removal without its message"),
            };
        }
    }
    let has = |part: &str| action.as_object().is_some_and(|a| a.keys().any(|k| k.contains(part)));
    Imported::Skipped(match () {
        () if has("ByAuthor") => "removal of all of an author",
        () if has("Ticker") => "ticker",
        () if has("ction") || has("Command") => "no message",
        () => "of an unknown form",
    })
}

fn message(item: &Value, time: ItemTime) -> Imported {
    let Some(message) = MESSAGES.iter().find_map(|key| item.get(key)) else {
        return Imported::Skipped("no message");
    };
    let text_runs = runs(message.pointer("/message/runs"));
    let Some(text_runs) =
        text_runs.or_else(|| text(message, "/message/simpleText").map(Into::into))
    else {
        return Imported::Skipped("without text");
    };
    let of_day_us = number(message, "/timestampUsec").map(|us| micros(us, 1.0));
    let name = text(message, "/authorName/simpleText").map(str::to_owned);
    let name = name.or_else(|| runs(message.pointer("/authorName/runs")));
    let message_id = id(message, "/id");
    let user_key = match (id(message, "/authorExternalChannelId"), &name, &message_id) {
        (Some(id), _, _) => format!("youtube:{id}"),
        (None, Some(name), _) => format!("youtube:name:{name}"),
        (None, None, id) => format!("youtube:message:{}", id.as_deref().unwrap_or(&text_runs)),
    };
    Imported::Event(ImportedEvent::Comment(ImportedComment {
        time: ItemTime { of_day_us, ..time },
        id: message_id,
        user: name.unwrap_or_else(|| UNNAMED.to_owned()),
        user_key,
        text: text_runs,
    }))
}

/// Joins the runs of a text. An emoji is itself, or its shortcut if only YouTube has it.
fn runs(runs: Option<&Value>) -> Option<String> {
    let mut joined = String::new();
    for run in runs?.as_array()? {
        if let Some(part) = text(run, "/text") {
            joined.push_str(part);
        } else if let Some(emoji) = run.get("emoji") {
            let is_custom = emoji.get("isCustomEmoji").and_then(Value::as_bool).unwrap_or(false);
            let shortcut = text(emoji, "/shortcuts/0");
            let itself = text(emoji, "/emojiId");
            let shown = if is_custom { shortcut.or(itself) } else { itself.or(shortcut) };
            joined.push_str(shown.unwrap_or_default());
        }
    }
    (!joined.is_empty()).then_some(joined)
}
