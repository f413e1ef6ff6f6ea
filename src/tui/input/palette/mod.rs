//! The command line: names of the table of commands, places, times, and the `lc` commands that act.

mod acts;
mod completions;

use crossterm::event::{KeyCode, KeyEvent};

use self::acts::{parse_act, parsed, words};
pub(crate) use self::completions::completions;
use super::acting::request;
use super::run::run_command;
use super::typing::edit_of_key;
use crate::protocol::admin::{DrainRequest, ForgetViewRequest, SaveViewRequest};
use crate::protocol::{NodeId, StreamId};
use crate::tui::act::Action;
use crate::tui::commands::COMMANDS;
use crate::tui::state::{Console, Effect, Mode, NOT_REMEMBERED, Notice, Palette, Place, READ_ONLY};
use crate::tui::theme::ThemeName;

/// Why a line is no command.
type LineError = String;

/// Nothing is known that the line could name.
const NO_SNAPSHOT: &str = "there is no snapshot yet";

pub(super) fn press(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    let Mode::Palette(line) = &mut console.mode else { return None };
    match key.code {
        KeyCode::Esc => console.mode = Mode::Watching,
        KeyCode::Tab | KeyCode::BackTab => complete(console, key.code == KeyCode::Tab),
        KeyCode::Enter => {
            let text = line.text.clone();
            console.mode = Mode::Watching;
            match run_line(console, &text) {
                Ok(effect) => return effect,
                Err(error) => {
                    let line =
                        Palette { error: Some(error), typed: text.clone(), text, chosen: None };
                    console.mode = Mode::Palette(line);
                }
            }
        }
        _ => {
            if let Some(edit) = edit_of_key(key) {
                edit.apply(&mut line.text);
                line.typed.clone_from(&line.text);
                (line.error, line.chosen) = (None, None);
            }
        }
    }
    None
}

fn complete(console: &mut Console, forward: bool) {
    let Mode::Palette(line) = &console.mode else { return };
    let choices = completions(console, &line.typed);
    if choices.is_empty() {
        return;
    }
    let count = choices.len();
    let next = match (line.chosen, forward) {
        (None, true) => 0,
        (None, false) => count - 1,
        (Some(at), true) => (at + 1) % count,
        (Some(at), false) => (at + count - 1) % count,
    };
    let text = choices.into_iter().nth(next).map(|(text, _)| text);
    let Mode::Palette(line) = &mut console.mode else { return };
    line.text = text.unwrap_or_default();
    line.chosen = Some(next);
}

/// Runs a line that was entered.
fn run_line(console: &mut Console, line: &str) -> Result<Option<Effect>, LineError> {
    let words = words(line)?;
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Lines copied from a shell begin with the program.
    if words.first() == Some(&"lc") {
        words.remove(0);
    }
    match words[..] {
        [] => Ok(None),
        ["stream" | "streams", id] => {
            let stream_id = stream(console, id)?;
            console.go(Place::Stream(stream_id));
            Ok(None)
        }
        ["node" | "nodes", name] => {
            let node = NodeId::new(name);
            check_node(console, &node)?;
            console.go(Place::Node(node));
            Ok(None)
        }
        ["at", time] => {
            let at_ms = time_of_day(time, console.latest_ms())?;
            if !console.go_to(at_ms) {
                return Err(NOT_REMEMBERED.to_owned());
            }
            Ok(None)
        }
        ["save", name] => {
            let name = name.strip_prefix('@').unwrap_or(name).to_owned();
            let settings = console.view_settings();
            Ok(change_view(console, Action::SaveView(SaveViewRequest { name, settings })))
        }
        ["forget", name] => {
            let name = name.strip_prefix('@').unwrap_or(name).to_owned();
            Ok(change_view(console, Action::ForgetView(ForgetViewRequest { name })))
        }
        [word] if word.starts_with('@') => {
            let saved = console.saved(&word[1..]).cloned();
            let saved =
                saved.ok_or_else(|| format!("there is no view {word}; @ and Tab list them"))?;
            console.show_saved(&saved)?;
            Ok(None)
        }
        ["alert", ..] if console.replay().is_some() => {
            Err("this is a recording: alerts of your own need a daemon".to_owned())
        }
        ["alert"] => {
            let list = console.own_alerts.list(console.now_ms());
            console.notice = Some(Notice::Done(list));
            Ok(None)
        }
        ["alert", "off", number] => {
            let number = parsed(number)?;
            let removed = console.own_alerts.remove(number);
            let rule = removed.ok_or_else(|| format!("there is no alert {number} of yours"))?;
            console.notice = Some(Notice::Done(format!("removed alert {number}: {rule}")));
            Ok(None)
        }
        ["alert", "off", ..] => Err("write: alert off N; alert lists their numbers".to_owned()),
        ["alert", ..] => {
            // As it was typed: quotes belong to the condition.
            let rule = line.split_once("alert ").map_or("", |(_, rule)| rule);
            let (number, rule) = console.own_alerts.add(rule)?;
            let text = format!("alert {number}: {rule}; alert off {number} removes it");
            console.notice = Some(Notice::Done(text));
            Ok(None)
        }
        ["ctx", ..] if console.replay().is_some() => {
            Err("this is a recording: it has no daemon".to_owned())
        }
        ["ctx"] => {
            console.notice = Some(Notice::Done(console.contexts_in_words()?));
            Ok(None)
        }
        ["ctx", name] => Ok(Some(Effect::Attach(console.context_named(name)?.name.clone()))),
        ["theme", name] => {
            let theme = ThemeName::named(name).ok_or(format!("there is no theme {name}"))?;
            console.theme = theme;
            Ok(None)
        }
        ["room", id, "terms"] | ["room", id, "terms", "list"] => {
            console.notice = Some(Notice::Done(listed_terms(console, parsed(id)?)?));
            Ok(None)
        }
        [name] if COMMANDS.iter().any(|entry| entry.name == name && !entry.acts) => {
            let entry = COMMANDS.iter().find(|entry| entry.name == name);
            Ok(entry.and_then(|entry| run_command(console, entry.command)))
        }
        _ => {
            let action = parse_act(&words, |stream_id| shortest_timeout(console, stream_id))?;
            if let Action::Drain(DrainRequest { node: Some(node), .. }) = &action {
                check_node(console, node)?;
            }
            if let Some(why) = console.acts_off() {
                console.notice = Some(Notice::Failed(why));
                return Ok(None);
            }
            Ok(request(console, vec![action]))
        }
    }
}

/// Requests a change of the saved views. It changes nothing for viewers, so it needs no unlocking.
fn change_view(console: &mut Console, action: Action) -> Option<Effect> {
    if let Some(why) = console.acts_off().filter(|_| console.replay().is_some()) {
        console.notice = Some(Notice::Failed(why));
        return None;
    }
    if console.lock.is_read_only() {
        console.notice = Some(Notice::Failed(READ_ONLY.to_owned()));
        return None;
    }
    request(console, vec![action])
}

fn stream(console: &Console, text: &str) -> Result<StreamId, LineError> {
    let stream_id: StreamId = parsed(text)?;
    let moment = console.moment().ok_or(NO_SNAPSHOT)?;
    let known = moment.stream(stream_id).is_some();
    if known { Ok(stream_id) } else { Err(format!("there is no stream {text}")) }
}

/// Returns the shortest timeout that moderators of a room choose from, or else the default.
fn shortest_timeout(console: &Console, stream_id: StreamId) -> Result<u64, LineError> {
    let moment = console.moment().ok_or(NO_SNAPSHOT)?;
    let stream = moment.stream(stream_id);
    let stream = stream.ok_or_else(|| format!("there is no stream {stream_id}"))?;
    Ok(stream.room.shortest_timeout_ms())
}

/// Lists the blocked terms of a room, which were read while the line was typed.
fn listed_terms(console: &Console, stream_id: StreamId) -> Result<String, LineError> {
    if console.replay().is_some() {
        return Err("this is a recording: terms of rooms need a daemon".to_owned());
    }
    let read = console.side.terms_of(stream_id);
    let read = read.ok_or("the terms are still being read: press Enter again")?;
    read.in_words(console.veiled)
}

fn check_node(console: &Console, node: &NodeId) -> Result<(), LineError> {
    let moment = console.moment().ok_or(NO_SNAPSHOT)?;
    let known = moment.node(node).is_some() || moment.snapshot.unreachable.contains(node);
    if known { Ok(()) } else { Err(format!("there is no node {node}")) }
}

/// Returns the latest time of day that is not after `now_ms`.
fn time_of_day(text: &str, now_ms: u64) -> Result<u64, LineError> {
    let wrong = || format!("{text} is not a time: write 13:01 or 13:01:07");
    let parts: Vec<u64> =
        text.split(':').map(str::parse::<u64>).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let seconds = match parts[..] {
        [h @ 0..24, m @ 0..60] => h * 3_600 + m * 60,
        [h @ 0..24, m @ 0..60, s @ 0..60] => h * 3_600 + m * 60 + s,
        _ => return Err(wrong()),
    };
    let day = now_ms / 86_400_000 * 86_400_000;
    let today = day + seconds * 1_000;
    Ok(if today > now_ms { today.saturating_sub(86_400_000) } else { today })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_last_one() {
        let now = 1_795_254_408_000; // 09:46:48
        assert_eq!(time_of_day("09:46", now), Ok(now - 48_000));
        assert_eq!(time_of_day("09:46:50", now), Ok(now + 2_000 - 86_400_000));
        assert!(time_of_day("25:00", now).is_err() && time_of_day("noon", now).is_err());
    }
}
