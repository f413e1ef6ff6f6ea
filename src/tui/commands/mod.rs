//! The one table of commands and keys: the footer, the help, the palette and the bindings that an
//! operator changes all come from it.

mod keymap;

pub(crate) use keymap::Keymap;
pub use keymap::{BindingError, KeyBinding};

use self::keymap::Key;

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
