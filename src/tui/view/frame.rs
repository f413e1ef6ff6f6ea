//! The frame of every view: the tabs above it, the notice and the keys below it. The first row has
//! a file of its own.

use ratatui::layout::Rect;

use super::canvas::{Canvas, cell_width};
use crate::tui::commands::Command;
use crate::tui::feed::{Alarm, Subject};
use crate::tui::figures;
use crate::tui::hits::Target;
use crate::tui::state::{Connection, Console, Mode, Notice, Panel, Place, View};
use crate::tui::tone::{Cell, Health, Tone};

/// Joins the parts that fit, two columns apart; the later ones are left out first.
pub(super) fn fitting(parts: &[Vec<Cell>], room: u16, gap: usize) -> Vec<Cell> {
    let mut shown: Vec<Cell> = Vec::new();
    let mut used = 0;
    for part in parts {
        let wide: usize = part.iter().map(cell_width).sum();
        let between = if shown.is_empty() { 0 } else { gap };
        if used + between + wide > usize::from(room) && !shown.is_empty() {
            break;
        }
        if between > 0 {
            shown.push(Cell::text(" ".repeat(between)));
        }
        shown.extend(part.iter().cloned());
        used += between + wide;
    }
    shown
}

/// Draws the second row: the views with what is wrong in them, and the lock.
pub(super) fn tabs(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let lock = lock_cell(console);
    let rest = canvas.line_right(area, &[lock]);
    let full: Vec<_> = View::ALL.iter().map(|view| tab(console, *view, true)).collect();
    let wide: usize = full.iter().map(|cells| width(cells) + 2).sum();
    let short = wide > usize::from(rest.width);
    let mut x = rest.x;
    for view in View::ALL {
        let current = view == console.view();
        let cells = tab(console, view, !short || current);
        let place = Rect { x, width: rest.right().saturating_sub(x), height: rest.height, ..rest };
        if width(&cells) + 1 > usize::from(place.width) {
            break;
        }
        let taken = canvas.line(place, &cells);
        let taken = Rect { width: taken, height: 1.min(place.height), ..place };
        if current {
            let style = canvas.theme.selected();
            canvas.style(taken, style);
        }
        canvas.hits.add(taken, Target::View(view));
        x = taken.right() + 1;
    }
}

fn width(cells: &[Cell]) -> usize {
    cells.iter().map(cell_width).sum()
}

fn tab(console: &Console, view: View, named: bool) -> Vec<Cell> {
    let key = console.keymap.first(view.command());
    let mut cells = vec![Cell::new(format!(" {key}"), Tone::Key)];
    if named {
        cells.push(Cell::text(format!(" {}", view.name())));
    }
    let (count, health) = tab_state(console, view);
    if health > Health::Idle {
        cells.push(Cell::new(format!(" {}", health.mark()), health.tone()));
    }
    if let Some(count) = count.filter(|_| named) {
        cells.push(Cell::faint(format!(" {}", figures::count(count))));
    }
    cells.push(Cell::text(" "));
    cells
}

/// Returns what a tab counts, and the worst of what is wrong in its view.
fn tab_state(console: &Console, view: View) -> (Option<u64>, Health) {
    let Some(moment) = console.moment() else { return (None, Health::Good) };
    let snapshot = &moment.snapshot;
    let worst = |concerns: fn(&Alarm) -> bool| {
        let alarms = moment.alarms.iter().filter(|alarm| concerns(alarm));
        alarms.map(|alarm| alarm.severity.health()).max().unwrap_or(Health::Good)
    };
    match view {
        View::Overview | View::Events => (None, Health::Good),
        View::Streams => (
            Some(snapshot.streams.len() as u64),
            worst(|alarm| matches!(alarm.subject, Subject::Stream(_))),
        ),
        View::Cluster => (
            Some((snapshot.nodes.len() + snapshot.unreachable.len()) as u64),
            worst(|alarm| {
                // An old comment waits in the queue of the moderation view.
                alarm.rule != "review_old"
                    && matches!(alarm.subject, Subject::Node(_) | Subject::Cluster)
            }),
        ),
        View::Engines => (None, worst(|alarm| matches!(alarm.subject, Subject::Engine(_)))),
        View::Moderation => {
            let queued = snapshot.moderation.queued;
            (Some(queued), if queued > 0 { Health::Warn } else { Health::Good })
        }
    }
}

fn lock_cell(console: &Console) -> Cell {
    if console.replay().is_some() {
        return Cell::faint("acts are off");
    }
    if console.lock.is_read_only() {
        return Cell::faint("read-only");
    }
    if console.only_reads() {
        return Cell::faint("read-only by role");
    }
    if console.cannot_act() {
        return Cell::faint("acts are off");
    }
    if console.lock.is_open(console.clock_ms) {
        return Cell::new("UNLOCKED", Tone::Warn);
    }
    let key = console.keymap.first(Command::Unlock);
    Cell::faint(format!("locked: {key} unlocks"))
}

/// Draws the row of the notice. A lost connection comes first, because then the rest of the screen
/// is out of date.
pub(super) fn notice(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    match (&console.mode, &console.connection, &console.notice) {
        (Mode::Filtering, ..) => filter_line(canvas, area, console),
        // Which daemon is attached to instead is worth more than why this one is lost.
        (_, Connection::Lost { why, retry_in }, _) if console.turned_away().is_none() => {
            let wait = retry_in.as_secs_f64();
            let text = format!(" RECONNECTING in {wait:.1} s: {why} ");
            canvas.text(area, &text, Tone::Strong);
            let style = canvas.theme.alarm();
            canvas.style(area, style);
        }
        (_, Connection::Silent, _) if console.turned_away().is_none() => {
            canvas.text(
                area,
                " NO SNAPSHOT COMES: the daemon is frozen or its link is cut ",
                Tone::Strong,
            );
            let style = canvas.theme.alarm();
            canvas.style(area, style);
        }
        (_, _, Some(notice)) => {
            let (mark, tone) = match notice {
                Notice::Running(_) => ("… ", Tone::Faint),
                Notice::Done(_) => ("✓ ", Tone::Good),
                Notice::Failed(_) => ("✗ ", Tone::Bad),
            };
            let rest = match undo_cell(console) {
                Some(cell) => canvas.line_right(area, &[Cell::text("  "), cell]),
                None => area,
            };
            let text = notice.text().replace('\n', " ");
            let cells = [Cell::new(mark, tone), Cell::new(text, tone)];
            cut_line(canvas, rest, &cells, &key_word(console, Command::Read));
        }
        _ if console.view() != View::Overview => {
            // The worst alarm stays in sight.
            let alarms = console.moment().map_or(&[][..], |moment| &moment.alarms);
            if let Some(worst) = alarms.first() {
                let health = worst.severity.health();
                let text = format!(" {}", worst.text);
                let cells = [Cell::mark(health), Cell::new(text, health.tone())];
                cut_line(canvas, area, &cells, &key_word(console, Command::Overview));
            }
        }
        _ => {}
    }
}

/// Writes a line. If it does not fit, its right end says which key shows all of it.
fn cut_line(canvas: &mut Canvas<'_>, area: Rect, cells: &[Cell], key: &str) {
    let mut rest = area;
    if width(cells) > usize::from(area.width) {
        rest = canvas.line_right(area, &[Cell::text("  "), Cell::new(key, Tone::Key)]);
    }
    canvas.line(rest, cells);
}

/// Writes the key of a command with its word: `i read all`.
fn key_word(console: &Console, command: Command) -> String {
    format!("{} {}", console.keymap.first(command), command.entry().word)
}

fn undo_cell(console: &Console) -> Option<Cell> {
    let entry = console.undo.latest_within_window(console.clock_ms)?;
    let left = entry.left_ms(console.clock_ms)?;
    let key = console.keymap.first(Command::Undo);
    Some(Cell::new(format!("{key} takes it back, {} s", left.div_ceil(1_000)), Tone::Key))
}

/// Draws the filter as it is typed, with what is wrong underlined by a mark and said.
fn filter_line(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let filter = &console.table(console.panel()).filter;
    let mut cells = vec![Cell::new("filter: ", Tone::Key)];
    match &filter.error {
        None => cells.push(Cell::text(format!("{}▏", filter.text))),
        Some(error) => {
            let typed = filter.text.trim();
            let at =
                (0..=error.at.start.min(typed.len())).rev().find(|at| typed.is_char_boundary(*at));
            let (right, wrong) = typed.split_at(at.unwrap_or(0));
            cells.push(Cell::text(right));
            cells.push(Cell::new(format!("{wrong}▏"), Tone::Bad));
            cells.push(Cell::new(format!("  ✗ {}", error.message), Tone::Warn));
        }
    }
    canvas.line(area, &cells);
}

/// Draws the keys that work now, the most important first. Those that do not fit are left out
/// whole; the help has all.
pub(super) fn keys(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let fixed: Option<&[(&str, &str)]> = match &console.mode {
        Mode::Watching => None,
        Mode::Filtering => Some(&[("Enter", "keep"), ("Esc", "clear"), ("Ctrl-U", "empty")]),
        Mode::Palette(_) => Some(&[("Enter", "run"), ("Tab", "complete"), ("Esc", "close")]),
        Mode::Form(_) => Some(&[("Enter", "next, then on"), ("Tab", "next"), ("Esc", "cancel")]),
        Mode::Confirm(question) if question.asked().is_some() => Some(&[("Esc", "do nothing")]),
        Mode::Confirm(_) => Some(&[("Enter", "do it"), ("Esc", "do nothing")]),
        Mode::Help { .. } => Some(&[("Esc", "close"), ("↑ ↓", "scroll"), ("any text", "search")]),
        Mode::Reading(_) => Some(&[("Esc", "close"), ("↑ ↓", "scroll")]),
        Mode::Columns(_) => Some(&[("space", "show or hide"), ("↑ ↓", "column"), ("Esc", "close")]),
        Mode::Enlarged(_) => {
            Some(&[("↑ ↓", "figure"), ("w", "window"), ("← →", "time"), ("Esc", "close")])
        }
    };
    if let Some(fixed) = fixed {
        let part = |(key, word): &(&str, &str)| {
            vec![Cell::new(*key, Tone::Key), Cell::faint(format!(" {word}"))]
        };
        let parts: Vec<_> = fixed.iter().map(part).collect();
        let shown = fitting(&parts, area.width, 2);
        canvas.line(area, &shown);
        return;
    }
    let mut x = area.x;
    for command in footer(console) {
        let entry = command.entry();
        let key = console.keymap.first(command);
        let cells = [Cell::new(key, Tone::Key), Cell::faint(format!(" {}", entry.word))];
        let room = Rect { x, width: area.right().saturating_sub(x), ..area };
        if width(&cells) > usize::from(room.width) {
            break;
        }
        let taken = canvas.line(room, &cells);
        canvas
            .hits
            .add(Rect { width: taken, height: 1.min(room.height), ..room }, Target::Key(command));
        x += taken + 2;
    }
}

/// Returns the commands of the footer: what ends and helps, then what the panel takes. Acts are
/// among them while they are locked, because a key unlocks them.
fn footer(console: &Console) -> Vec<Command> {
    let mut commands = vec![Command::Quit, Command::Help];
    if !console.is_live() {
        commands.push(Command::Live);
    }
    if matches!(console.place(), Place::Stream(_) | Place::Node(_)) {
        commands.push(Command::Back);
    }
    let own: &[Command] = match console.panel() {
        Panel::Alarms => &[Command::Open, Command::Read, Command::Acknowledge, Command::NextPanel],
        Panel::Busiest | Panel::Streams => &[
            Command::Open,
            Command::Filter,
            Command::SortRight,
            Command::Throttle,
            Command::Announce,
        ],
        Panel::Comments => &[
            Command::Ban,
            Command::Timeout,
            Command::Shadow,
            Command::Remove,
            Command::Mark,
            Command::MarkAlike,
            Command::Throttle,
            Command::NextPanel,
            Command::Filter,
        ],
        Panel::Talkers => &[
            Command::Open,
            Command::Ban,
            Command::Timeout,
            Command::Shadow,
            Command::Mark,
            Command::MarkAlike,
            Command::NextPanel,
        ],
        Panel::Fullest | Panel::Nodes => {
            &[Command::Open, Command::Filter, Command::SortRight, Command::Drain]
        }
        Panel::Workers => &[Command::SortRight, Command::Drain],
        Panel::Bus | Panel::Groups | Panel::Stores => {
            &[Command::NextPanel, Command::SortRight, Command::Filter]
        }
        Panel::Reviews => &[
            Command::Approve,
            Command::Remove,
            Command::Claim,
            Command::Read,
            Command::Ban,
            Command::Timeout,
            Command::Shadow,
            Command::Mark,
            Command::MarkAlike,
            Command::Filter,
        ],
        Panel::Decisions => &[
            Command::NextPanel,
            Command::Read,
            Command::Approve,
            Command::Remove,
            Command::Ban,
            Command::Timeout,
            Command::Shadow,
            Command::Filter,
        ],
        Panel::Offenders => &[
            Command::NextPanel,
            Command::Ban,
            Command::Timeout,
            Command::Shadow,
            Command::Mark,
            Command::Filter,
        ],
        Panel::Events => &[Command::Open, Command::Read, Command::Filter],
    };
    commands.extend(own);
    if console.undo.latest_within_window(console.clock_ms).is_some() {
        commands.push(Command::Undo);
    }
    commands.extend([
        Command::Palette,
        Command::Read,
        Command::Earlier,
        Command::Pause,
        Command::Window,
        Command::Enlarge,
        Command::Columns,
        Command::CopyValue,
        Command::Ban,
        Command::Unban,
    ]);
    let cannot_act = console.cannot_act();
    let mut seen = Vec::new();
    commands.retain(|command| {
        if cannot_act && command.entry().acts {
            return false;
        }
        let new = !seen.contains(command);
        seen.push(*command);
        new
    });
    commands
}

/// The parts of the screen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) header: Rect,
    pub(super) tabs: Rect,
    pub(super) body: Rect,
    pub(super) notice: Rect,
    pub(super) keys: Rect,
}

impl Parts {
    /// Divides the screen: two rows above, the view, two rows below. With a few rows only, the
    /// view is what stays.
    pub(super) fn of(area: Rect) -> Self {
        let above = u16::from(area.height >= 2) + u16::from(area.height >= 5);
        let below = u16::from(area.height >= 4) + u16::from(area.height >= 6);
        let at = |wanted: bool, y: u16| Rect { y: area.y + y, height: wanted.into(), ..area };
        Self {
            header: at(above > 0, 0),
            tabs: at(above > 1, above.saturating_sub(1)),
            body: Rect { y: area.y + above, height: area.height - above - below, ..area },
            notice: at(below > 1, area.height.saturating_sub(2)),
            keys: at(below > 0, area.height.saturating_sub(1)),
        }
    }
}
