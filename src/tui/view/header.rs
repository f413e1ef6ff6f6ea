//! The header line: the node, its state, and the number of viewers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::protocol::quantity::{show_count, show_duration};
use crate::tui::state::{Connection, Console};
use crate::tui::theme::Theme;

pub(super) fn draw(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    if area.is_empty() {
        return;
    }
    let mut left = vec![Span::styled("lcd ", theme.title)];
    let mut right = Vec::new();
    let history = console.shown();
    if let Some(snapshot) = history.latest() {
        left.push(Span::styled(format!("{} ", snapshot.node), theme.text));
        left.push(state(console, snapshot.draining, theme));
        let up = format!("  up {}", show_duration(snapshot.uptime_ms));
        left.push(Span::styled(up, theme.text));
        left.push(Span::styled(format!("  v{}", snapshot.version), theme.faint));
        if history.restarts() > 0 {
            left.push(Span::styled(format!("  restarted ×{}", history.restarts()), theme.warn));
        }
        let slow = if snapshot.slow_viewers > 0 { theme.warn } else { theme.faint };
        right.push(Span::styled(show_count(snapshot.connections), theme.text));
        right.push(Span::styled(" viewers  ", theme.faint));
        right.push(Span::styled(format!("{} slow", show_count(snapshot.slow_viewers)), slow));
        right.push(Span::styled(format!("  {}Z", clock(snapshot.taken_at)), theme.faint));
    } else {
        left.push(Span::styled("waiting for the first snapshot", theme.faint));
    }
    let left = Line::from(left);
    let right = Line::from(right);
    buffer.set_line(area.x, area.y, &left, area.width);
    let width = right.width() as u16;
    if left.width() as u16 + 2 + width <= area.width {
        buffer.set_line(area.right() - width, area.y, &right, width);
    }
}

fn state(console: &Console, draining: bool, theme: &Theme) -> Span<'static> {
    match (&console.connection, console.is_paused(), draining) {
        (Connection::Lost { .. }, ..) => Span::styled(" NO CONTACT ", theme.alarm),
        (_, true, _) => Span::styled(" PAUSED ", theme.selected),
        (_, _, true) => Span::styled("● draining", theme.warn),
        _ => Span::styled("● running", theme.good),
    }
}

/// Writes a time as `09:46:48`, in UTC.
fn clock(at_ms: u64) -> String {
    let second = at_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}
