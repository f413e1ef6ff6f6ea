//! Writes cells into the screen. Everything that is drawn passes here.
//!
//! Always holds: nothing is written outside the given area; a line that does not fit ends with `…`.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::tui::hits::Hits;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::tone::{Cell, Tone};

/// The screen that is drawn, its theme, and what can be clicked on it.
pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    pub(super) theme: Theme,
    pub(super) hits: Hits,
}

impl<'a> Canvas<'a> {
    /// Clears the area.
    pub(super) fn new(area: Rect, buffer: &'a mut Buffer, theme: Theme) -> Self {
        let mut canvas = Self { buffer, theme, hits: Hits::default() };
        canvas.clear(area);
        canvas
    }

    fn inside(&self, area: Rect) -> Rect {
        area.intersection(*self.buffer.area())
    }

    pub(super) fn clear(&mut self, area: Rect) {
        let area = self.inside(area);
        for y in area.top()..area.bottom() {
            // A wide character that overlaps the area would hide its edge.
            if area.x > self.buffer.area().x
                && text::width(self.buffer[(area.x - 1, y)].symbol()) > 1
            {
                self.buffer[(area.x - 1, y)].set_symbol(" ");
            }
            for x in area.left()..area.right() {
                self.buffer[(x, y)].reset();
                self.buffer[(x, y)].set_style(self.theme.base());
            }
        }
    }

    /// Writes cells into the first row of an area. Returns the columns that they take.
    pub(super) fn line(&mut self, area: Rect, cells: &[Cell]) -> u16 {
        let area = self.inside(area);
        if area.is_empty() {
            return 0;
        }
        let mut x = area.x;
        for (at, cell) in cells.iter().enumerate() {
            let room = usize::from(area.right() - x);
            let rest: usize = cells[at + 1..].iter().map(|cell| cell_width(cell).min(1)).sum();
            // One column stays free for the mark if more follows.
            let shown = match text::cut(&cell.text, room) {
                whole if text::width(&whole) == room && rest > 0 => {
                    text::cut(&format!("{whole} "), room).into_owned()
                }
                shown => shown.into_owned(),
            };
            let style = self.theme.of(cell.tone);
            let (end, _) = self.buffer.set_stringn(x, area.y, &shown, room, style);
            x = end;
            if x >= area.right() {
                break;
            }
        }
        x - area.x
    }

    /// Writes cells at the right end of the first row of an area, if they fit. Returns the area
    /// that is left of them.
    pub(super) fn line_right(&mut self, area: Rect, cells: &[Cell]) -> Rect {
        let wide: usize = cells.iter().map(cell_width).sum();
        let Ok(wide) = u16::try_from(wide) else { return area };
        if wide == 0 || wide >= area.width {
            return area;
        }
        self.line(Rect { x: area.right() - wide, width: wide, ..area }, cells);
        Rect { width: area.width - wide, ..area }
    }

    /// Writes one text into the first row of an area.
    pub(super) fn text(&mut self, area: Rect, shown: &str, tone: Tone) {
        self.line(area, &[Cell::new(shown, tone)]);
    }

    /// Draws the title line of a panel and returns the area below it.
    pub(super) fn open(&mut self, area: Rect, title: &[Cell], right: &[Cell]) -> Rect {
        let area = self.inside(area);
        if area.is_empty() {
            return Rect::default();
        }
        let row = Rect { height: 1, ..area };
        self.text(row, &"─".repeat(area.width.into()), Tone::Rule);
        let room = if right.is_empty() {
            row
        } else {
            let padded: Vec<_> = [&[Cell::text(" ")][..], right, &[Cell::text(" ")][..]].concat();
            self.line_right(Rect { width: row.width.saturating_sub(1), ..row }, &padded)
        };
        let titled: Vec<_> =
            [&[Cell::new("─ ", Tone::Rule)][..], title, &[Cell::new(" ", Tone::Rule)][..]].concat();
        self.line(room, &titled);
        Rect { y: area.y + 1, height: area.height - 1, ..area }
    }

    pub(super) fn style(&mut self, area: Rect, style: Style) {
        let area = self.inside(area);
        if !area.is_empty() {
            self.buffer.set_style(area, style);
        }
    }

    /// Draws a box with a title in its upper edge and returns its inside.
    pub(super) fn boxed(&mut self, area: Rect, title: &[Cell]) -> Rect {
        let area = self.inside(area);
        if area.width < 4 || area.height < 2 {
            return Rect::default();
        }
        let inner = usize::from(area.width - 2);
        let bar = "─".repeat(inner);
        let row = |y| Rect { y, height: 1, ..area };
        self.text(row(area.y), &format!("┌{bar}┐"), Tone::Rule);
        for y in area.y + 1..area.bottom() - 1 {
            self.text(row(y), "│", Tone::Rule);
            let edge = Rect { x: area.right() - 1, y, width: 1, height: 1 };
            self.text(edge, "│", Tone::Rule);
        }
        self.text(row(area.bottom() - 1), &format!("└{bar}┘"), Tone::Rule);
        let titled: Vec<_> = [&[Cell::text(" ")][..], title, &[Cell::text(" ")][..]].concat();
        self.line(Rect { x: area.x + 1, width: area.width - 2, ..row(area.y) }, &titled);
        Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 2 }
    }

    /// Clears a centred box of at most the given size and returns its inside.
    pub(super) fn overlay(&mut self, area: Rect, size: (u16, u16), title: &str) -> Rect {
        let width = size.0.min(area.width);
        let height = size.1.min(area.height);
        let x = area.x + (area.width - width) / 2;
        let y = area.y + (area.height - height) / 2;
        let middle = Rect { x, y, width, height };
        self.clear(middle);
        self.hits.cover(middle);
        self.boxed(middle, &[Cell::new(title, Tone::Title)])
    }

    /// Replaces what a terminal without these signs cannot show.
    pub(super) fn make_ascii(&mut self) {
        for cell in &mut self.buffer.content {
            let plain = ascii(cell.symbol()).to_owned();
            if plain != cell.symbol() {
                cell.set_symbol(&plain);
            }
        }
    }
}

pub(super) fn cell_width(cell: &Cell) -> usize {
    text::width(&text::clean(&cell.text))
}

fn ascii(symbol: &str) -> &str {
    match symbol {
        "✓" => "+",
        "▲" => "!",
        "✗" => "x",
        "‖" => "=",
        "◌" => "?",
        "●" => "o",
        "▶" => ">",
        "◆" => "*",
        "▼" => "v",
        "│" | "┃" => "|",
        "─" | "–" | "−" => "-",
        "┌" | "┐" | "└" | "┘" | "├" | "┬" | "┴" | "▌" | "▐" => "+",
        "▁" => "_",
        "▂" | "▃" => ".",
        "▄" | "▅" => "-",
        "▆" | "▇" => "=",
        "█" => "#",
        "…" => "~",
        "·" | "±" => ".",
        "›" => ">",
        "→" => ">",
        "←" => "<",
        "↑" => "^",
        "↓" => "v",
        "×" => "x",
        "▏" => "_",
        "▒" => "%",
        other if other.is_ascii() => other,
        other if text::width(other) == 1 => "?",
        other => other,
    }
}

/// Divides an area into a part of `rows` rows and the rest below it.
pub(super) fn split_top(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let below = Rect { y: area.y + rows, height: area.height - rows, ..area };
    (Rect { height: rows, ..area }, below)
}

/// Divides an area into a part of `columns` columns and the rest right of it, one column apart.
pub(super) fn split_left(area: Rect, columns: u16) -> (Rect, Rect) {
    let columns = columns.min(area.width);
    let right = area.x + (columns + 1).min(area.width);
    let rest = Rect { x: right, width: area.right() - right, ..area };
    (Rect { width: columns, ..area }, rest)
}

/// Returns a share of a length.
pub(super) fn percent_of(length: u16, percent: u32) -> u16 {
    (u32::from(length) * percent / 100) as u16
}

/// Returns the row `at` of an area; empty beyond it.
pub(super) fn row(area: Rect, at: u16) -> Rect {
    if at >= area.height {
        return Rect { height: 0, ..area };
    }
    Rect { y: area.y + at, height: 1, ..area }
}
