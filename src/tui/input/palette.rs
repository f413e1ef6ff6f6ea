//! The command line: names of the table of commands, places, times, and the `lc` commands that act.

use std::fmt::Display;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent};

use super::acting::{request, user_ref};
use super::run::run_command;
use super::typing::edit_of_key;
use crate::protocol::admin::{
    AckRequest, AcknowledgeRequest, AnnounceRequest, ClaimRequest, DeleteOfUserRequest,
    DeleteRequest, DirectRequest, DrainRequest, ForgetViewRequest, NodeStatus, ProblemCode,
    RestoreRequest, ReviewRequest, SanctionRequest, SaveViewRequest, ThrottleRequest, UndoRequest,
    UserRequest,
};
use crate::protocol::quantity::{parse_duration, parse_share};
use crate::protocol::{NodeId, StreamId};
use crate::tui::act::Action;
use crate::tui::commands::COMMANDS;
use crate::tui::state::{Console, Effect, Mode, NOT_REMEMBERED, Notice, Palette, Place, READ_ONLY};
use crate::tui::theme::ThemeName;

/// Completions that are shown.
const MAX_COMPLETIONS: usize = 8;
/// The `lc` commands that are accepted, with what follows them.
const ACTS: &[(&str, &str)] = &[
    ("ban", "USER [--for 7d] [--reason TEXT] [--note TEXT]"),
    ("timeout", "USER [--for 10m] [--reason TEXT] [--note TEXT]"),
    ("kick", "USER [--note TEXT]"),
    ("unban", "USER [--note TEXT]"),
    ("throttle", "STREAM auto|SHARE [--for 10m]"),
    ("announce", "STREAM TEXT"),
    ("delete", "COMMENT [--reason WORD] [--note TEXT]"),
    ("mod approve", "COMMENT [--note TEXT]"),
    ("mod reject", "COMMENT [--reason WORD] [--note TEXT]"),
    ("mod restore", "COMMENT [--note TEXT]"),
    ("mod claim", "COMMENT [--release]"),
    ("dm", "USER TEXT"),
    ("delete --user", "USER --last 10m [--stream STREAM] [--reason WORD] [--note TEXT]"),
    ("drain", "[NODE] [--undo]"),
    ("alerts ack", "ALERT [--note TEXT]"),
    ("acknowledge", "PROBLEM"),
    ("undo", "AUDIT [--note TEXT]"),
];
/// Words of the palette beside the commands, each with its argument.
const GOTO: &[(&str, &str)] = &[
    ("stream", "STREAM"),
    ("node", "NODE"),
    ("at", "13:01 or 13:01:07, UTC"),
    ("save", "NAME: keep this view as @NAME for all operators"),
    ("forget", "NAME: remove the view @NAME"),
    ("alert", "CONDITION [for 30s], or off N; alone it lists your alerts"),
    ("ctx", "NAME: attach to another context of lc ctx; without NAME it lists them"),
    ("theme", "dark, light, high-contrast, blue-orange or mono"),
];

/// Why a line is no command.
type LineError = String;

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
    for verb in ["stream", "throttle", "announce"] {
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
        [name] if COMMANDS.iter().any(|entry| entry.name == name && !entry.acts) => {
            let entry = COMMANDS.iter().find(|entry| entry.name == name);
            Ok(entry.and_then(|entry| run_command(console, entry.command)))
        }
        _ => {
            let action = parse_act(&words)?;
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

/// The words of a command without its options, and its options.
struct Given<'a> {
    words: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
    undo: bool,
    release: bool,
}

impl<'a> Given<'a> {
    fn parse(words: &[&'a str]) -> Result<Self, LineError> {
        let mut given =
            Self { words: Vec::new(), options: Vec::new(), undo: false, release: false };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match word.strip_prefix("--") {
                Some("undo") => given.undo = true,
                Some("release") => given.release = true,
                Some(name @ ("for" | "reason" | "note" | "user" | "last" | "stream")) => {
                    let value = rest.next().ok_or(format!("--{name} needs a value"))?;
                    given.options.push((name, value));
                }
                Some(name) => return Err(format!("--{name} is not known here")),
                None => given.words.push(word),
            }
        }
        Ok(given)
    }

    /// Refuses an option that the command does not take: it would be ignored.
    fn check_options(&self) -> Result<(), LineError> {
        let verb = self.words.first().copied();
        let usages: Vec<_> = ACTS.iter().filter(|(act, _)| act.split(' ').next() == verb).collect();
        let takes = |name: &str| {
            let option = format!("--{name}");
            usages.iter().any(|(act, rest)| act.contains(&option) || rest.contains(&option))
        };
        let flags = [("undo", self.undo), ("release", self.release)];
        let flags = flags.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name);
        let mut names = self.options.iter().map(|(name, _)| *name).chain(flags);
        match names.find(|name| !usages.is_empty() && !takes(name)) {
            Some(name) => Err(format!("--{name} is not known here")),
            None => Ok(()),
        }
    }

    fn option(&self, name: &str) -> Option<String> {
        let given = self.options.iter().find(|(known, _)| *known == name);
        given.map(|(_, value)| (*value).to_owned())
    }

    fn duration_ms(&self) -> Result<Option<u64>, LineError> {
        let Some(text) = self.option("for") else { return Ok(None) };
        let duration = parse_duration(&text)?;
        Ok(Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

fn parse_act(words: &[&str]) -> Result<Action, LineError> {
    let given = Given::parse(words)?;
    given.check_options()?;
    let sanction = |user: &str, default_ms: Option<u64>| -> Result<_, LineError> {
        Ok(SanctionRequest {
            user: user_ref(user),
            reason: given.option("reason"),
            note: given.option("note"),
            duration_ms: given.duration_ms()?.or(default_ms),
        })
    };
    let user = |user: &str| UserRequest { user: user_ref(user), note: given.option("note") };
    let review = |id: &str| -> Result<_, LineError> {
        let comment_id = parsed(id)?;
        Ok(ReviewRequest { comment_id, reason: given.option("reason"), note: given.option("note") })
    };
    match given.words[..] {
        ["ban", name] => Ok(Action::Ban(sanction(name, None)?)),
        ["timeout", name] => Ok(Action::Timeout(sanction(name, Some(600_000))?)),
        ["kick", name] => Ok(Action::Kick(user(name))),
        ["unban", name] => Ok(Action::Unban(user(name))),
        ["throttle", id, "auto"] => {
            let stream_id = parsed(id)?;
            let for_ms = given.duration_ms()?;
            if for_ms.is_some() {
                return Err("auto does not end: leave out --for".to_owned());
            }
            Ok(Action::Throttle(ThrottleRequest { stream_id, sample_rate: None, for_ms }))
        }
        ["throttle", id, share] => {
            let sample_rate = Some(parse_share(share)?);
            let for_ms = given.duration_ms()?;
            Ok(Action::Throttle(ThrottleRequest { stream_id: parsed(id)?, sample_rate, for_ms }))
        }
        ["announce", id, ref text @ ..] if !text.is_empty() => {
            let message = text.join(" ");
            Ok(Action::Announce(AnnounceRequest { stream_id: parsed(id)?, message }))
        }
        ["dm", name, ref text @ ..] if !text.is_empty() => {
            let message = text.join(" ");
            Ok(Action::Direct(DirectRequest { user: user_ref(name), message }))
        }
        ["delete"] => delete_of_user(&given),
        ["delete", id] if given.option("user").is_none() => {
            let ReviewRequest { comment_id, reason, note } = review(id)?;
            Ok(Action::Delete(DeleteRequest { comment_id, reason, note }))
        }
        ["mod", "approve", id] => Ok(Action::Approve(review(id)?)),
        ["mod", "reject", id] => Ok(Action::Reject(review(id)?)),
        ["mod", "restore", id] => {
            let ReviewRequest { comment_id, note, .. } = review(id)?;
            Ok(Action::Restore(RestoreRequest { comment_id, note }))
        }
        ["mod", "claim", id] => {
            let release = given.release;
            Ok(Action::Claim(ClaimRequest { comment_id: parsed(id)?, release }))
        }
        ["alerts", "ack", id] => {
            let note = given.option("note");
            Ok(Action::Acknowledge(AckRequest { id: id.to_owned(), note }))
        }
        ["acknowledge", problem] => {
            let losses = ProblemCode::LOSSES.map(ProblemCode::as_str);
            let loss = ProblemCode::loss(problem)
                .ok_or_else(|| format!("{problem} is no loss: write {}", losses.join(", ")))?;
            let problem = loss.as_str().to_owned();
            Ok(Action::AcknowledgeLoss(AcknowledgeRequest { problem }))
        }
        ["undo", id] => {
            let note = given.option("note");
            Ok(Action::Undo(UndoRequest { audit_id: parsed(id)?, note }))
        }
        ["drain"] => Ok(Action::Drain(DrainRequest { node: None, undo: given.undo })),
        ["drain", name] => {
            let node = Some(NodeId::new(name));
            Ok(Action::Drain(DrainRequest { node, undo: given.undo }))
        }
        [verb, ..] => {
            let usage = ACTS.iter().chain(GOTO).find(|(known, _)| known.starts_with(verb));
            Err(match usage {
                Some((verb, rest)) => format!("write: {verb} {rest}"),
                None => format!("there is no command {verb}; Tab shows them"),
            })
        }
        [] => Err("write a command; Tab shows them".to_owned()),
    }
}

fn delete_of_user(given: &Given<'_>) -> Result<Action, LineError> {
    let user = given.option("user");
    let user = user.ok_or("write: delete COMMENT, or delete --user USER --last 10m")?;
    let last = given.option("last").ok_or("--user needs a time, such as --last 10m")?;
    let last = parse_duration(&last)?;
    let stream_id: Option<StreamId> = given.option("stream").map(|id| parsed(&id)).transpose()?;
    Ok(Action::DeleteOfUser(DeleteOfUserRequest {
        user: user_ref(&user),
        last_ms: u64::try_from(last.as_millis()).unwrap_or(u64::MAX),
        stream_id,
        reason: given.option("reason"),
        note: given.option("note"),
    }))
}

fn stream(console: &Console, text: &str) -> Result<StreamId, LineError> {
    let stream_id: StreamId = parsed(text)?;
    let known = console.moment().is_some_and(|moment| moment.stream(stream_id).is_some());
    if known { Ok(stream_id) } else { Err(format!("there is no stream {text}")) }
}

fn check_node(console: &Console, node: &NodeId) -> Result<(), LineError> {
    let moment = console.moment().ok_or("there is no snapshot yet")?;
    let known = moment.node(node).is_some() || moment.snapshot.unreachable.contains(node);
    if known { Ok(()) } else { Err(format!("there is no node {node}")) }
}

/// Reads an id.
fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, LineError> {
    text.parse::<T>().map_err(|error| format!("{text}: {error}"))
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

/// Divides a line into words; quotes keep spaces.
fn words(line: &str) -> Result<Vec<String>, LineError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(line: &str) -> Result<Action, LineError> {
        let words = words(line)?;
        parse_act(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn lc_commands_become_their_requests() {
        let Ok(Action::Ban(ban)) = act("ban zed_k --for 7d --reason \"see ticket 7\"") else {
            panic!()
        };
        assert_eq!((ban.user.0.as_str(), ban.duration_ms), ("zed_k", Some(604_800_000)));
        assert_eq!(ban.reason.as_deref(), Some("see ticket 7"));
        assert!(
            matches!(act("timeout ann"), Ok(Action::Timeout(t)) if t.duration_ms == Some(600_000))
        );
        assert!(
            matches!(act("throttle 7 auto"), Ok(Action::Throttle(t)) if t.sample_rate.is_none())
        );
        assert!(matches!(act("throttle 7 2%"), Ok(Action::Throttle(t)) if t.sample_rate.is_some()));
        assert!(matches!(act("drain --undo"), Ok(Action::Drain(d)) if d.undo && d.node.is_none()));
        let Ok(Action::Drain(drain)) = act("drain edge-12") else { panic!() };
        assert_eq!((drain.node, drain.undo), (Some(NodeId::new("edge-12")), false));
        assert!(matches!(act("undo 17"), Ok(Action::Undo(u)) if u.audit_id == 17));
        let comment = "78353400-e590-11f1-8007-010101010101";
        let restore = act(&format!("mod restore {comment} --note sorry"));
        assert!(matches!(restore, Ok(Action::Restore(r)) if r.note.as_deref() == Some("sorry")));
        let claim = act(&format!("mod claim {comment} --release"));
        assert!(matches!(claim, Ok(Action::Claim(claim)) if claim.release));
        assert!(
            matches!(act("alerts ack lag_high/a"), Ok(Action::Acknowledge(a)) if a.note.is_none())
        );
        for loss in ProblemCode::LOSSES.map(ProblemCode::as_str) {
            let Ok(Action::AcknowledgeLoss(ended)) = act(&format!("acknowledge {loss}")) else {
                panic!("{loss}")
            };
            assert_eq!(ended.problem, loss);
        }
        let Ok(Action::Direct(told)) = act("dm zed stop it") else { panic!() };
        assert_eq!((told.user.0.as_str(), told.message.as_str()), ("zed", "stop it"));
        let Ok(Action::DeleteOfUser(gone)) = act("delete --user zed --last 10m --stream 7") else {
            panic!()
        };
        assert_eq!((gone.user.0.as_str(), gone.last_ms), ("zed", 600_000));
        assert_eq!(gone.stream_id, Some(StreamId(7)));
        assert!(act("delete").unwrap_err().contains("delete COMMENT, or delete --user USER"));
        assert!(act("delete --user zed").unwrap_err().contains("--last 10m"));
        assert!(act(&format!("delete {comment} --user zed")).is_err());
        for ignored in ["kick zed --reason spam", "ban zed --last 1h", "undo 17 --undo"] {
            assert!(act(ignored).unwrap_err().contains("is not known here"), "{ignored}");
        }
        let Ok(Action::Announce(told)) = act("announce 7 back at 9") else { panic!() };
        assert_eq!(told.message, "back at 9");
    }

    #[test]
    fn wrong_lines_say_what_is_right() {
        for (line, part) in [
            ("ban", "write: ban USER"),
            ("ban zed --for", "--for needs a value"),
            ("ban zed --hard", "--hard is not known"),
            ("throttle 7 lots", "is not a share"),
            ("throttle seven 1%", "seven"),
            ("dance", "there is no command dance"),
            ("acknowledge", "write: acknowledge PROBLEM"),
            ("acknowledge places_low", "write log_replaced, history_incomplete"),
            ("ban \"zed", "quotation mark"),
        ] {
            let error = act(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_last_one() {
        let now = 1_795_254_408_000; // 09:46:48
        assert_eq!(time_of_day("09:46", now), Ok(now - 48_000));
        assert_eq!(time_of_day("09:46:50", now), Ok(now + 2_000 - 86_400_000));
        assert!(time_of_day("25:00", now).is_err() && time_of_day("noon", now).is_err());
    }
}
