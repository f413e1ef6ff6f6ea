//! The keys in effect: those of the table, and those that an operator changed.

use std::collections::BTreeMap;
use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{COMMANDS, Command, Entry};

/// A key with its modifiers, as it is written in a binding: `q`, `Q`, `ctrl-l`, `space`, `f1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    code: KeyCode,
    control: bool,
    alt: bool,
}

/// Names of keys that are no characters.
const NAMED_KEYS: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("insert", KeyCode::Insert),
    ("delete", KeyCode::Delete),
];

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Self {
        Self {
            code: event.code,
            control: event.modifiers.contains(KeyModifiers::CONTROL),
            alt: event.modifiers.contains(KeyModifiers::ALT),
        }
    }
}

impl Key {
    /// Reads a key as a binding writes it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut key = Self { code: KeyCode::Null, control: false, alt: false };
        loop {
            if let Some(after) = rest.strip_prefix("ctrl-").filter(|after| !after.is_empty()) {
                (key.control, rest) = (true, after);
            } else if let Some(after) = rest.strip_prefix("alt-").filter(|after| !after.is_empty())
            {
                (key.alt, rest) = (true, after);
            } else {
                break;
            }
        }
        let mut chars = rest.chars();
        key.code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() => KeyCode::Char(c),
            _ => {
                let named = NAMED_KEYS.iter().find(|(name, _)| *name == rest);
                let function = rest.strip_prefix('f').and_then(|number| number.parse().ok());
                match (named, function) {
                    (Some((_, code)), _) => *code,
                    (None, Some(number @ 1..=12)) => KeyCode::F(number),
                    (None, _) => return None,
                }
            }
        };
        Some(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.control {
            f.write_str("Ctrl-")?;
        }
        if self.alt {
            f.write_str("Alt-")?;
        }
        match self.code {
            KeyCode::Char(' ') => f.write_str("space"),
            KeyCode::Char(c) if self.control => write!(f, "{}", c.to_uppercase()),
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::Up => f.write_str("↑"),
            KeyCode::Down => f.write_str("↓"),
            KeyCode::Left => f.write_str("←"),
            KeyCode::Right => f.write_str("→"),
            KeyCode::Enter => f.write_str("Enter"),
            KeyCode::Esc => f.write_str("Esc"),
            KeyCode::Tab => f.write_str("Tab"),
            KeyCode::BackTab => f.write_str("Shift-Tab"),
            KeyCode::PageUp => f.write_str("PgUp"),
            KeyCode::PageDown => f.write_str("PgDn"),
            KeyCode::F(number) => write!(f, "F{number}"),
            KeyCode::Home => f.write_str("Home"),
            KeyCode::End => f.write_str("End"),
            KeyCode::Insert => f.write_str("Ins"),
            KeyCode::Delete => f.write_str("Del"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A command with a key for it, as an operator wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBinding {
    /// The name of the command.
    pub command: String,
    pub key: String,
    /// The place where it is written, for errors: an option, or a file with the line.
    pub place: String,
}

/// Why bindings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    #[error("{place}: there is no command `{command}`; {hint}")]
    UnknownCommand { place: String, command: String, hint: String },
    #[error(
        "{place}: there is no key `{key}`: write a character, ctrl-x, alt-x, f1, space, enter, \
         left …"
    )]
    UnknownKey { place: String, key: String },
    #[error(
        "{place}: the key {key} is bound to both `{first}` and `{second}`; write another \
         one{such_as}, or bind the other command too"
    )]
    Duplicate {
        place: String,
        key: String,
        first: &'static str,
        second: &'static str,
        /// A key that has no command: `, such as B`; empty if there is none.
        such_as: String,
    },
}

/// The keys in effect.
#[derive(Debug, Clone)]
pub(crate) struct Keymap {
    keys: Vec<(Key, Command)>,
}

impl Default for Keymap {
    fn default() -> Self {
        Self::with(&[]).unwrap_or(Self { keys: Vec::new() })
    }
}

impl Keymap {
    /// Builds the keys from lists of bindings. A command that is bound again loses its own keys,
    /// and those that an earlier list gave it.
    ///
    /// # Errors
    /// A binding is wrong, also one that a later list replaces, or a key has two commands.
    pub(crate) fn with(lists: &[Vec<KeyBinding>]) -> Result<Self, BindingError> {
        let mut changed: BTreeMap<Command, Vec<(Key, &KeyBinding)>> = BTreeMap::new();
        for list in lists {
            let mut bound: BTreeMap<Command, Vec<(Key, &KeyBinding)>> = BTreeMap::new();
            for binding in list {
                let command = command_of(binding)?;
                let key = Key::parse(&binding.key).ok_or_else(|| BindingError::UnknownKey {
                    place: binding.place.clone(),
                    key: binding.key.clone(),
                })?;
                let keys = bound.entry(command).or_default();
                if keys.iter().all(|(known, _)| *known != key) {
                    keys.push((key, binding));
                }
            }
            changed.extend(bound);
        }
        let mut keys: Vec<(Key, Command)> = Vec::new();
        for entry in COMMANDS {
            match changed.get(&entry.command) {
                Some(bound) => keys.extend(bound.iter().map(|(key, _)| (*key, entry.command))),
                // A test reads them all.
                None => keys.extend(entry.own_keys().map(|key| (key, entry.command))),
            }
        }
        for (at, (key, second)) in keys.iter().enumerate() {
            let Some((_, first)) = keys[..at].iter().find(|(known, _)| known == key) else {
                continue;
            };
            let bindings = [second, first].into_iter().filter_map(|it| changed.get(it)).flatten();
            let places =
                bindings.filter(|(bound, _)| bound == key).map(|(_, it)| it.place.as_str());
            return Err(BindingError::Duplicate {
                place: places.collect::<Vec<_>>().join(" and "),
                key: key.to_string(),
                first: first.entry().name,
                second: second.entry().name,
                such_as: free_key(&keys, *key)
                    .map_or(String::new(), |free| format!(", such as {free}")),
            });
        }
        Ok(Self { keys })
    }

    pub(crate) fn command(&self, event: KeyEvent) -> Option<Command> {
        let pressed = Key::from(event);
        self.keys.iter().find(|(key, _)| *key == pressed).map(|(_, command)| *command)
    }

    /// Returns the keys of a command as they are shown: `q Ctrl-C`.
    pub(crate) fn shown(&self, command: Command) -> String {
        let keys = self.keys.iter().filter(|(_, bound)| *bound == command);
        keys.map(|(key, _)| key.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Returns the first key of a command as it is shown.
    pub(crate) fn first(&self, command: Command) -> String {
        let bound = self.keys.iter().find(|(_, bound)| *bound == command);
        bound.map_or(String::new(), |(key, _)| key.to_string())
    }
}

/// Returns the command that a binding names.
fn command_of(binding: &KeyBinding) -> Result<Command, BindingError> {
    let name = binding.command.as_str();
    if let Some(entry) = COMMANDS.iter().find(|entry| entry.name == name) {
        return Ok(entry.command);
    }
    let likeness = |entry: &Entry| (distance(entry.name, name), entry.name);
    let hint = match COMMANDS.iter().map(likeness).min() {
        Some((0..=2, like)) => format!("did you mean `{like}`?"),
        _ => "? in lc top lists them".to_owned(),
    };
    Err(BindingError::UnknownCommand { place: binding.place.clone(), command: name.into(), hint })
}

/// Returns the number of letters to insert, remove or replace that make one text the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (removed, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = removed + 1;
        for (at, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Returns a key like `taken` that has no command, as a binding writes it; `None` if none of those
/// that are tried is free.
fn free_key(keys: &[(Key, Command)], taken: Key) -> Option<String> {
    let mut like = Vec::new();
    if let KeyCode::Char(c) = taken.code {
        let other = if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        let shown = if c == ' ' { "space".to_owned() } else { c.to_string() };
        like.push(format!("alt-{shown}"));
        if other != c {
            like.insert(0, other.to_string());
        }
    }
    like.extend((2..=12).map(|number| format!("f{number}")));
    let is_free = |text: &String| {
        Key::parse(text).is_some_and(|key| keys.iter().all(|(known, _)| *known != key))
    };
    like.into_iter().find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns bindings such as `quit=Q`, each with itself as its place.
    fn bindings(texts: &[&str]) -> Vec<KeyBinding> {
        let binding = |text: &&str| {
            let (command, key) = text.split_once('=').unwrap();
            KeyBinding { command: command.into(), key: key.into(), place: (*text).into() }
        };
        texts.iter().map(binding).collect()
    }

    fn bound(texts: &[&str]) -> Result<Keymap, BindingError> {
        Keymap::with(&[bindings(texts)])
    }

    #[test]
    fn the_table_has_no_key_twice() {
        let keymap = bound(&[]).unwrap();
        assert!(keymap.keys.len() > COMMANDS.len());
        for entry in COMMANDS {
            assert_eq!(entry.command.entry().name, entry.name);
            assert!(!keymap.first(entry.command).is_empty(), "{} has no key", entry.name);
        }
    }

    #[test]
    fn a_binding_replaces_the_keys_of_its_command() {
        let keymap = bound(&["quit=Q", "quit=ctrl-q", "quit=Q"]).unwrap();
        let pressed = |code| keymap.command(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(pressed(KeyCode::Char('Q')), Some(Command::Quit));
        assert_eq!(pressed(KeyCode::Char('q')), None);
        assert_eq!(keymap.shown(Command::Quit), "Q Ctrl-Q");
        let control = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL);
        assert_eq!(keymap.command(control), Some(Command::Quit));
    }

    #[test]
    fn later_lists_win_over_earlier_ones() {
        let file = bindings(&["quit=Q", "quit=ctrl-q", "kick=f5"]);
        let typed = bindings(&["quit=f10"]);
        let keymap = Keymap::with(&[file.clone(), typed]).unwrap();
        assert_eq!(keymap.shown(Command::Quit), "F10");
        assert_eq!(keymap.shown(Command::Kick), "F5", "the others stay");
        let clash = Keymap::with(&[file, bindings(&["ban=Q"])]).unwrap_err();
        assert!(clash.to_string().starts_with("quit=Q and ban=Q: the key Q is bound"), "{clash}");
        let wrong = [bindings(&["quit=hyper-q"]), bindings(&["quit=Q"])];
        assert!(Keymap::with(&wrong).is_err(), "a wrong one is told although it is replaced");
    }

    #[test]
    fn wrong_bindings_are_refused() {
        let error = |texts: &[&str]| bound(texts).unwrap_err().to_string();
        assert_eq!(error(&["qiut=Q"]), "qiut=Q: there is no command `qiut`; did you mean `quit`?");
        assert!(error(&["next_panel=Q"]).ends_with("did you mean `next-panel`?"));
        assert!(error(&["go away=Q"]).ends_with("; ? in lc top lists them"));
        assert!(error(&["quit=hyper-q"]).starts_with("quit=hyper-q: there is no key `hyper-q`:"));
        assert_eq!(
            error(&["quit=b"]),
            "quit=b: the key b is bound to both `ban` and `quit`; write another one, such as B, or \
             bind the other command too"
        );
        assert!(error(&["ban=q"]).contains("both `ban` and `quit`; write another one, such as Q,"));
        assert!(error(&["quit=t"]).contains("such as alt-t,"), "T is the next theme");
        assert!(error(&["quit=space"]).contains("write another one, such as alt-space, or"));
        assert!(bound(&["quit=b", "ban=q"]).is_ok(), "they change places");
        let every = (1..=12).map(|number| Key::parse(&format!("f{number}")).unwrap());
        let every: Vec<_> = every.map(|key| (key, Command::Quit)).collect();
        assert_eq!(free_key(&every, every[0].0), None);
    }

    #[test]
    fn a_distance_counts_letters() {
        assert_eq!(distance("quit", "quit"), 0);
        assert_eq!(distance("quit", "qiut"), 2);
        assert_eq!(distance("", "ban") + distance("ban", ""), 6);
        assert_eq!(distance("unban", "ban"), 2);
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        for text in ["q", "Q", "ctrl-l", "alt-x", "space", "f12", "enter", "-", "=", "left"] {
            let key = Key::parse(text).unwrap();
            assert!(!key.to_string().is_empty(), "{text}");
        }
        assert!(Key::parse("f13").is_none() && Key::parse("").is_none());
        let own = COMMANDS.iter().flat_map(|entry| entry.keys);
        own.for_each(|key| assert!(Key::parse(key).is_some(), "{key}"));
    }
}
