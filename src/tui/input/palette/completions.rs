//! The lines that a line of the palette may become.

use super::acts::{ACTS, GOTO};
use crate::protocol::StreamId;
use crate::protocol::admin::{NodeStatus, ProblemCode};
use crate::protocol::room::TermAction;
use crate::protocol::room::words::RULES;
use crate::tui::commands::COMMANDS;
use crate::tui::state::Console;
use crate::tui::theme::ThemeName;

/// Completions that are shown.
const MAX_COMPLETIONS: usize = 8;

/// Returns what a line may become, each with what follows it.
pub(crate) fn completions(console: &Console, typed: &str) -> Vec<(String, String)> {
    let typed = typed.trim_start();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut add = |text: String, about: &str| {
        if text.starts_with(typed) && found.len() < MAX_COMPLETIONS {
            found.push((text, about.to_owned()));
        }
    };
    let moment = console.moment();
    for verb in ["stream", "room", "throttle", "announce"] {
        if let Some(rest) = typed.strip_prefix(verb).and_then(|rest| rest.strip_prefix(' ')) {
            let streams = moment.map_or(&[][..], |moment| &moment.snapshot.streams);
            let known = streams.iter().filter(|s| s.stream_id.to_string().starts_with(rest.trim()));
            known.for_each(|stream| add(format!("{verb} {} ", stream.stream_id), &stream.title));
        }
    }
    for verb in ["node", "drain"] {
        if typed.strip_prefix(verb).is_some_and(|rest| rest.starts_with(' ')) {
            let nodes = moment.map_or(&[][..], |moment| &moment.snapshot.nodes);
            let roles = |node: &NodeStatus| node.roles.join(" ");
            nodes.iter().for_each(|node| add(format!("{verb} {}", node.node), &roles(node)));
        }
    }
    if let Some((id, rest)) = typed.strip_prefix("room ").and_then(|rest| rest.split_once(' ')) {
        let rule = rest.split(' ').next().unwrap_or_default();
        for known in RULES {
            add(format!("room {id} {} ", known.name), known.values);
        }
        if RULES.iter().any(|known| known.name == rule && known.values == "on|off") {
            ["on", "off"].iter().for_each(|state| add(format!("room {id} {rule} {state}"), ""));
        }
        add(format!("room {id} terms add "), "WORD… [--action reject|shadow-ban|flag]");
        add(format!("room {id} terms remove "), "WORD…, as they are listed");
        add(format!("room {id} terms list"), "show the blocked terms");
        if let Some(words) = rest.strip_prefix("terms remove ") {
            for (line, action) in terms_to_remove(console, id, words) {
                add(format!("room {id} terms remove {line}"), action);
            }
        }
        if let Some(words) = rest.strip_prefix("terms add ")
            && let Some((words, _)) = words.split_once(" --")
        {
            for action in TermAction::ALL {
                add(format!("room {id} terms add {words} --action {}", action.word()), "");
            }
        }
        add(format!("room {id} checks --down "), "pass|hold; or --late END, --deadline TIME");
        add(format!("room {id} clear --last "), "10m [--reason WORD] [--note TEXT]");
    }
    if typed.starts_with("unshadow ") {
        for shadow in &console.side.shadows {
            let name = shadow.name.clone().unwrap_or_default();
            add(format!("unshadow id:{}", shadow.user_id), &format!("{name}, {}", shadow.text()));
        }
    }
    if typed.starts_with("acknowledge ") {
        let losses = ProblemCode::LOSSES.map(ProblemCode::as_str);
        losses.iter().for_each(|loss| add(format!("acknowledge {loss}"), "end its warnings"));
    }
    if typed.starts_with("alerts ack ") {
        let alarms = moment.map_or(&[][..], |moment| &moment.alarms);
        let told = alarms.iter().filter_map(|alarm| Some((alarm.id.as_ref()?, alarm)));
        told.for_each(|(id, alarm)| add(format!("alerts ack {id}"), &alarm.text));
    }
    if typed.starts_with('@') || typed.starts_with("forget ") {
        for view in &console.side.views {
            let about = format!("{}, saved by {}", view.settings.view, view.saved_by);
            add(format!("@{}", view.name), &about);
            add(format!("forget {}", view.name), &about);
        }
    }
    if typed.starts_with("alert off ") {
        let rules = console.own_alerts.numbered();
        rules.for_each(|(number, rule)| add(format!("alert off {number}"), &rule));
    }
    if typed.starts_with("ctx ") {
        for context in console.contexts() {
            let what = if context.read_only { ", read-only" } else { "" };
            add(format!("ctx {}", context.name), &format!("{}{what}", context.place));
        }
    }
    if typed.starts_with("theme ") {
        ThemeName::ALL.iter().for_each(|theme| add(format!("theme {}", theme.as_str()), ""));
    }
    ACTS.iter().chain(GOTO).for_each(|(verb, rest)| add(format!("{verb} "), rest));
    let names = COMMANDS.iter().filter(|entry| !entry.acts);
    names.for_each(|entry| add(entry.name.to_owned(), entry.help));
    found
}

/// Returns what the words of `terms remove` may become, each with the action of the last term.
fn terms_to_remove<'a>(
    console: &'a Console,
    id: &str,
    words: &str,
) -> impl Iterator<Item = (String, &'a str)> {
    let read = id.parse::<StreamId>().ok().and_then(|id| console.side.terms_of(id));
    let terms = read.and_then(|read| read.terms.as_ref().ok()).map_or(&[][..], Vec::as_slice);
    // The last word begins at a quotation mark that is not closed, or else behind a space.
    let begins_at = if words.matches('"').count() % 2 == 1 {
        words.rfind('"').unwrap_or(0)
    } else {
        words.rfind(' ').map_or(0, |at| at + 1)
    };
    let before = words[..begins_at].to_owned();
    terms.iter().filter_map(move |known| {
        let term = &known.term;
        // The palette has no other way to write a quotation mark.
        let word = match (term.contains(char::is_whitespace), term.contains(['"', '\''])) {
            (_, true) => return None,
            (true, false) => format!("\"{term}\""),
            (false, false) => term.clone(),
        };
        Some((format!("{before}{word}"), known.action.word()))
    })
}
