//! The mouse: it goes to views, sorts, selects, opens, scrolls, and chooses a time by dragging over
//! a chart. It never acts.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::run::{open, run_command};
use crate::tui::commands::Command;
use crate::tui::figures;
use crate::tui::hits::{Hits, Target, TimeAxis};
use crate::tui::state::{Console, Effect, Mode, NOT_REMEMBERED, Notice, Place};
use crate::tui::table::RowKey;

/// Two clicks within this time are a double click.
const DOUBLE_CLICK_MS: u64 = 400;
/// Rows that one step of the wheel scrolls.
const WHEEL_ROWS: isize = 3;

/// The latest click, and the chart that is dragged over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clicks {
    latest: Option<(RowKey, u64)>,
    drag: Option<Drag>,
}

/// A drag over a chart. Its times are those at its beginning, while the chart may move on.
#[derive(Debug, Clone, Copy)]
struct Drag {
    axis: TimeAxis,
    /// The time under the mouse, once it was moved.
    chosen_ms: Option<u64>,
}

/// Applies a mouse event to the state.
pub(crate) fn mouse(
    console: &mut Console,
    clicks: &mut Clicks,
    hits: &Hits,
    event: MouseEvent,
) -> Option<Effect> {
    let is_chart = matches!(console.mode, Mode::Enlarged(_));
    let takes_mouse = is_chart || console.mode == Mode::Watching;
    if !takes_mouse {
        // A key has opened something: the time must not change behind it.
        clicks.drag = None;
    }
    match event.kind {
        MouseEventKind::Drag(MouseButton::Left) => {
            if let Some(drag) = &mut clicks.drag {
                let at_ms = drag.axis.at(event.column);
                drag.chosen_ms = Some(at_ms);
                let time = figures::clock(at_ms);
                let text = format!("{time}Z: let go to see all views as they were");
                console.notice = Some(Notice::Running(text));
            }
            return None;
        }
        MouseEventKind::Up(MouseButton::Left) => {
            if let Some(at_ms) = clicks.drag.take().and_then(|drag| drag.chosen_ms) {
                let found = console.go_to(at_ms);
                console.notice = (!found).then(|| Notice::Failed(NOT_REMEMBERED.to_owned()));
            }
            return None;
        }
        MouseEventKind::Down(_) => clicks.drag = None,
        _ => {}
    }
    if !takes_mouse {
        return None;
    }
    let target = hits.at(event.column, event.row)?.clone();
    if is_chart && !matches!(target, Target::Chart(_)) {
        return None;
    }
    match event.kind {
        MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
            let (Target::Table(panel) | Target::Row(panel, _) | Target::Header(panel, _)) = target
            else {
                return None;
            };
            console.focus_on(panel);
            let down = event.kind == MouseEventKind::ScrollDown;
            console.select(if down { WHEEL_ROWS } else { -WHEEL_ROWS });
        }
        MouseEventKind::Down(MouseButton::Left) => return click(console, clicks, target),
        _ => {}
    }
    None
}

fn click(console: &mut Console, clicks: &mut Clicks, target: Target) -> Option<Effect> {
    match target {
        Target::View(view) => console.go(Place::View(view)),
        // Opened by a key, a comment to review is claimed.
        Target::Key(Command::Open) => open(console),
        // A slip of the hand must not act, end the console or unlock it.
        Target::Key(command) => {
            let harmless = !command.entry().acts
                && !matches!(command, Command::Quit | Command::Suspend | Command::Unlock);
            return if harmless { run_command(console, command) } else { None };
        }
        Target::Header(panel, column) => {
            console.focus_on(panel);
            let sorts = panel.columns().iter().any(|c| c.name == column && !c.by.is_empty());
            if sorts {
                console.table_mut(panel).sort_by(column);
            }
        }
        Target::Row(panel, key) => {
            console.focus_on(panel);
            console.table_mut(panel).selected = Some(key.clone());
            let now = console.clock_ms;
            let twice = clicks.latest.take().is_some_and(|(known, at)| {
                known == key && now.saturating_sub(at) <= DOUBLE_CLICK_MS
            });
            if twice {
                open(console);
            } else {
                clicks.latest = Some((key, now));
            }
        }
        Target::Table(panel) => console.focus_on(panel),
        Target::Chart(axis) => clicks.drag = Some(Drag { axis, chosen_ms: None }),
    }
    None
}
