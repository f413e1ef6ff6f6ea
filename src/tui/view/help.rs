//! The help overlay: the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget as _};

use super::layout::clear_centered;
use crate::tui::keys::HELP;
use crate::tui::theme::Theme;

pub(super) fn draw(area: Rect, buffer: &mut Buffer, theme: &Theme) {
    let area = clear_centered(area, 66, HELP.len() as u16 + 2, buffer);
    let lines = HELP.iter().map(|(key, description)| {
        Line::from(vec![
            Span::styled(format!(" {key:<9} "), theme.key),
            Span::styled(*description, theme.text),
        ])
    });
    let block =
        Block::bordered().border_style(theme.title).title(Line::styled(" keys ", theme.title));
    Paragraph::new(lines.collect::<Vec<_>>()).block(block).render(area, buffer);
}
