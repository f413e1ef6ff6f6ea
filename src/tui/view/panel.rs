//! Draws the frame of a panel, and lines inside it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::tui::theme::Theme;

/// Draws the title line of a panel and returns the area below it.
pub(super) fn open(area: Rect, buffer: &mut Buffer, title: &str, theme: &Theme) -> Rect {
    if area.is_empty() {
        return Rect::default();
    }
    buffer.set_stringn(
        area.x,
        area.y,
        "─".repeat(area.width.into()),
        area.width.into(),
        theme.rule,
    );
    let title = Line::from(vec![
        Span::styled("─ ", theme.rule),
        Span::styled(title, theme.title),
        Span::styled(" ", theme.rule),
    ]);
    buffer.set_line(area.x, area.y, &title, area.width);
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

/// Draws lines below each other. If they do not all fit, the last row shows how many are missing.
pub(super) fn lines(area: Rect, buffer: &mut Buffer, lines: &[Line<'_>], theme: &Theme) {
    let rows = usize::from(area.height);
    let shown = if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() };
    let mut y = area.y;
    for line in &lines[..shown] {
        buffer.set_line(area.x, y, line, area.width);
        y += 1;
    }
    if shown < lines.len() && y < area.bottom() {
        let more = format!("… {} more", lines.len() - shown);
        buffer.set_stringn(area.x, y, more, area.width.into(), theme.faint);
    }
}

/// Returns a line of the given width, with a name on the left and a figure on the right.
pub(super) fn pair<'a>(
    width: u16,
    name: impl Into<Span<'a>>,
    figure: impl Into<Span<'a>>,
) -> Line<'a> {
    let name = name.into();
    let figure = figure.into();
    let between = usize::from(width).saturating_sub(name.width() + figure.width()).max(1);
    Line::from(vec![name, Span::raw(" ".repeat(between)), figure])
}
