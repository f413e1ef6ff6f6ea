//! The form overlay.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget as _, Wrap};

use super::layout::clear_centered;
use crate::tui::form::Form;
use crate::tui::theme::Theme;

const WIDTH: u16 = 64;
const LABEL_WIDTH: usize = 8;
/// An error text may need two lines.
const ERROR_ROWS: u16 = 2;

pub(super) fn draw(area: Rect, buffer: &mut Buffer, form: &Form, theme: &Theme) {
    let rows = form.fields.len() as u16;
    let area = clear_centered(area, WIDTH, rows + ERROR_ROWS + 2, buffer);
    let block = Block::bordered()
        .border_style(theme.title)
        .title(Line::styled(format!(" {} ", form.title()), theme.title));
    let inner = block.inner(area);
    block.render(area, buffer);
    let mut lines: Vec<_> =
        (0..form.fields.len()).map(|at| field(form, at, inner.width.into(), theme)).collect();
    lines.push(Line::styled(form.error.clone().unwrap_or_default(), theme.bad));
    Paragraph::new(lines).wrap(Wrap { trim: false }).render(inner, buffer);
}

fn field<'a>(form: &'a Form, at: usize, width: usize, theme: &Theme) -> Line<'a> {
    let field = &form.fields[at];
    let current = form.current == at;
    let label = Span::styled(
        format!("{:>LABEL_WIDTH$} ", field.label),
        if current { theme.key } else { theme.faint },
    );
    // Typing happens at the end of a long value, so its start is cut off.
    let room = width.saturating_sub(LABEL_WIDTH + 2);
    let excess = Line::raw(field.value.as_str()).width().saturating_sub(room);
    let value: String = field.value.chars().skip(excess).collect();
    let mut spans = vec![label, Span::styled(value, theme.text)];
    if current {
        spans.push(Span::styled("▏", theme.key));
    }
    if field.value.is_empty() {
        let room = room.saturating_sub(1);
        spans.push(Span::styled(field.hint.chars().take(room).collect::<String>(), theme.faint));
    }
    Line::from(spans)
}
