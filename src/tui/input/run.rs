//! Carries out commands: where to look, what to copy, what to open.

use super::acting::{act, claim_opened};
use crate::protocol::admin::AdminRole;
use crate::protocol::json;
use crate::tui::commands::Command;
use crate::tui::feed::Metric;
use crate::tui::rows::EventRow;
use crate::tui::state::{
    Console, Effect, Mode, NOT_REMEMBERED, Notice, Palette, Panel, Place, READ_ONLY, View,
};
use crate::tui::table::{Record, RowKey};

/// Number of rows that a page key moves.
const PAGE: isize = 10;

/// Carries out a command of the table of commands.
pub(crate) fn run_command(console: &mut Console, command: Command) -> Option<Effect> {
    if command.entry().acts {
        return act(console, command);
    }
    if let Some(view) = View::ALL.into_iter().find(|view| view.command() == command) {
        console.go(Place::View(view));
        return None;
    }
    match command {
        Command::Quit => return Some(Effect::Quit),
        Command::Suspend => return Some(Effect::Suspend),
        Command::Redraw => return Some(Effect::Redraw),
        Command::Save => return Some(Effect::Save),
        Command::CopyValue => return copied(console, false),
        Command::CopyRow => return copied(console, true),
        Command::NextPanel => console.step_panel(true),
        Command::PreviousPanel => console.step_panel(false),
        Command::Open => {
            open(console);
            return claim_opened(console);
        }
        Command::Back if console.cancel_attaching() => return Some(Effect::CancelAttaching),
        Command::Back => back(console),
        Command::LastView => console.go_to_previous(),
        Command::Down => console.select(1),
        Command::Up => console.select(-1),
        Command::PageDown => console.select(PAGE),
        Command::PageUp => console.select(-PAGE),
        Command::First => console.select(isize::MIN),
        Command::Last => console.select(isize::MAX),
        Command::Filter => console.mode = Mode::Filtering,
        Command::Palette => console.mode = Mode::Palette(Palette::default()),
        Command::SortRight | Command::SortLeft => {
            let panel = console.panel();
            let columns = console.table(panel).shown(panel.columns());
            console.table_mut(panel).step_sort(&columns, command == Command::SortRight);
        }
        Command::Invert => {
            let panel = console.panel();
            let table = console.table_mut(panel);
            table.inverted = !table.inverted;
        }
        Command::Columns => console.mode = Mode::Columns(0),
        Command::Window => console.next_window(),
        Command::Enlarge => console.mode = Mode::Enlarged(Metric::In),
        Command::Earlier => console.step_time(-1),
        Command::Later => console.step_time(1),
        Command::MuchEarlier => console.step_time(-10),
        Command::MuchLater => console.step_time(10),
        Command::Live => console.go_live(),
        Command::Pause => console.toggle_pause(),
        Command::Mark => mark(console),
        Command::MarkAlike => console.mark_alike(),
        Command::Veil => console.veiled = !console.veiled,
        Command::Theme => console.theme = console.theme.next(),
        Command::Unlock => unlock(console),
        Command::Help => console.mode = Mode::Help { search: String::new(), first: 0 },
        Command::Read => console.mode = Mode::Reading(0),
        _ => {}
    }
    None
}

fn unlock(console: &mut Console) {
    if let Some(why) = console.acts_off().filter(|_| console.replay().is_some()) {
        console.notice = Some(Notice::Failed(why));
        return;
    }
    if let Some(why) = console.turned_away() {
        console.notice = Some(Notice::Failed(why));
        return;
    }
    if console.lock.is_read_only() {
        console.notice = Some(Notice::Failed(READ_ONLY.to_owned()));
        return;
    }
    if let Some(why) = console.refused_role(AdminRole::Moderator) {
        console.notice = Some(Notice::Failed(why));
        return;
    }
    console.lock.toggle(console.clock_ms);
    let open = console.lock.is_open(console.clock_ms);
    let text = if open { "unlocked: keys that act work" } else { "locked" };
    console.notice = Some(Notice::Done(text.to_owned()));
}

/// Opens the selected row.
pub(crate) fn open(console: &mut Console) {
    let subject = match console.panel() {
        Panel::Alarms => {
            let listing = console.alarms();
            listing.selection().map(|row| row.alarm.subject.clone())
        }
        Panel::Events => {
            let listing = console.events();
            let chosen = listing.selection();
            let at_ms = chosen.map(EventRow::at_ms);
            let subject = chosen.and_then(EventRow::opens).cloned();
            // An event is looked at in its time: all views as they were.
            if let Some(at_ms) = at_ms
                && !console.go_to(at_ms)
            {
                console.notice = Some(Notice::Failed(NOT_REMEMBERED.to_owned()));
            }
            subject
        }
        _ => None,
    };
    if let Some(subject) = subject {
        console.open_subject(&subject);
        return;
    }
    match console.selected_key() {
        Some(RowKey::Stream(stream_id)) => console.go(Place::Stream(stream_id)),
        Some(RowKey::Node(node)) => console.go(Place::Node(node)),
        Some(RowKey::Comment(_)) if console.panel() == Panel::Reviews => {
            console.mode = Mode::Reading(0);
        }
        Some(RowKey::User(user)) if console.panel() == Panel::Talkers => {
            // The comments of that user.
            let text = format!("user={user}");
            let filtered = Panel::Comments.filtered();
            console.table_mut(Panel::Comments).filter.replace(text, filtered);
            console.focus_on(Panel::Comments);
            if console.comments().rows.is_empty() {
                let text = format!(
                    "no comment of user {user} came since the stream was opened; lc user {user} \
                     has older ones"
                );
                console.notice = Some(Notice::Done(text));
            }
        }
        _ => {}
    }
}

/// Goes back: the notice, then the filter and the marks, then the past, then what is opened.
fn back(console: &mut Console) {
    let panel = console.panel();
    let table = console.table_mut(panel);
    if !table.marked.is_empty() {
        table.marked.clear();
    } else if !table.filter.text.is_empty() {
        table.filter.replace(String::new(), panel.filtered());
    } else if console.notice.is_some() {
        console.notice = None;
    } else if !console.is_live() && console.replay().is_none() {
        console.go_live();
    } else {
        console.go(Place::View(console.view()));
    }
}

fn mark(console: &mut Console) {
    let Some(key) = console.selected_key() else { return };
    let panel = console.panel();
    let marked = &mut console.table_mut(panel).marked;
    if !marked.remove(&key) {
        marked.insert(key);
    }
    console.select(1);
}

/// Returns what is copied of the selected row.
fn copied(console: &mut Console, whole: bool) -> Option<Effect> {
    let text = if whole { row_json(console)? } else { key_text(&console.selected_key()?) };
    let shown: String = text.chars().take(60).collect();
    console.notice = Some(Notice::Done(format!("copied {shown}")));
    Some(Effect::Copy(text))
}

fn key_text(key: &RowKey) -> String {
    match key {
        RowKey::Stream(id) => id.to_string(),
        RowKey::Node(node) => node.to_string(),
        RowKey::Worker(node, worker) => format!("{node} {worker}"),
        RowKey::User(user) => user.to_string(),
        RowKey::Comment(id) => id.to_string(),
        RowKey::Text(text) => text.to_string(),
        RowKey::Named(name) => name.clone(),
        RowKey::Numbered(number) => number.to_string(),
    }
}

/// Returns the selected row as JSON: its data where it has a type of the admin API, else its cells.
fn row_json(console: &Console) -> Option<String> {
    let panel = console.panel();
    let json = match panel {
        Panel::Streams | Panel::Busiest => {
            json::to_string(console.streams(panel).selection()?.status)
        }
        Panel::Nodes | Panel::Fullest => {
            let listing = console.nodes(panel);
            let row = listing.selection()?;
            match row.status {
                Some(status) => json::to_string(status),
                None => json::to_string(&row.name),
            }
        }
        Panel::Workers => json::to_string(console.workers().selection()?.status),
        Panel::Bus => json::to_string(console.bus().selection()?.0),
        Panel::Groups => json::to_string(console.groups().selection()?.group),
        Panel::Stores => console.stores().selection()?.as_json(),
        Panel::Reviews => json::to_string(console.reviews().selection()?.item),
        Panel::Decisions => json::to_string(console.decisions().selection()?.made),
        Panel::Offenders => json::to_string(console.offenders().selection()?.offender),
        Panel::Comments => json::to_string(console.comments().selection()?.comment),
        Panel::Alarms => json::to_string(console.alarms().selection()?.alarm),
        Panel::Talkers => cells_json(console.talkers().selection()?, panel),
        Panel::Events => cells_json(console.events().selection()?, panel),
    };
    json.ok()
}

fn cells_json(row: &impl Record, panel: Panel) -> serde_json::Result<String> {
    let cells = panel.columns().iter().filter(|column| !column.name.is_empty());
    let cells: serde_json::Map<_, _> =
        cells.map(|column| (column.name.to_owned(), row.cell(column.name).text.into())).collect();
    json::to_string(&cells)
}
