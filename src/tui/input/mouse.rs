//! The mouse: it goes to views, sorts, selects, opens and scrolls. It never acts.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::run::{open, run_command};
use crate::tui::commands::Command;
use crate::tui::hits::{Hits, Target};
use crate::tui::state::{Console, Effect, Mode, Place};
use crate::tui::table::RowKey;

/// Two clicks within this time are a double click.
const DOUBLE_CLICK_MS: u64 = 400;
/// Rows that one step of the wheel scrolls.
const WHEEL_ROWS: isize = 3;

/// The latest click.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clicks {
    latest: Option<(RowKey, u64)>,
}

/// Applies a mouse event to the state.
pub(crate) fn mouse(
    console: &mut Console,
    clicks: &mut Clicks,
    hits: &Hits,
    event: MouseEvent,
) -> Option<Effect> {
    if console.mode != Mode::Watching {
        return None;
    }
    let target = hits.at(event.column, event.row)?.clone();
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
    }
    None
}
