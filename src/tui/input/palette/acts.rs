//! The `lc` commands that act, as the palette reads them.

use std::fmt::Display;
use std::str::FromStr;

use super::LineError;
use crate::protocol::admin::{
    AckRequest, AcknowledgeRequest, AnnounceRequest, ClaimRequest, ClearRoomRequest,
    DeleteOfUserRequest, DeleteRequest, DirectRequest, DrainRequest, ProblemCode, RestoreRequest,
    ReviewRequest, SanctionRequest, ShadowRequest, ThrottleRequest, UnbanRequest, UndoRequest,
    UserRequest,
};
use crate::protocol::quantity::{parse_duration, parse_share};
use crate::protocol::room::words::RULES;
use crate::protocol::room::{
    ChecksPatch, DEFAULT_TIMEOUT_MS, LanguageAction, RoomPatch, RoomTerm, TermAction, TermsPatch,
};
use crate::protocol::{NodeId, StreamId};
use crate::tui::act::Action;
use crate::tui::input::acting::user_ref;

/// The `lc` commands that are accepted, with what follows them.
pub(super) const ACTS: &[(&str, &str)] = &[
    ("ban", "USER [--for 7d] [--stream STREAM] [--reason TEXT] [--note TEXT]"),
    ("timeout", "USER [--for 10m] [--stream STREAM] [--reason TEXT] [--note TEXT]"),
    ("kick", "USER [--note TEXT]"),
    ("unban", "USER [--stream STREAM] [--note TEXT]"),
    ("shadow", "USER [--stream STREAM] [--for 7d] [--note TEXT]"),
    ("unshadow", "USER [--note TEXT]"),
    (
        "room",
        "STREAM RULE VALUE, such as slow 30s; or STREAM clear --last 10m [--reason WORD] \
         [--note TEXT]; or STREAM checks [--deadline TIME] [--late pass|hold|refuse] \
         [--down pass|hold]; or STREAM languages CODE… [--action flag|reject]; or STREAM terms \
         add WORD… [--action reject|shadow-ban|flag], terms remove WORD…, terms list",
    ),
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

/// The forms of `room STREAM terms`.
pub(super) const TERMS: &str =
    "terms add WORD… [--action reject|shadow-ban|flag], terms remove WORD… or terms list";

/// The options of `room STREAM checks`.
const CHECKS: &str = "--deadline, --late or --down, such as --down hold";

/// Words of the palette beside the commands, each with its argument.
pub(super) const GOTO: &[(&str, &str)] = &[
    ("stream", "STREAM"),
    ("node", "NODE"),
    ("at", "13:01 or 13:01:07, UTC"),
    ("save", "NAME: keep this view as @NAME for all operators"),
    ("forget", "NAME: remove the view @NAME"),
    ("alert", "CONDITION [for 30s], or off N; alone it lists your alerts"),
    ("ctx", "NAME: attach to another context of lc ctx; without NAME it lists them"),
    ("theme", "dark, light, high-contrast, blue-orange or mono"),
];

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
                Some(
                    name @ ("for" | "reason" | "note" | "user" | "last" | "stream" | "deadline"
                    | "late" | "down" | "action"),
                ) => {
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
            Some("stream") if verb == Some("unshadow") => {
                Err("unshadow ends all shadow bans of the user: leave out --stream".to_owned())
            }
            Some(name) => Err(format!("--{name} is not known here")),
            None => Ok(()),
        }
    }

    fn option(&self, name: &str) -> Option<String> {
        let given = self.options.iter().find(|(known, _)| *known == name);
        given.map(|(_, value)| (*value).to_owned())
    }

    fn stream(&self) -> Result<Option<StreamId>, LineError> {
        self.option("stream").map(|id| parsed(&id)).transpose()
    }

    fn duration_ms(&self) -> Result<Option<u64>, LineError> {
        let Some(text) = self.option("for") else { return Ok(None) };
        let duration = parse_duration(&text)?;
        Ok(Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Reads the words of an `lc` command that acts. `timeout_of` returns the length of a timeout in
/// the room of a stream, in milliseconds, if none is written.
///
/// # Errors
/// They are none; the text says what is right.
pub(super) fn parse_act(
    words: &[&str],
    timeout_of: impl Fn(StreamId) -> Result<u64, LineError>,
) -> Result<Action, LineError> {
    let given = Given::parse(words)?;
    given.check_options()?;
    let sanction = |user: &str, default_ms: Option<u64>| -> Result<_, LineError> {
        Ok(SanctionRequest {
            user: user_ref(user),
            stream_id: given.stream()?,
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
        ["timeout", name] => {
            let stream_id = given.stream()?;
            let default_ms = match given.option("for") {
                Some(_) => None,
                None => Some(stream_id.map_or(Ok(DEFAULT_TIMEOUT_MS), timeout_of)?),
            };
            Ok(Action::Timeout(sanction(name, default_ms)?))
        }
        ["kick", name] => Ok(Action::Kick(user(name))),
        ["unban", name] => Ok(Action::Unban(UnbanRequest {
            user: user_ref(name),
            stream_id: given.stream()?,
            note: given.option("note"),
        })),
        ["shadow", name] => Ok(Action::Shadow(ShadowRequest {
            user: user_ref(name),
            stream_id: given.stream()?,
            note: given.option("note"),
            duration_ms: given.duration_ms()?,
        })),
        ["unshadow", name] => Ok(Action::Unshadow(user(name))),
        ["room", id, "clear"] => clear_room(parsed(id)?, &given),
        ["room", id, "checks"] => room_checks(parsed(id)?, &given),
        ["room", _, "checks", word, ..] => Err(format!("{word} is not known here: write {CHECKS}")),
        ["room", id, "terms", verb, ref terms @ ..] => room_terms(parsed(id)?, verb, terms, &given),
        ["room", _, "terms"] => Err(format!("write {TERMS}")),
        ["room", id, rule, ref values @ ..] => {
            let mut patch = match RoomPatch::of_words(rule, values) {
                Err(error) if !RULES.iter().any(|known| known.name == rule) => {
                    return Err(format!("{error}, terms, checks, clear"));
                }
                read => read?,
            };
            for (name, value) in &given.options {
                match (*name, &mut patch.languages) {
                    ("action", Some(Some(policy))) => {
                        policy.action = LanguageAction::of_word(value)?;
                    }
                    _ => return Err(format!("--{name} is not known here")),
                }
            }
            Ok(Action::Room { stream_id: parsed(id)?, patch })
        }
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
    let stream_id = given.stream()?;
    Ok(Action::DeleteOfUser(DeleteOfUserRequest {
        user: user_ref(&user),
        last_ms: u64::try_from(last.as_millis()).unwrap_or(u64::MAX),
        stream_id,
        reason: given.option("reason"),
        note: given.option("note"),
    }))
}

/// Reads the options of `room STREAM checks`, each a setting.
fn room_checks(stream_id: StreamId, given: &Given<'_>) -> Result<Action, LineError> {
    let mut checks = ChecksPatch::default();
    for (name, value) in &given.options {
        if !["deadline", "late", "down"].contains(name) {
            return Err(format!("--{name} is not known here"));
        }
        let ChecksPatch { deadline_ms, late, down } = ChecksPatch::of_words(name, value)?;
        checks = ChecksPatch {
            deadline_ms: deadline_ms.or(checks.deadline_ms),
            late: late.or(checks.late),
            down: down.or(checks.down),
        };
    }
    if checks == ChecksPatch::default() {
        return Err(format!("write {CHECKS}"));
    }
    let patch = RoomPatch { checks: Some(checks), ..RoomPatch::default() };
    Ok(Action::Room { stream_id, patch })
}

/// Reads a change of the blocked terms of a room. Those of several words are in quotation marks.
fn room_terms(
    stream_id: StreamId,
    verb: &str,
    terms: &[&str],
    given: &Given<'_>,
) -> Result<Action, LineError> {
    let mut action = TermAction::default();
    for (name, value) in &given.options {
        if (*name, verb) != ("action", "add") {
            return Err(format!("--{name} is not known here"));
        }
        action = TermAction::of_word(value)?;
    }
    let written = terms.iter().map(|term| (*term).to_owned());
    let patch = match verb {
        "add" => {
            let add = written.map(|term| RoomTerm { term, action }).collect();
            TermsPatch { add, remove: Vec::new() }
        }
        "remove" => TermsPatch { add: Vec::new(), remove: written.collect() },
        _ => return Err(format!("write {TERMS}")),
    };
    if terms.is_empty() {
        return Err(format!("write {TERMS}"));
    }
    let patch = patch.checked().map_err(|bad| format!("a term {}", bad.problem))?;
    Ok(Action::RoomTerms { stream_id, patch })
}

fn clear_room(stream_id: StreamId, given: &Given<'_>) -> Result<Action, LineError> {
    let last = given.option("last").ok_or("clear needs a time, such as --last 10m")?;
    let last = parse_duration(&last)?;
    let request = ClearRoomRequest {
        last_ms: u64::try_from(last.as_millis()).unwrap_or(u64::MAX),
        reason: given.option("reason"),
        note: given.option("note"),
    };
    Ok(Action::ClearRoom { stream_id, request })
}

/// Reads an id.
pub(super) fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, LineError> {
    text.parse::<T>().map_err(|error| format!("{text}: {error}"))
}

/// Divides a line into words; quotes keep spaces.
pub(super) fn words(line: &str) -> Result<Vec<String>, LineError> {
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
mod tests;
