//! The one table of commands and keys: the footer, the help, the palette and the bindings that an
//! operator changes all come from it.

use std::collections::BTreeMap;
use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A command that a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    Overview,
    Streams,
    Cluster,
    Engines,
    Moderation,
    Events,
    NextPanel,
    PreviousPanel,
    Open,
    Read,
    Back,
    LastView,
    Down,
    Up,
    PageDown,
    PageUp,
    First,
    Last,
    Filter,
    Palette,
    SortRight,
    SortLeft,
    Invert,
    Columns,
    Window,
    Enlarge,
    Earlier,
    Later,
    MuchEarlier,
    MuchLater,
    Live,
    Pause,
    Mark,
    MarkAlike,
    CopyValue,
    CopyRow,
    Save,
    Veil,
    Theme,
    Unlock,
    Undo,
    Throttle,
    Announce,
    Ban,
    Timeout,
    Kick,
    Unban,
    Shadow,
    Unshadow,
    Approve,
    Remove,
    Claim,
    Drain,
    Acknowledge,
    Help,
    Redraw,
    Suspend,
    Quit,
}

/// A command with its name, its keys and its words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) command: Command,
    /// The name by which a binding and the palette call it.
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [&'static str],
    /// One or two words for the footer.
    pub(crate) word: &'static str,
    pub(crate) help: &'static str,
    /// It changes the system, so it is off while the console is locked.
    pub(crate) acts: bool,
}

const fn entry(
    command: Command,
    name: &'static str,
    keys: &'static [&'static str],
    word: &'static str,
    help: &'static str,
) -> Entry {
    Entry { command, name, keys, word, help, acts: false }
}

const fn act(
    command: Command,
    name: &'static str,
    keys: &'static [&'static str],
    word: &'static str,
    help: &'static str,
) -> Entry {
    Entry { acts: true, ..entry(command, name, keys, word, help) }
}

/// All commands, in the order of the help.
pub(crate) const COMMANDS: &[Entry] = &[
    entry(Command::Overview, "overview", &["1"], "overview", "what is wrong, and the pipeline"),
    entry(Command::Streams, "streams", &["2"], "streams", "all streams; Enter opens one"),
    entry(Command::Cluster, "cluster", &["3"], "cluster", "nodes and their limits"),
    entry(Command::Engines, "engines", &["4"], "engines", "bus, event log, stores"),
    entry(Command::Moderation, "moderation", &["5"], "moderation", "comments to review, decisions"),
    entry(Command::Events, "events", &["6"], "events", "what happened, and who did what"),
    entry(Command::NextPanel, "next-panel", &["tab"], "panel", "the next panel of the view"),
    entry(Command::PreviousPanel, "previous-panel", &["backtab"], "panel", "the panel before"),
    entry(Command::Open, "open", &["enter"], "open", "open the row; claim a comment to review"),
    entry(Command::Read, "read", &["i"], "read all", "the whole text of the row and the notice"),
    entry(Command::Back, "back", &["esc"], "back", "close, clear the filter or the marks, go back"),
    entry(Command::LastView, "last-view", &["-"], "last view", "the view before this one"),
    entry(Command::Down, "down", &["down", "j"], "down", "the next row"),
    entry(Command::Up, "up", &["up", "k"], "up", "the row before"),
    entry(Command::PageDown, "page-down", &["pagedown"], "page", "ten rows down"),
    entry(Command::PageUp, "page-up", &["pageup"], "page", "ten rows up"),
    entry(Command::First, "first", &["home", "g"], "first", "the first row"),
    entry(Command::Last, "last", &["G"], "last", "the last row"),
    entry(
        Command::Filter,
        "filter",
        &["/"],
        "filter",
        "show only rows that match: words, /regex/, in>1k and state=live",
    ),
    entry(Command::Palette, "palette", &[":"], "command", "type a command; Tab completes"),
    entry(Command::SortRight, "sort-right", &[">"], "sort", "sort by the next column"),
    entry(Command::SortLeft, "sort-left", &["<"], "sort", "sort by the column before"),
    entry(Command::Invert, "invert", &["I"], "invert", "turn the order round"),
    entry(Command::Columns, "columns", &["c"], "columns", "choose columns, and what they mean"),
    entry(Command::Window, "window", &["w"], "window", "charts over 1, 5, 15 or 60 minutes"),
    entry(Command::Enlarge, "enlarge", &["e"], "enlarge", "one chart over the whole view"),
    entry(Command::Earlier, "earlier", &["left"], "back in time", "every view as it was before"),
    entry(Command::Later, "later", &["right"], "forward", "forward in time"),
    entry(Command::MuchEarlier, "much-earlier", &["["], "far back", "ten steps back in time"),
    entry(Command::MuchLater, "much-later", &["]"], "far on", "ten steps forward in time"),
    entry(Command::Live, "live", &["end"], "live", "back to now"),
    entry(Command::Pause, "pause", &["space"], "pause", "stop the screen; data is still collected"),
    entry(Command::Mark, "mark", &["v"], "mark", "mark the row; acts then take all marked rows"),
    entry(
        Command::MarkAlike,
        "mark-alike",
        &["V"],
        "mark alike",
        "mark all rows with the same text",
    ),
    entry(Command::CopyValue, "copy", &["y"], "copy", "copy what names the row (OSC 52)"),
    entry(Command::CopyRow, "copy-row", &["Y"], "copy row", "copy the row as JSON (OSC 52)"),
    entry(Command::Save, "save", &["o"], "save", "save this screen as a text file"),
    entry(Command::Veil, "hide", &["P"], "hide names", "hide names and texts, on a projector"),
    entry(Command::Theme, "theme", &["T"], "theme", "the next theme"),
    entry(
        Command::Unlock,
        "unlock",
        &["!"],
        "unlock",
        "allow acts, for 15 minutes after the last key",
    ),
    act(Command::Undo, "undo", &["U"], "undo", "take back the last act of this console"),
    act(Command::Throttle, "throttle", &["t"], "throttle", "set the share that a stream shows"),
    act(
        Command::Announce,
        "announce",
        &["a"],
        "announce",
        "tell all viewers of a stream something",
    ),
    act(Command::Ban, "ban", &["b"], "ban", "disconnect a user and keep it out"),
    act(Command::Timeout, "timeout", &["m"], "time out", "a user may watch but not comment"),
    act(Command::Kick, "kick", &["x"], "kick", "disconnect a user; it may return"),
    act(Command::Unban, "unban", &["u"], "unban", "lift a user's ban and timeout"),
    act(
        Command::Shadow,
        "shadow",
        &["s"],
        "shadow",
        "show a user's new comments to the user only, who is told nothing",
    ),
    act(Command::Unshadow, "unshadow", &["S"], "unshadow", "end a user's shadow bans"),
    act(
        Command::Approve,
        "approve",
        &["A"],
        "let stand",
        "a comment to review, or a removed one, may stand",
    ),
    act(Command::Remove, "remove", &["R"], "remove", "remove a comment"),
    act(
        Command::Claim,
        "claim",
        &["C"],
        "claim",
        "claim a comment to review for a minute, or release it",
    ),
    act(Command::Acknowledge, "acknowledge", &["z"], "acknowledge", "an alert, for everybody"),
    act(Command::Drain, "drain", &["d"], "drain", "move the viewers of a node to others"),
    entry(Command::Help, "help", &["?", "f1"], "help", "the keys of this view"),
    entry(Command::Redraw, "redraw", &["ctrl-l"], "redraw", "draw the screen again"),
    entry(Command::Suspend, "suspend", &["ctrl-z"], "suspend", "back to the shell; fg returns"),
    entry(Command::Quit, "quit", &["q", "ctrl-c"], "quit", "end"),
];

impl Entry {
    fn own_keys(&self) -> impl Iterator<Item = Key> {
        self.keys.iter().filter_map(|key| Key::parse(key))
    }
}

impl Command {
    pub(crate) fn entry(self) -> &'static Entry {
        // Every command has an entry; a test checks it.
        COMMANDS.iter().find(|entry| entry.command == self).unwrap_or(&COMMANDS[0])
    }
}

/// A key with its modifiers, as it is written in a binding: `q`, `Q`, `ctrl-l`, `space`, `f1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
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
    fn parse(text: &str) -> Option<Self> {
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
