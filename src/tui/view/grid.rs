//! A table whose least important columns are hidden when there is no room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

/// One column. A width of 0 takes the remaining width, at least [`MIN_FILL_WIDTH`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) width: u16,
    pub(super) right: bool,
    /// Columns with the highest rank are hidden first.
    pub(super) rank: u8,
}

const MIN_FILL_WIDTH: u16 = 8;
const GAP: u16 = 1;

/// The visible columns of a table and their positions in an area.
#[derive(Debug)]
pub(super) struct Grid {
    placed: Vec<Placed>,
}

#[derive(Debug, Clone, Copy)]
struct Placed {
    index: usize,
    name: &'static str,
    x: u16,
    width: u16,
    right: bool,
}

impl Grid {
    pub(super) fn fit(columns: &[Column], area: Rect) -> Self {
        let mut kept: Vec<usize> = (0..columns.len()).collect();
        while needed_width(columns, &kept) > u32::from(area.width) {
            let Some(out) = (0..kept.len()).max_by_key(|at| columns[kept[*at]].rank) else { break };
            kept.remove(out);
        }
        let spare = (u32::from(area.width) - needed_width(columns, &kept)) as u16;
        let mut x = area.x;
        let place = |index: usize| {
            let Column { name, width, right, .. } = columns[index];
            let width = if width == 0 { MIN_FILL_WIDTH + spare } else { width };
            let placed = Placed { index, name, x, width, right };
            x += width + GAP;
            placed
        };
        Self { placed: kept.into_iter().map(place).collect() }
    }

    /// The area of a column in `row`; empty if the column is hidden.
    pub(super) fn area(&self, index: usize, row: Rect) -> Rect {
        let placed = self.placed.iter().find(|column| column.index == index);
        placed.map_or_else(Rect::default, |column| Rect { x: column.x, width: column.width, ..row })
    }

    /// Writes the column names, with a mark at the column named `marked`.
    pub(super) fn header(&self, y: u16, buffer: &mut Buffer, marked: &str, style: Style) {
        for column in &self.placed {
            let mark = if column.name == marked { "▾" } else { "" };
            column.write(y, buffer, &format!("{mark}{}", column.name), style);
        }
    }

    /// Writes one row. `cells` has an entry for every column, also for hidden ones.
    pub(super) fn row(&self, y: u16, buffer: &mut Buffer, cells: &[(String, Style)]) {
        for column in &self.placed {
            if let Some((text, style)) = cells.get(column.index) {
                column.write(y, buffer, text, *style);
            }
        }
    }
}

fn needed_width(columns: &[Column], kept: &[usize]) -> u32 {
    let width = |at: &usize| match columns[*at].width {
        0 => u32::from(MIN_FILL_WIDTH),
        width => u32::from(width),
    };
    kept.iter().map(width).sum::<u32>() + u32::from(GAP) * (kept.len().max(1) - 1) as u32
}

impl Placed {
    fn write(self, y: u16, buffer: &mut Buffer, text: &str, style: Style) {
        let wide = Line::raw(text).width();
        let room = usize::from(self.width);
        if wide > room {
            buffer.set_stringn(self.x, y, text, room - 1, style);
            buffer.set_stringn(self.x + self.width - 1, y, "…", 1, style);
            return;
        }
        let indent = if self.right { room - wide } else { 0 };
        buffer.set_stringn(self.x + indent as u16, y, text, room, style);
    }
}
